"""Results as files: whole after each round, and resumed by the same command.

A result has the rounds as they were measured; `table` makes medians and ratios
of them.

    {"suite": "inference", "command": ..., "rounds": 5, "turn_seconds": 2.0,
     "machine": {...},
     "settings": [{"labels": {...}, "reference": NAME, "cases": {NAME: {
         "environment": ..., "versions": {...}, "facts": {...},
         "rounds": [{"seconds": 0.1}, ...]}}}]}

A case that could not run has "absent" with the reason, one that failed has
"failed" with its error.
"""

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from benchmarks.harness import older
from benchmarks.harness import spec
from benchmarks.harness import statistics

# What must not change between the rounds of a result.
_FIXED = ("suite", "rounds", "turn_seconds")


def read(path: pathlib.Path) -> dict[str, Any]:
    """Returns a result, also of the programs that were before the harness.

    Raises:
      ValueError: if the file has none.
      OSError: if it cannot be read.
    """
    try:
        record = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    record = older.upgraded(record)
    if record is None:
        raise ValueError(f"{path} is not a result of `python -m benchmarks`")
    return record


def new(
    suite: spec.Suite,
    command: str,
    machine: dict[str, Any],
    rounds: int,
    turn_seconds: float,
    settings: Sequence[spec.Setting],
) -> dict[str, Any]:
    """Returns a result without any round."""
    return {
        "suite": suite.name,
        "command": command,
        "rounds": rounds,
        "turn_seconds": turn_seconds,
        "machine": machine,
        "settings": [_new_setting(setting) for setting in settings],
    }


def _new_setting(setting):
    return {
        "labels": dict(setting.labels),
        "reference": setting.reference,
        "cases": {
            case.name: {"environment": case.environment, "rounds": []}
            for case in setting.cases
        },
    }


class Partial:
    """A result that is not finished, in a file beside that of the finished one.

    Args:
      path: of the finished result; an older one stays until then.
      record: see `new`; what an interrupted run had measured is added to it.

    Raises:
      ValueError: if the interrupted run was another one; names what differs.
    """

    def __init__(self, path: pathlib.Path, record: dict[str, Any]) -> None:
        self._path = path
        self._partial = path.with_suffix(".partial.json")
        self.record = record
        self.resumed = self._partial.exists()
        if self.resumed:
            stored = json.loads(self._partial.read_text())
            _check_same(self._partial, stored, record)
            self.record = stored

    def write(self) -> None:
        """Keeps what has been measured so far."""
        _write(self._partial, self.record)

    def finish(self) -> None:
        """Replaces the older result."""
        _write(self._path, self.record)
        self._partial.unlink(missing_ok=True)


def _write(path, record):
    """Writes beside the target, then renames.

    Not by `keras_regnet.atomic`: importing it imports TensorFlow, and every
    process that is started from here would have its settings.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w") as file:
        json.dump(record, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _check_same(path, stored, record):
    differing = [key for key in _FIXED if stored[key] != record[key]]
    machines = stored["machine"], record["machine"]
    differing += [
        f"machine ({key})"
        for key in dict.fromkeys([*machines[0], *machines[1]])
        if machines[0].get(key) != machines[1].get(key)
    ]
    if list(map(_plan, stored["settings"])) != [
        _plan(setting) for setting in record["settings"]
    ]:
        differing.append("settings")
    if differing:
        raise ValueError(
            f"{path} is of an interrupted run with another "
            f"{', '.join(differing)}. Repeat its command, remove the file, or "
            f"give another --output. Its command: {stored['command']}"
        )


def _plan(setting):
    """Returns what a setting of a result is to have."""
    return setting["labels"], list(setting["cases"])


def finished_rounds(setting: dict[str, Any]) -> int:
    """Returns how many rounds of a setting of a result are done."""
    return max((len(c["rounds"]) for c in setting["cases"].values()), default=0)


def values(case: dict[str, Any], key: str) -> list[float]:
    """Returns what the rounds of a case measured."""
    return [measured[key] for measured in case["rounds"]]


def median(case: dict[str, Any], key: str = "seconds") -> float:
    """Returns the median of what the rounds of a case measured."""
    return statistics.spread(values(case, key)).median
