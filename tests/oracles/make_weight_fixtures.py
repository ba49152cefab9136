"""Writes tests/data/weights: small files of every family, and their outputs.

Run in the environment of `torch_weights.py`:

    python tests/oracles/make_weight_fixtures.py [NAME ...]
"""

import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import torch_weights

from tests.support import weight_fixtures as fixtures


def timm_arguments(changes):
    """Returns timm's `RegNetCfg` fields for the changes to a RegNetX."""
    line = fixtures.LINE
    pre = changes.get("block") == "pre"
    z = changes.get("block") == "z"
    pool = changes.get("projection") == "pool"
    return {
        "depth": line["depth"],
        "w0": line["w_0"],
        "wa": line["w_a"],
        "wm": line["w_m"],
        "group_size": line["group_width"],
        "bottle_ratio": 1 / changes.get("bottleneck_ratio", 1),
        "se_ratio": 0.0 if changes == {} else 0.25,
        "stem_width": fixtures.STEM_WIDTH,
        "downsample": "avg" if pool else None if z else "conv1x1",
        "linear_out": z,
        "preact": pre,
        "num_features": changes.get("head_width", 0),
        "act_layer": changes.get("activation", "relu"),
    }


def request(name):
    """Returns what `torch_weights.answer` needs for one of the networks."""
    family, changes = fixtures.NETWORKS[name]
    line = fixtures.LINE
    torchvision = {
        "depth": line["depth"],
        "w_0": line["w_0"],
        "w_a": line["w_a"],
        "w_m": line["w_m"],
        "group_width": line["group_width"],
        "bottleneck_multiplier": 1.0,
    }
    return {
        "family": family,
        "classes": fixtures.CLASSES,
        "sizes": fixtures.SIZES,
        "seed": len(name),
        "stem_width": fixtures.STEM_WIDTH * (2 if family == "byobnet" else 1),
        "head_width": fixtures.HEAD_WIDTH,
        "depths": fixtures.DEPTHS,
        "widths": fixtures.WIDTHS,
        "group_widths": [line["group_width"]] * len(fixtures.WIDTHS),
        "se": changes.get("block") == "y",
        "timm": timm_arguments(changes),
        "torchvision": torchvision,
        "byobnet": fixtures.BYOBNET,
        "stem": changes.get("stem"),
        "norm": changes.get("norm"),
        "norm_group_width": changes.get("norm_group_width"),
        "weights": str(fixtures.FOLDER / f"{name}.safetensors"),
        "outputs": str(fixtures.FOLDER / f"{name}.npz"),
    }


def main():
    """Writes those that are named, or all of them."""
    fixtures.FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or fixtures.NETWORKS:
        arguments = request(name)
        torch_weights.answer(arguments)
        values = dict(np.load(arguments["outputs"]))
        np.savez_compressed(arguments["outputs"], **values)
        scales = {k: float(np.abs(v).max()) for k, v in values.items()}
        print(name, {k: (values[k].shape, scales[k]) for k in values})


if __name__ == "__main__":
    main()
