"""Statistics of rounds."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """A median and its range over the rounds."""

    median: float
    min: float
    max: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.min:.2f} to {self.max:.2f})"


def spread(values: Sequence[float]) -> Spread:
    """Returns the median of values, and their range.

    Example:
    >>> print(spread([3.0, 1.0, 2.0]))
    2.00 (1.00 to 3.00)
    """
    return Spread(statistics.median(values), min(values), max(values))


def ratios(theirs: Sequence[float], ours: Sequence[float]) -> Spread:
    """Returns theirs over ours, round by round.

    Above one, ours takes less. A case that failed has fewer rounds, the first
    ones.
    """
    return spread([a / b for a, b in zip(theirs, ours, strict=False)])
