"""Values that a parameter may take, and how likely each is.

Samples are table look-ups of numbers in [0, 1): with the bits of a NumPy
generator they give the same values on every machine, which `exp` and `log`
of random numbers do not.
"""

import dataclasses
import math
from collections.abc import Iterable

import numpy as np

from keras_regnet import errors

ORDERS = ("free", "equal", "rising", "falling")

# Table entries are rounded to this, so that the last bit of a logarithm,
# which machines differ in, changes no sample.
_TABLE_STEPS = 2.0**48


@dataclasses.dataclass(frozen=True)
class Domain:
    """The values of a parameter, rising, with their probabilities.

    Args:
      values: the possible values.
      weights: one number above 0 for each value; only their ratios count.
    """

    values: tuple[float, ...]
    weights: tuple[float, ...]

    def within(self, low: float, high: float) -> "Domain":
        """Returns the part of the domain between two values, both included.

        Args:
          low: the min value to keep.
          high: the max value to keep.

        Returns:
          A domain in which the values kept have the same ratios; empty if
          there are none.
        """
        kept = [
            (value, weight)
            for value, weight in zip(self.values, self.weights, strict=True)
            if low <= value <= high
        ]
        values, weights = zip(*kept, strict=True) if kept else ((), ())
        return Domain(values, weights)

    @property
    def probabilities(self) -> np.ndarray:
        """Chance of each value, [values]."""
        weights = np.array(self.weights)
        return weights / weights.sum()


def log_uniform(low: int, high: int, step: int) -> Domain:
    """Returns a domain that is uniform on a logarithmic scale.

    Args:
      low: min value, a multiple of `step`.
      high: max value.
      step: distance between values.

    Returns:
      A domain of the multiples of `step`, each as likely as a continuous
      log-uniform variable is to fall between it and the value before.

    Source:
      Paper, section 3.2 (log-uniform); discretized as pycls does, with
      min(step, low / 2) below `low`.

    Example:
    >>> log_uniform(1, 4, 1).probabilities.round(3).tolist()
    [0.333, 0.333, 0.195, 0.138]
    """
    values = tuple(range(low, high + 1, step))
    below = (low - min(step, low / 2), *values[:-1])
    logs = map(math.log, (v / b for v, b in zip(values, below, strict=True)))
    return Domain(values, tuple(logs))


def scaled(domain: Domain, divisor: int) -> Domain:
    """Returns a domain of integers divided by an integer."""
    values = tuple(value / divisor for value in domain.values)
    return Domain(values, domain.weights)


def uniform(values: Iterable[float]) -> Domain:
    """Returns a domain of equally likely values.

    Args:
      values: the values, in any order.

    Returns:
      A domain.

    Example:
    >>> uniform([4, 1, 2]).values
    (1, 2, 4)
    """
    values = tuple(sorted(set(values)))
    return Domain(values, (1.0,) * len(values))


def _cumulative(weights):
    sums = np.cumsum(weights)
    return np.round(sums / sums[-1] * _TABLE_STEPS) / _TABLE_STEPS


def _look_up(table, numbers):
    """Index of the first entry above each number."""
    indices = np.searchsorted(table, numbers, side="right")
    # A number that was rounded up to the end of the table.
    return np.minimum(indices, len(table) - 1)


class Sampler:
    """Samples one parameter of all stages, under an order.

    Args:
      domain: the values of one stage.
      stages: how many stages.
      order: "free": each stage on its own; "equal": one sample for all;
        "rising" (never falling from stage to stage) and "falling": the free
        samples that happen to be so, with the probabilities they have among
        these, but without rejecting others.
    """

    def __init__(self, domain: Domain, stages: int, order: str) -> None:
        if order not in ORDERS:
            raise errors.unknown_value("order", order, ORDERS)
        self._values = np.array(domain.values)
        self._order = order
        self._stages = stages
        self.numbers = 1 if order == "equal" else stages
        self._tables = self._make_tables(domain.probabilities)

    def _make_tables(self, probabilities):
        if self._order in ("free", "equal"):
            return [_cumulative(probabilities)] * self.numbers
        # How likely the stages after are to rise from a value; from the last.
        tables, tail = [], np.ones(len(probabilities))
        for _ in range(self._stages):
            weights = probabilities * tail
            tables.append(_cumulative(weights))
            tail = np.cumsum(weights[::-1])[::-1]
        return tables[::-1]

    def sample(self, numbers: np.ndarray) -> np.ndarray:
        """Returns values [stages, n] for [self.numbers, n] in [0, 1)."""
        if self._order in ("rising", "falling"):
            rising = self._values[self._rising_indices(numbers)]
            return rising if self._order == "rising" else rising[::-1]
        rows = [
            self._values[_look_up(table, row)]
            for table, row in zip(self._tables, numbers, strict=True)
        ]
        if self._order == "equal":
            rows *= self._stages
        return np.stack(rows)

    def _rising_indices(self, numbers):
        indices = np.zeros(numbers.shape, int)
        before = np.zeros(numbers.shape[1], int)
        for stage, table in enumerate(self._tables):
            floor = np.concatenate([[0.0], table])[before]
            target = floor + numbers[stage] * (1.0 - floor)
            before = np.maximum(_look_up(table, target), before)
            indices[stage] = before
        return indices
