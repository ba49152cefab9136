"""The files of a sweep's folder, beside `data/` and `logs/`."""

import os
import pathlib

from keras_regnet.design_space import records

# What the sweep consists of, and one trial a line.
SPEC = "sweep.json"
TRIALS = "trials.jsonl"
# Of a budget of latency: what was measured of networks, sampled or not.
LATENCIES = "latencies.json"
# One line per attempt, appended while the sweep trains; packed for keeping.
RECORDS = "records.jsonl"
PACKED = "records.jsonl.gz"
# Attempts at the networks that were picked, with fresh seeds; that on the test
# images; and the network that was chosen.
PICKS = "picks.jsonl"
TESTS = "tests.jsonl"
BEST = "best.json"
# Statistics of each space and pair of spaces, and the page.
SUMMARY = "summary.json"
REPORT = "report.html"
# Held by the process that trains.
# Arrays of the data set, and what the worker processes printed.
DATA = "data"
LOGS = "logs"


def read_records(folder: str | os.PathLike) -> list[records.Record]:
    """Returns a sweep's records, from the packed file if there is no other."""
    for name in (RECORDS, PACKED):
        path = pathlib.Path(folder) / name
        if path.exists():
            return records.read(path)
    return []
