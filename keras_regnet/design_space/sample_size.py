"""How many networks a comparison of two spaces needs, before it is trained."""

import math
import numbers

import numpy as np

from keras_regnet.design_space import checks

_MAX_NETWORKS = 1_000_000
_WHAT = "The power of a comparison"


def power(effect: float, spread: float, n: int, level: float = 0.95) -> float:
    """Returns the chance that a comparison is certain of a difference.

    Args:
      effect: true difference of the two mean errors, in points.
      spread: standard deviation of a space's errors, in points.
      n: networks of each of the two spaces.
      level: of the interval that is not to hold 0.

    Returns:
      The chance that the interval of the difference leaves 0 out, of Student's
      t-test of two samples of one size and spread.

    Raises:
      ImportError: if SciPy is not installed.
      ValueError: if an argument is not allowed.

    Source:
      Cohen, Statistical Power Analysis for the Behavioral Sciences (1988),
      chapter 2.

    Example:
    >>> round(power(effect=3.0, spread=6.0, n=64), 2)
    0.8
    """
    _check_positive("effect", effect)
    _check_positive("spread", spread)
    low, _, _ = checks.tails(level)
    if not isinstance(n, numbers.Integral) or n < 2:
        raise ValueError(f"`n` must be an integer above 1. Received: n={n!r}")
    special = checks.scipy_special(_WHAT)
    degrees = 2 * n - 2
    shift = effect / spread * math.sqrt(n / 2)
    limit = special.stdtrit(degrees, 1 - low / 100)
    inside = special.nctdtr(degrees, shift, limit) - special.nctdtr(
        degrees, shift, -limit
    )
    return float(np.clip(1 - inside, 0, 1))


def networks_needed(
    effect: float,
    spread: float,
    chance: float = 0.8,
    level: float = 0.95,
) -> int:
    """Returns how many networks of each space find a difference.

    Args:
      effect: the smallest difference of mean errors that is to be found, in
        points.
      spread: standard deviation of a space's errors, in points; of two spaces
        the root of the mean of their squares.
      chance: of finding it, see `power`.
      level: of the interval that is not to hold 0.

    Returns:
      The number of networks of each of the two spaces.

    Raises:
      ImportError: if SciPy is not installed.
      ValueError: if an argument is not allowed, or a million do not suffice.

    Example:
    >>> networks_needed(effect=3.0, spread=6.0)
    64
    """
    checks.check_fraction("chance", chance, up_to=0.999)
    low, high = 1, 2
    while power(effect, spread, high, level) < chance:
        low, high = high, 2 * high
        if low >= _MAX_NETWORKS:
            raise ValueError(
                "`effect` must be large enough to be found with "
                f"{_MAX_NETWORKS:,} networks at a spread of {spread:g}. "
                f"Received: effect={effect!r}"
            )
    while high - low > 1:
        middle = (low + high) // 2
        if power(effect, spread, middle, level) < chance:
            low = middle
        else:
            high = middle
    return high


def pooled_spread(errors: np.ndarray, other_errors: np.ndarray) -> float:
    """Returns the spread of two populations as if they were one's.

    Example:
    >>> pooled_spread([10, 14, 18], [20, 20, 20])
    2.8284271247461903
    """
    variances = []
    for name, values in (("errors", errors), ("other_errors", other_errors)):
        values = checks.vector(name, values)
        if len(values) < 2:
            raise ValueError(
                f"`{name}` must be of two networks at least, to have a "
                f"spread. Received: {len(values)}"
            )
        variances.append(values.var(ddof=1))
    return float(np.sqrt(np.mean(variances)))


def spread_at_most(spread: float, networks: int, level: float = 0.8) -> float:
    """Returns what a spread is at most, that a pilot of few networks shows.

    Args:
      spread: standard deviation in the pilot.
      networks: how many it had.
      level: chance that the true spread is not larger, for normal errors.

    Example:
    >>> round(spread_at_most(6.0, networks=16), 2)
    7.24
    """
    _check_positive("spread", spread)
    degrees = networks - 1
    chi_square = checks.scipy_special(_WHAT).chdtri(degrees, level)
    return float(spread * math.sqrt(degrees / chi_square))


def _check_positive(name, value):
    if not isinstance(value, numbers.Real) or not 0 < float(value) < math.inf:
        raise ValueError(
            f"`{name}` must be a number above 0. Received: {name}={value!r}"
        )
