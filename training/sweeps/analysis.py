"""The stages of a sweep after training: collect, analyze, report and plan.

Each raises a ValueError if there are no records.
"""

import collections
import itertools
import json
import os
import pathlib
import shlex

from keras_regnet import atomic
from keras_regnet.design_space import records
from keras_regnet.design_space import sample_size
from keras_regnet.design_space import summary
from training.sweeps import arrays
from training.sweeps import commands
from training.sweeps import files
from training.sweeps import spec as spec_lib


def collect(folder: str | os.PathLike) -> None:
    """Packs a sweep's records, and prints how far each space is."""
    found, missing = _read(folder)
    populations = summary.populations(found, missing)
    records.write_packed(pathlib.Path(folder) / files.PACKED, found)
    for population in populations:
        print(population)


def analyze(folder: str | os.PathLike) -> None:
    """Writes and prints the statistics of each space and pair of spaces."""
    result = summary.summarize(*_read(folder))
    with atomic.replacing(pathlib.Path(folder) / files.SUMMARY) as partial:
        partial.write_text(json.dumps(result, indent=1) + "\n")
    for line in summary.sentences(result):
        print(line)


def report(folder: str | os.PathLike) -> None:
    """Writes the page of a sweep, and prints its path."""
    # Training needs no matplotlib.
    from keras_regnet.design_space import report as report_lib

    path = pathlib.Path(folder) / files.REPORT
    known = {}
    if (path.parent / files.SPEC).exists():
        spec, trials = spec_lib.load(folder)
        held_out = _is_test_held_out(spec.regime, folder)
        flags = commands.training(spec.regime, held_out)
        # Networks with a resolution of their own have no command in common.
        if all(trial.resolution is None for trial in trials):
            known["training"] = shlex.join(flags)
    report_lib.write(path, *_read(folder), **known)
    print(path)


def plan(folder: str | os.PathLike, effect: float, chance: float) -> None:
    """Prints how many networks a sweep needs, by the spread of a pilot.

    Args:
      folder: of the pilot, a sweep of a few networks.
      effect: difference of mean errors that is to be found, in points.
      chance: of finding it.

    Raises:
      ValueError: if no space of the pilot has two trained networks.
    """
    populations = summary.populations(*_read(folder))
    spaces = [p for p in populations if len(p.done) > 1]
    if not spaces:
        raise ValueError(
            "`out` must be a sweep with two trained networks of a space at "
            f"least, to see their spread. Received: out={str(folder)!r}"
        )
    needed = 0
    pairs = list(itertools.combinations(spaces, 2)) or [(spaces[0],) * 2]
    for first, second in pairs:
        spread = sample_size.pooled_spread(first.errors, second.errors)
        seen = min(len(first.done), len(second.done))
        at_most = sample_size.spread_at_most(spread, seen)
        counts = [
            sample_size.networks_needed(effect, value, chance)
            for value in (spread, at_most)
        ]
        needed = max(needed, counts[1])
        print(
            f"{first.space} and {second.space}: spread {spread:.2f} points, "
            f"at most {at_most:.2f}; {counts[0]} networks of each, at most "
            f"{counts[1]}"
        )
    seconds = sum(p.values("seconds").mean() for p in spaces)
    print(
        f"{needed} networks of each space find a difference of {effect:g} "
        f"points with {100 * chance:g} %; {len(spaces)} spaces take about "
        f"{needed * seconds / 3600:.1f} hours of one worker. With 80 % the "
        "spread is at most what it is said to be."
    )


def _is_test_held_out(regime, folder):
    """Returns what is known of a test part; nothing before there are arrays."""
    path = arrays.path(regime, folder)
    stored = path is not None and path.exists()
    return stored and bool(arrays.load(regime, folder).test_held_out)


def _read(folder):
    """Returns the records, and how many trials of each space have none."""
    found = files.read_records(folder)
    if not (pathlib.Path(folder) / files.SPEC).exists():
        return found, {}
    _, trials = spec_lib.load(folder)
    recorded = {record.trial_id for record in found}
    missing = [t.space for t in trials if t.trial_id not in recorded]
    return found, dict(collections.Counter(missing))
