"""What all processes that run a network's file have in common."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.harness import worker


def images(job: dict[str, Any]) -> np.ndarray:
    """Returns the pixels that the network is run on, uint8."""
    return np.load(job["images"])


def prepared(
    job: dict[str, Any],
    step: Callable[[], Any],
    packages: tuple[str, ...],
    **facts: Any,
) -> worker.Prepared:
    """Returns a case that is warm, and what its file costs.

    Args:
      job: images, batch, turn_seconds, and as far as known costs, expected
        (paths of files) and path.
      step: computes the images again; returns the outputs.
      packages: whose versions are to be recorded.
      **facts: more to be recorded.
    """
    turn = worker.Repeated(step, job["turn_seconds"])
    facts |= {"images": job["batch"], "first_seconds": turn.first_seconds}
    facts |= job.get("facts", {})
    if "costs" in job:
        costs = json.loads(pathlib.Path(job["costs"]).read_text())
        costs["multiply_adds"] *= job["batch"]
        facts |= costs
    if "path" in job:
        facts["bytes"] = _bytes(pathlib.Path(job["path"]))
    if "expected" in job:
        facts["max_relative_error"] = _error(step(), np.load(job["expected"]))
    return worker.Prepared(turn, worker.versions(*packages), facts)


def _bytes(path):
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _error(outputs, expected):
    """Returns the max absolute error over the largest output."""
    return float(np.abs(outputs - expected).max() / np.abs(expected).max())
