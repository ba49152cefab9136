"""Times LiteRT files in turn, in a process of its own; prints JSON.

    python stopwatch.py SECONDS THREADS FILE...

`targets` runs it, which ends it if it takes too long. It imports no more than
the runtime.
"""

import json
import statistics
import sys
import time
from typing import Any

import numpy as np
from ai_edge_litert import interpreter as litert

_ROUNDS = 31
_MIN_ROUNDS = 3


def main(argv: list[str]) -> None:
    """Prints the median milliseconds of a call of each file."""
    seconds, threads, *paths = argv[1:]
    opened = [_open(path, int(threads)) for path in paths]
    times: list[list[float]] = [[] for _ in opened]
    end = time.perf_counter() + float(seconds)
    for number in range(_ROUNDS):
        if number >= _MIN_ROUNDS and time.perf_counter() > end:
            break
        for interpreter, taken in zip(opened, times, strict=True):
            # The file before has left its data in the caches.
            interpreter.invoke()
            start = time.perf_counter()
            interpreter.invoke()
            taken.append(1e3 * (time.perf_counter() - start))
    print(json.dumps([statistics.median(taken) for taken in times]))


def _open(path: str, threads: int) -> Any:
    """Returns an interpreter with random pixels."""
    interpreter = litert.Interpreter(path, num_threads=threads)
    interpreter.allocate_tensors()
    (images,) = interpreter.get_input_details()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 128, images["shape"]).astype(images["dtype"])
    interpreter.set_tensor(images["index"], pixels)
    interpreter.invoke()
    return interpreter


if __name__ == "__main__":
    main(sys.argv)
