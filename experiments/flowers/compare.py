"""Compares the network that a sweep found with networks scaled by hand.

python experiments/flowers/compare.py RESULTS.md
"""

import csv
import math
import pathlib
import sys

if __name__ == "__main__":
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[2])

import numpy as np

from keras_regnet import config as config_lib
from keras_regnet import design_space
from keras_regnet import plan
from keras_regnet.complexity import complexity
from keras_regnet.design_space import records
from keras_regnet.design_space import summary

_FOLDER = pathlib.Path(__file__).parent
# Files of `networks/`, and what they are called.
NETWORKS = {
    "picked": "picked by the sweep",
    "regnetx": "RegNetX, scaled",
    "regnety": "RegNetY, scaled",
    "resnet": "ResNet",
    "mobilenetv2": "as MobileNetV2",
}
IMAGES, CLASSES, SIDE = 736, 5, 64
_SEEDS = 3
_REPEATS = 10_000
_SEED = 0


def right() -> np.ndarray:
    """Returns which photographs each run named rightly.

    Returns:
      Zeros and ones, [networks, seeds, photographs].
    """
    with (_FOLDER / "trained.csv").open(newline="") as file:
        runs = {
            (row["network"], int(row["seed"])): bytes.fromhex(row["right"])
            for row in csv.DictReader(file)
        }
    packed = [
        [list(runs[name, seed]) for seed in range(_SEEDS)] for name in NETWORKS
    ]
    return np.unpackbits(np.array(packed, np.uint8), axis=-1, count=IMAGES)


def minutes() -> np.ndarray:
    """Returns what each run took from its start to its files, [15]."""
    with (_FOLDER / "trained.csv").open(newline="") as file:
        return np.array(
            [float(row["seconds"]) / 60 for row in csv.DictReader(file)]
        )


def _by_photographs(first, second, rng):
    """Returns the interval of first's error minus second's, bootstrapped."""
    per_photograph = 100 * (second.mean(0) - first.mean(0))
    samples = rng.integers(IMAGES, size=(_REPEATS, IMAGES))
    means = per_photograph[samples].mean(1)
    return np.percentile(means, [2.5, 97.5])


def networks() -> str:
    """Returns the table of what was compared."""
    lines = [
        "| network | depths | widths | group widths | multiply-adds | params |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, label in NETWORKS.items():
        text = (_FOLDER / "networks" / f"{name}.json").read_text()
        network = config_lib.from_json(text)
        stages = plan.stages(network)
        cost = complexity(network, (SIDE, SIDE, 3), classes=CLASSES)
        structure = [
            ", ".join(str(getattr(stage, field)) for stage in stages)
            for field in ("depth", "width", "group_width")
        ]
        cells = [label, *structure, f"{cost.flops:,}", f"{cost.params:,}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def comparison() -> str:
    """Returns the table of errors."""
    hits = right()
    errors = 100 * (1 - hits.mean(-1))
    picked = design_space.pick(errors)
    # Of two means by as many seeds, of one spread.
    half = math.sqrt(2) * (picked.high - picked.means)
    rng = np.random.default_rng(_SEED)
    lines = [
        "| network | error of each seed | mean [95 %] "
        "| the picked one's, minus it | 95 % by seeds | 95 % by photographs |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for index, label in enumerate(NETWORKS.values()):
        cells = [
            label,
            ", ".join(f"{error:.2f}" for error in errors[index]),
            f"{picked.means[index]:.2f} [{picked.low[index]:.2f}, "
            f"{picked.high[index]:.2f}]",
        ]
        if index:
            difference = picked.means[0] - picked.means[index]
            low, high = _by_photographs(hits[0], hits[index], rng)
            cells += [
                f"{difference:+.2f}",
                f"[{difference - half[index]:+.2f}, "
                f"{difference + half[index]:+.2f}]",
                f"[{low:+.2f}, {high:+.2f}]",
            ]
        else:
            cells += ["", "", ""]
        lines.append(f"| {' | '.join(cells)} |")
    share = errors.mean() / 100
    noise = 100 * math.sqrt(share * (1 - share) / IMAGES)
    return (
        "\n".join(lines) + "\n\n"
        f"Errors in percent of {IMAGES} photographs. A run's own standard "
        f"deviation over seeds is {picked.spread:.2f} points, from all five "
        "networks together. Other photographs of as many would give one error "
        f"with a standard deviation of {noise:.1f} points (binomial)."
    )


def cost() -> str:
    """Returns sentences on what was trained and how long it took."""
    swept = records.read(_FOLDER / "records.jsonl.gz")
    again = [
        record
        for name in ("picks.jsonl", "tests.jsonl")
        for record in records.read(_FOLDER / name)
    ]
    (population,) = summary.populations(swept)
    errors = population.errors
    spent = sum(record.seconds for record in swept + again) / 60
    of_one = minutes().mean()
    return (
        f"The sweep trained {len(swept)} networks, error "
        f"{errors.min():.2f} % (best), {np.median(errors):.2f} % (median), "
        f"{errors.max():.2f} % (worst) on its validation part; `pick` "
        f"{len(again)} more times. Together {len(swept) + len(again)} "
        f"trainings of 10 epochs, {spent:.1f} minutes of one process: as much "
        f"as {spent / of_one:.1f} trainings of 30 epochs, at "
        f"{of_one:.1f} minutes each."
    )


def results() -> str:
    """Returns the whole of RESULTS.md."""
    return (
        "# Results\n\nWritten by `compare.py` from `networks/`, `trained.csv` "
        "and the sweep's records; what they are is in `README.md`.\n\n"
        f"## Networks\n\n{networks()}\n\nAt {SIDE} pixels, {CLASSES} "
        f"classes.\n\n## Errors\n\n{comparison()}\n\n## Cost\n\n{cost()}\n"
    )


def _main():
    path = pathlib.Path(sys.argv[1])
    path.write_text(results(), encoding="utf-8")
    print(path)


if __name__ == "__main__":
    _main()
