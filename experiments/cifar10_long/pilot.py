"""Says what the pilot decides, by the rules that README.md fixed.

python experiments/cifar10_long/pilot.py FOLDER

FOLDER holds the pilot's sweeps: lr-0.05, lr-0.1, lr-0.2, and spread once that
was trained. The last line is the learning rate alone, for scripts.
"""

import itertools
import pathlib
import sys

if __name__ == "__main__":
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[2])

import numpy as np

from keras_regnet.design_space import records
from keras_regnet.design_space import sample_size
from keras_regnet.design_space import summary
from training.sweeps import files

# What a network that failed counts: the error of guessing.
_CHANCE = 90.0
# Points that a comparison is to find, with 80 %; networks at most.
_EFFECT = 3.0
_MAX_NETWORKS = 128
_ENOUGH_TRAINING = 50.0


def errors_by_rate(
    found: dict[float, list[records.Record]],
) -> dict[float, np.ndarray]:
    """Returns the errors of the same networks under each learning rate.

    Args:
      found: records by learning rate.
    """
    return {
        rate: np.array(
            [
                record.error if record.done else _CHANCE
                for record in sorted(
                    records.last_of_each_trial(attempts),
                    key=lambda record: (record.space, record.index),
                )
            ]
        )
        for rate, attempts in sorted(found.items())
    }


def best_rate(errors: dict[float, np.ndarray]) -> float:
    """Returns the learning rate of the lowest mean error."""
    return min(errors, key=lambda rate: errors[rate].mean())


def networks(found: list[records.Record]) -> int:
    """Returns how many networks of each space find the effect with 80 %.

    For the largest spread of a pair of spaces, at what it is at most, and no
    more than the experiment can bear.

    Args:
      found: records of the pilot's populations.
    """
    needed = 0
    pairs = itertools.combinations(summary.populations(found), 2)
    for first, second in pairs:
        spread = sample_size.pooled_spread(first.errors, second.errors)
        seen = min(len(first.done), len(second.done))
        at_most = sample_size.spread_at_most(spread, seen)
        needed = max(needed, sample_size.networks_needed(_EFFECT, at_most))
        print(
            f"{first.space} and {second.space}: spread {spread:.2f} points, "
            f"at most {at_most:.2f}"
        )
    return min(needed, _MAX_NETWORKS)


def _main(folder: pathlib.Path) -> None:
    found = {
        float(path.name.removeprefix("lr-")): files.read_records(path)
        for path in folder.glob("lr-*")
    }
    errors = errors_by_rate(found)
    for rate, values in errors.items():
        listed = ", ".join(f"{value:.1f}" for value in values)
        print(f"learning rate {rate:g}: {listed}; mean {values.mean():.2f}")
    if trained := files.read_records(folder / "spread"):
        for population in summary.populations(trained):
            print(population)
        mean = np.mean([r.error for r in trained if r.done])
        word = "enough" if mean < _ENOUGH_TRAINING else "too short"
        print(f"mean error of all {mean:.2f} %: the training is {word}")
        print(
            f"{networks(trained)} networks of each space find {_EFFECT:g} "
            "points with 80 %"
        )
    print(f"{best_rate(errors):g}")


if __name__ == "__main__":
    _main(pathlib.Path(sys.argv[1]))
