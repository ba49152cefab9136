"""Many conversions to int8 LiteRT files in a row: their time and memory.

By `export.LatencyMeter`, in a process of its own, or by what that process does
in this one.
"""

import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

# Before TensorFlow, which it has turn oneDNN on.
import keras_regnet

# isort: split
import numpy as np

from benchmarks.cases import keras_networks
from benchmarks.harness import worker
from keras_regnet import export
from keras_regnet.export import network_latency

_SHAPE = (32, 32, 3)
_CLASSES = 10
_CALLS = 3


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Prepares nothing: the turn is all that a process does.

    Args:
      job: n, how many networks; and own, whether in a process of its own.
    """
    versions = worker.versions(*keras_networks.PACKAGES)
    return worker.Prepared(lambda: _turn(job), versions)


def _turn(job):
    if not job["own"]:
        return _converted(_here, lambda: [os.getpid()], job["n"])
    with export.LatencyMeter(_SHAPE, _CLASSES, calls=_CALLS) as meter:

        def pids():
            # A process that had much memory has given way to none yet.
            process = meter.process
            return [os.getpid(), *([process.pid] if process else [])]

        return _converted(meter, pids, job["n"])


def _converted(
    convert: Callable, pids: Callable[[], list[int]], n: int
) -> dict[str, float]:
    """Returns seconds of a network, and bytes after a tenth and after all."""
    first, early = max(1, n // 10), 0
    start = time.perf_counter()
    for number, config in enumerate(_networks(n), start=1):
        convert(config)
        if number == first:
            early = _bytes_of(pids())
    seconds = (time.perf_counter() - start) / n
    return {"seconds": seconds, "early": early, "bytes": _bytes_of(pids())}


def _networks(n):
    """Yields small networks of differing depth and width."""
    rng = np.random.default_rng(0)
    for _ in range(n):
        depth, width = int(rng.integers(2, 5)), 8 * int(rng.integers(1, 4))
        yield keras_regnet.RegNetConfig(
            depth, width, 8, 2.0, group_width=8, stem_width=8
        )


def _here(config):
    options = {"calls": _CALLS}
    return network_latency.of_network(
        config.to_json(), _SHAPE, _CLASSES, options
    )


def _bytes_of(pids):
    return sum(map(_bytes, pids))


def _bytes(pid):
    """Returns the memory that a process has at the moment."""
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
