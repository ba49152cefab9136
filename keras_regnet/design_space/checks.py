"""Checks of arrays and percentiles for the statistics, resamples in pieces."""

import numbers
from collections.abc import Iterator
from typing import Any

import numpy as np

# Resamples are drawn in pieces of at most this many numbers.
_PIECE = 2_000_000


def vector(name: str, values: object) -> np.ndarray:
    """Returns one or more finite numbers as floats, [n]."""
    array = _numbers(values)
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise ValueError(
            f"`{name}` must be one or more finite numbers in one dimension "
            f"(leave failed trials out). Received: {name}={values!r}"
        )
    return array


def _numbers(values):
    """Returns an array of floats, NaN if there is anything but numbers."""
    try:
        return np.asarray(values, float)
    except (TypeError, ValueError):
        return np.array([np.nan])


def thresholds(values: object) -> np.ndarray:
    """Returns the thresholds of an EDF as floats; infinities are allowed."""
    array = _numbers(values)
    if np.isnan(array).any():
        raise ValueError(
            f"`thresholds` must be numbers. Received: thresholds={values!r}"
        )
    return array


def pair(
    name: str, values: object, errors: object
) -> tuple[np.ndarray, np.ndarray]:
    """Returns values and errors as floats of one length, [n] each."""
    values, errors = vector(name, values), vector("errors", errors)
    if len(values) != len(errors):
        raise ValueError(
            f"`{name}` must have one value for each error. Received: "
            f"{len(values)} values and {len(errors)} errors"
        )
    return values, errors


def check_fraction(name: str, value: Any, up_to: float = 1.0) -> None:
    """Raises unless a number is above 0 and at most `up_to`."""
    if not isinstance(value, numbers.Real) or not 0 < float(value) <= up_to:
        raise ValueError(
            f"`{name}` must be above 0 and at most {up_to:g}. "
            f"Received: {name}={value!r}"
        )


def check_count(name: str, value: object) -> None:
    """Raises unless a number is an integer above 0."""
    if not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(
            f"`{name}` must be an integer above 0. Received: {name}={value!r}"
        )


def counts(name: str, values: object) -> np.ndarray:
    """Returns one or more integers above 0, [n]."""
    array = np.asarray(values)
    integers = array.ndim == 1 and array.size and array.dtype.kind in "iu"
    if not integers or (array < 1).any():
        raise ValueError(
            f"`{name}` must be one or more integers above 0. "
            f"Received: {name}={array.tolist()}"
        )
    return array


def tails(level: float) -> list[float]:
    """Returns the percentiles of a central interval and of the median.

    Example:
    >>> [round(percentile, 3) for percentile in tails(0.95)]
    [2.5, 50.0, 97.5]
    """
    if not isinstance(level, numbers.Real) or not 0 < level < 1:
        raise ValueError(
            f"`level` must be between 0 and 1. Received: level={level!r}"
        )
    return [50 * (1 - level), 50.0, 50 * (1 + level)]


def pieces(total: int, width: int) -> Iterator[int]:
    """Yields numbers of rows that sum to a total and fit in memory."""
    max_rows = max(1, _PIECE // width)
    while total > 0:
        yield min(total, max_rows)
        total -= max_rows


def scipy_special(what: str, instead: str = "") -> Any:
    """Returns SciPy's special functions.

    Raises:
      ImportError: if it is not installed; names what needs it, and says what
        may be done instead.
    """
    try:
        from scipy import special
    except ImportError as error:
        raise ImportError(
            f"{what} needs SciPy: pip install 'keras_regnet[design]'{instead}"
        ) from error
    return special
