"""Whether two populations differ: pure functions of arrays."""

import math
from typing import NamedTuple

import numpy as np

from keras_regnet.design_space import checks
from keras_regnet.design_space.statistics import edf


class Comparison(NamedTuple):
    """How the errors of a population differ from those of another.

    Args:
      difference: mean error of the first minus that of the second.
      low: lower end of the interval of the difference.
      high: upper end.
      ks: Kolmogorov-Smirnov statistic, the max distance of the EDFs.
      p_value: chance of at least that distance, were both from one space.
      sizes: numbers of networks.
    """

    difference: float
    low: float
    high: float
    ks: float
    p_value: float
    sizes: tuple[int, int]


def compare(
    errors: np.ndarray,
    other_errors: np.ndarray,
    rng: np.random.Generator,
    repeats: int = 10_000,
    level: float = 0.95,
) -> Comparison:
    """Returns the difference of two spaces with its confidence interval.

    Args:
      errors: of networks of the first space, [n].
      other_errors: of networks of the second, [m].
      rng: source of the resamples.
      repeats: number of resamples.
      level: of the interval of the difference of means (percentile
        bootstrap, both populations resampled).

    Returns:
      A `Comparison`; a difference below 0 says that the first is better.

    Example:
    >>> rng = np.random.default_rng(0)
    >>> first, second = np.arange(50, 80), np.arange(60, 90)
    >>> result = compare(first, second, rng)
    >>> result.difference, result.high < 0, round(result.ks, 2)
    (-10.0, True, 0.33)
    """
    first = checks.vector("errors", errors)
    second = checks.vector("other_errors", other_errors)
    differences = resampled_differences(first, second, rng, repeats)
    low, _, high = np.percentile(differences, checks.tails(level)).tolist()
    distance = ks_distance(first, second)
    return Comparison(
        float(first.mean() - second.mean()),
        low,
        high,
        distance,
        ks_p_value(distance, len(first), len(second)),
        (len(first), len(second)),
    )


def resampled_differences(
    errors: np.ndarray,
    other_errors: np.ndarray,
    rng: np.random.Generator,
    repeats: int = 10_000,
) -> np.ndarray:
    """Returns differences of mean errors, both populations resampled.

    Their percentiles are the interval of `compare`.

    Example:
    >>> rng = np.random.default_rng(0)
    >>> resampled_differences([40, 40], [50, 50], rng, repeats=3).tolist()
    [-10.0, -10.0, -10.0]
    """
    checks.check_count("repeats", repeats)
    first, second = (
        _resampled_means(checks.vector(name, values), rng, repeats)
        for name, values in (
            ("errors", errors),
            ("other_errors", other_errors),
        )
    )
    return first - second


def _resampled_means(values, rng, repeats):
    n = len(values)
    return np.concatenate(
        [
            values[rng.integers(n, size=(rows, n))].mean(axis=1)
            for rows in checks.pieces(repeats, n)
        ]
    )


def ks_distance(errors: np.ndarray, other_errors: np.ndarray) -> float:
    """Returns the Kolmogorov-Smirnov statistic: the max distance of two EDFs.

    Example:
    >>> ks_distance([1, 2, 3, 4], [3, 4, 5, 6])
    0.5
    """
    first = checks.vector("errors", errors)
    second = checks.vector("other_errors", other_errors)
    steps = np.nextafter(np.concatenate([first, second]), np.inf)
    return float(np.abs(edf(first, steps) - edf(second, steps)).max())


def ks_p_value(distance: float, n: int, m: int) -> float:
    """Returns the chance of a distance between EDFs of one distribution.

    Args:
      distance: Kolmogorov-Smirnov statistic.
      n: size of the first population.
      m: size of the second.

    Returns:
      The chance of at least that distance, however small: exactly, but for
      rounding by 1e-10 of it, if no two errors are equal; an upper bound
      otherwise.

    Source:
      Hodges, Arkiv foer Matematik 3 (1958), 469-486: errors in order are a
      path on a grid of n by m, all paths are equally likely, and those that
      stay near the diagonal, or leave it at a point, can be counted.

    Example:
    >>> round(ks_p_value(0.2, 100, 100), 4)
    0.0364
    """
    limit = round(distance * n * m)
    column = np.arange(m + 1)
    log_factorial = np.log(np.maximum(np.arange(n + m + 1), 1)).cumsum()
    log_all = log_factorial[n + m] - log_factorial[n] - log_factorial[m]
    paths, log_scale, leaving = np.ones(m + 1), 0.0, 0.0
    for row in range(n + 1):
        near = np.abs(row * m - column * n) < limit
        # To the end from each column of the row, all in logarithms.
        rest = n - row + m - column
        log_rest = log_factorial[rest] - log_factorial[m - column]
        log_rest -= log_factorial[n - row]
        log_share = log_rest + log_scale - log_all
        # Those that come from the row before and are no longer near.
        leaving += _weighted(paths, ~near, log_share) if row else 0.0
        # In the first row there is one way to each column, along the row.
        paths = near * (np.cumsum(paths * near) if row else _run(near))
        largest = paths.max()
        if not largest:
            return 1.0
        # Those that go on along the row, beyond its last column that is near.
        leaving += _weighted(paths[:-1], ~near[1:], log_share[1:])
        paths, log_scale = paths / largest, log_scale + math.log(largest)
    # The end of the grid is always near the diagonal.
    staying = float(paths[-1]) * math.exp(log_scale - log_all)
    # Each where it is not the difference of two numbers that are nearly equal.
    p_value = leaving if leaving < 0.5 else 1.0 - staying
    return min(1.0, max(0.0, p_value))


def _weighted(paths, chosen, log_weights):
    """Returns the sum of paths by their weights, where there are any."""
    chosen = chosen & (paths > 0)
    return float((paths[chosen] * np.exp(log_weights[chosen])).sum())


def _run(near):
    """1 for the columns up to the first that is not near, else 0."""
    return np.cumprod(near, dtype=float)
