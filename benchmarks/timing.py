"""Times contestants in alternating rounds, so that a busy machine is fair.

Absolute times say little on a shared machine. Every round times each
contestant once, in turn; a slow second then falls on all of them.
"""

import platform
import statistics
import time
from collections.abc import Callable
from collections.abc import Mapping

import numpy as np


def alternate(
    contestants: Mapping[str, Callable[[], object]],
    rounds: int = 9,
    seconds: float = 10.0,
) -> dict[str, float]:
    """Returns the median seconds of one call of each contestant.

    Args:
        contestants: Functions without arguments that return when their work
            is done, by name.
        rounds: How often each is timed, each time after a call that is not.
        seconds: A contestant that has used this much is timed no more, but
            at least once.

    Returns:
        Medians in seconds, by name.

    Example:
    >>> medians = alternate({"sum": lambda: sum(range(10))}, rounds=3)
    >>> list(medians)
    ['sum']
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            if sum(times[name]) > seconds:
                continue
            # Untimed: the contestant before has left its data in the caches,
            # and perhaps threads that still spin.
            call()
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def product_rate(
    multiply: Callable[[np.ndarray, np.ndarray], object], size: int = 2048
) -> float:
    """Returns the machine's fp32 matrix-product rate in GMAC/s.

    Args:
        multiply: Computes the product of two square matrices.
        size: Rows and columns of both.

    Returns:
        1e9 multiply-adds per second, of the median of the runs.
    """
    matrix = np.random.default_rng(0).normal(size=(size, size))
    matrix = matrix.astype("float32")
    median = alternate({"product": lambda: multiply(matrix, matrix)})
    return size**3 / median["product"] / 1e9


def cpu_model() -> str:
    """Returns the processor's name as the system gives it."""
    try:
        with open("/proc/cpuinfo") as file:
            lines = [line for line in file if line.startswith("model name")]
        return lines[0].split(":", 1)[1].strip()
    except (OSError, IndexError):
        return platform.processor() or platform.machine()
