"""The stages of a sweep after training: collect, analyze and report.

Each raises a ValueError if there are no records.
"""

import collections
import json
import os
import pathlib

from keras_regnet import atomic
from keras_regnet.design_space import records
from keras_regnet.design_space import summary
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
    report_lib.write(path, *_read(folder))
    print(path)


def _read(folder):
    """Returns the records, and how many trials of each space have none."""
    found = files.read_records(folder)
    if not (pathlib.Path(folder) / files.SPEC).exists():
        return found, {}
    _, trials = spec_lib.load(folder)
    recorded = {record.trial_id for record in found}
    missing = [t.space for t in trials if t.trial_id not in recorded]
    return found, dict(collections.Counter(missing))
