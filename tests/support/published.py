"""The published tables that the tests hold the networks against.

`data/published.csv`: stages of the paper's figures 15 and 16; complexities as
its authors' code counts them. `data/torchvision.csv`: what torchvision builds.
`data/scaled.csv`: what pycls's scaler makes of its networks.
"""

import csv

from tests.support import paths

_DATA = paths.DATA


def rows(name):
    """Returns the rows of a table as dicts; lists are split into integers."""
    with open(_DATA / f"{name}.csv", newline="") as file:
        return [_parse(row) for row in csv.DictReader(file)]


def _parse(row):
    return {key: _KINDS.get(key, int)(value) for key, value in row.items()}


def _integers(text):
    return tuple(map(int, text.split()))


_KINDS = {
    "variant": str,
    "strategy": str,
    "factor": float,
    "depths": _integers,
    "widths": _integers,
    "group_widths": _integers,
}
