"""Reading a checkpoint, building its network, and both: seconds and memory."""

import pathlib
import time
from typing import Any

from benchmarks.cases import memory
from benchmarks.harness import worker


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Prepares nothing: the turn is all that a process does.

    Args:
      job: network; weights, path of its checkpoint; step: "read", "build" or
        "load".
    """
    # No part of what is measured.
    import keras_regnet

    path = pathlib.Path(job["weights"])
    facts = {"bytes": path.stat().st_size}

    def turn():
        start = time.perf_counter()
        if job["step"] == "read":
            path.read_bytes()
        else:
            weights = str(path) if job["step"] == "load" else None
            keras_regnet.build(job["network"], weights=weights)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "bytes": memory.peak_bytes()}

    return worker.Prepared(turn, worker.versions("tensorflow", "keras"), facts)
