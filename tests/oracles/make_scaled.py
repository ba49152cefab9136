"""Writes tests/data/scaled.csv: networks as pycls's scaler scales them.

Run in an environment of its own, with torch, yacs, iopath, simplejson and
submitit, and with a checkout of pycls (5719de6 wrote the file):

    python tests/oracles/make_scaled.py CHECKOUT

Scaled are the configurations of its model zoo: all by the strategy of its
GETTING_STARTED, some by others and by other factors. Each row has the numbers
of the network that it counts, at the size of image for training.
"""

import csv
import os
import pathlib
import sys

OUTPUT = pathlib.Path(__file__).resolve().parents[1] / "data/scaled.csv"
COLUMNS = (
    "variant",
    "strategy",
    "factor",
    "depths",
    "widths",
    "group_widths",
    "image_size",
    "flops",
    "params",
    "activations",
)
FAST = "d1_w8_g8_r1"
STRATEGIES = ("d", "w1_g1", "r", "dr", "d1_w1_g1_r1", "dwr", "d1_w2_g2_r0")
FEW = ("RegNetX-200MF", "RegNetX-8.0GF", "RegNetY-4.0GF", "ResNeXt-50")


def variant_name(path):
    """Returns our name of a configuration of the zoo."""
    name = path.name.split("_dds")[0]
    for theirs, ours in (("R-", "ResNet-"), ("X-", "ResNeXt-")):
        if name.startswith(theirs):
            return ours + name.split("-")[1]
    return name


def scaled(path, strategy, factor):
    """Returns the cells of the network that the scaler makes."""
    from pycls.core import config
    from pycls.models import anynet
    from pycls.models import scaler

    config.reset_cfg()
    cfg = config.cfg
    cfg.merge_from_file(str(path))
    cfg.MODEL.SCALING_TYPE = strategy
    cfg.MODEL.SCALING_FACTOR = factor
    scaler.scale_model()
    size = cfg.TRAIN.IM_SIZE
    start = {"h": size, "w": size, "flops": 0, "params": 0, "acts": 0}
    counted = anynet.AnyNet.complexity(start)
    built = cfg.ANYNET
    lists = (built.DEPTHS, built.WIDTHS, built.GROUP_WS)
    return [
        *(" ".join(map(str, values)) for values in lists),
        size,
        *(counted[name] for name in ("flops", "params", "acts")),
    ]


def cases(variant):
    """Yields the strategies and factors by which a network is scaled."""
    yield from ((FAST, factor) for factor in (0.5, 2.0, 4.0))
    if variant in FEW:
        yield from ((FAST, factor) for factor in (0.1, 1.0, 1.5, 8.0, 20.0))
        yield from ((strategy, 4.0) for strategy in STRATEGIES)


def main(checkout):
    """Writes the file."""
    sys.path.insert(0, str(checkout))
    os.environ.setdefault("CONDA_PREFIX", "")  # pycls reads it.
    zoo = checkout / "configs/dds_baselines"
    with OUTPUT.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for path in sorted(zoo.glob("res*/*.yaml")) + sorted(
            zoo.glob("reg*/*.yaml")
        ):
            variant = variant_name(path)
            for strategy, factor in cases(variant):
                row = scaled(path, strategy, factor)
                writer.writerow([variant, strategy, factor, *row])


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]).resolve())
