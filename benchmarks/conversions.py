"""Memory of many conversions in a row, in this process and in another.

    python benchmarks/conversions.py 200
    python benchmarks/conversions.py 60 --here

converts and times one small network after the other as an int8 LiteRT file, as
`design_space.propose(latency=...)` does, by `export.LatencyMeter`; with
`--here` by `export.latency` in this process, whose memory grows. Linux.
"""

import argparse
import os
import pathlib
import sys
import time

import numpy as np

# Also when run from another working directory.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

import keras_regnet
from keras_regnet import export

_SHAPE = (32, 32, 3)
_CLASSES = 10
_EVERY = 20


def networks(count: int):
    """Yields small networks of differing depth and width."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        depth, width = int(rng.integers(2, 5)), 8 * int(rng.integers(1, 4))
        yield keras_regnet.RegNetConfig(
            depth, width, 8, 2.0, group_width=8, stem_width=8
        )


def megabytes(pid: int | str = "self") -> float:
    """Returns the memory that a process has at the moment."""
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def here(config) -> float:
    """Returns the milliseconds of a network, timed in this process."""
    keras.backend.clear_session(free_memory=False)
    model = keras_regnet.build(config, input_shape=_SHAPE, classes=_CLASSES)
    return export.latency(model, calls=3).milliseconds


def measure(milliseconds, count: int) -> None:
    """Prints time and memory after every 20 networks."""
    start = time.perf_counter()
    for number, config in enumerate(networks(count), start=1):
        milliseconds(config)
        if number % _EVERY == 0 or number in (1, count):
            child = getattr(milliseconds, "process", None)
            other = (
                ""
                if child is None
                else (f"; process {child.pid}: {megabytes(child.pid):.0f} MB")
            )
            seconds = (time.perf_counter() - start) / number
            print(
                f"{number}: {seconds:.2f} s each, {megabytes():.0f} MB{other}",
                flush=True,
            )


def main() -> None:
    """Converts, and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--here", action="store_true")
    arguments = parser.parse_args()
    if arguments.here:
        measure(here, arguments.count)
    else:
        with export.LatencyMeter(_SHAPE, _CLASSES, calls=3) as meter:
            measure(meter, arguments.count)


if __name__ == "__main__":
    main()
