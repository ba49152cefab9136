"""Confidence bands that hold everywhere at once, for EDFs and for searches.

A population is a sample: the distribution of errors in its space may be
another than its EDF. The band holds the whole distribution with the requested
probability, and so all that follows from it. Pure functions of arrays.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_regnet import errors as errors_lib
from keras_regnet.design_space import checks

# Errors are percentages.
_LIMITS = (0.0, 100.0)
# Halvings of an interval of probabilities: to 1e-12.
_HALVINGS = 40


class SearchBand(NamedTuple):
    """Between which errors the best of a random search lies, arrays [sizes].

    Args:
      mean_low: lower end of the mean of the lowest error.
      mean_high: its upper end.
      median_low: lower end of the median of the lowest error.
      median_high: its upper end.
    """

    mean_low: np.ndarray
    mean_high: np.ndarray
    median_low: np.ndarray
    median_high: np.ndarray


def edf_confidence_band(
    errors: np.ndarray,
    thresholds: np.ndarray,
    level: float = 0.95,
    method: str = "exact",
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the band that holds a space's whole distribution of errors.

    It is simultaneous: with the probability `level` no threshold is outside.
    The pointwise band of `edf_band` is narrower, and is wrong somewhere more
    often than that.

    Args:
      errors: of networks sampled from the space, [n].
      thresholds: any shape.
      level: probability that the band holds the distribution, exactly for
        errors of which no two are equal, and at least otherwise.
      method: "exact", by the beta distributions of the sorted errors' ranks
        (needs SciPy: `pip install 'keras_regnet[design]'`), or "dkw", as wide
        everywhere, by a formula.

    Returns:
      Lower and upper ends, each of the shape of `thresholds`.

    Raises:
      ImportError: if SciPy is needed and not installed.
      ValueError: if an argument is not allowed.

    Source:
      arXiv 2311.09480, section 3, after Learned-Miller and DeStefano, IEEE
      Transactions on Information Theory 54 (2008), 1-13; for "dkw" Massart,
      Annals of Probability 18 (1990), 1269-1283.

    Example:
    >>> errors = np.linspace(30, 60, 20)
    >>> low, high = edf_confidence_band(errors, [45], method="dkw")
    >>> low.round(2).tolist(), high.round(2).tolist()
    ([0.2], [0.8])
    """
    errors = np.sort(checks.vector("errors", errors))
    thresholds = checks.thresholds(thresholds)
    low, high = _ends(len(errors), level, method)
    below = np.searchsorted(errors, thresholds, "left")
    return low[below], high[below]


def best_of_n_band(
    errors: np.ndarray,
    sizes: Sequence[int],
    level: float = 0.95,
    method: str = "exact",
    limits: tuple[float, float] = _LIMITS,
) -> SearchBand:
    """Returns the band of the best error of random searches of some sizes.

    `best_of_n` takes the population for the space itself. This band has the
    sampling error of the population in it; for searches that are not much
    smaller than the population its lower ends are those of the limits, since
    better networks than any that was seen may be there.

    Args:
      errors: of networks sampled from the space, [n].
      sizes: numbers m of networks, [s].
      level: probability that the band holds the whole curve, see
        `edf_confidence_band`.
      method: see `edf_confidence_band`.
      limits: the errors that are possible at all.

    Returns:
      The ends of the mean and of the median of the lowest error.

    Raises:
      ImportError: if SciPy is needed and not installed.
      ValueError: if an argument is not allowed.

    Source:
      arXiv 2311.09480, section 4.

    Example:
    >>> band = best_of_n_band(np.linspace(30, 60, 40), [1, 4], method="dkw")
    >>> band.median_high.round(1).tolist()
    [51.5, 40.8]
    """
    errors = np.sort(checks.vector("errors", errors))
    counts = checks.counts("sizes", sizes)
    first, last = limits
    if not first <= errors[0] or not errors[-1] <= last:
        raise ValueError(
            "`limits` must hold all errors, from "
            f"{errors[0]:g} to {errors[-1]:g}. Received: limits={limits}"
        )
    low, high = _ends(len(errors), level, method)
    edges = np.concatenate([[first], errors, [last]])
    return SearchBand(
        _mean_of_best(edges, high, counts),
        _mean_of_best(edges, low, counts),
        _median_of_best(edges, high, counts),
        _median_of_best(edges, low, counts),
    )


def _mean_of_best(edges, fractions, counts):
    """Returns the mean lowest error under a distribution in steps, [s]."""
    above = (1 - fractions) ** counts[:, None]
    return edges[0] + above @ np.diff(edges)


def _median_of_best(edges, fractions, counts):
    """Returns the median lowest error under a distribution in steps, [s]."""
    needed = 1 - 0.5 ** (1 / counts)
    # Beyond the last error there is the upper limit.
    steps = np.searchsorted(fractions, needed - 1e-12, "left")
    return edges[steps]


def _ends(n, level, method):
    """Returns the ends of a distribution between the sorted errors, [n + 1].

    Entry i is for the thresholds that have i errors below them.
    """
    checks.tails(level)
    if method == "exact":
        return _exact_ends(n, level)
    if method == "dkw":
        return _ends_by_formula(n, level)
    raise errors_lib.unknown_value("method", method, ("exact", "dkw"))


def _ends_by_formula(n, level):
    distance = np.sqrt(np.log(2 / (1 - level)) / (2 * n))
    fractions = np.arange(n + 1) / n
    return (
        np.maximum(fractions - distance, 0),
        np.minimum(fractions + distance, 1),
    )


@functools.lru_cache(maxsize=64)
def _exact_ends(n, level):
    """Returns the ends from intervals of the ranks, all of one probability.

    That probability is the one with which all hold together as requested.
    """
    # The chance that all hold falls as the tails grow.
    least, most = 0.0, 1 - level
    for _ in range(_HALVINGS):
        tail = (least + most) / 2
        if chance_inside(*_rank_intervals(n, tail)) < level:
            most = tail
        else:
            least = tail
    low, high = _rank_intervals(n, least)
    return np.append(0.0, low), np.append(high, 1.0)


def _rank_intervals(n, tail):
    """Returns the shortest intervals of uniform order statistics, [n] each."""
    special = checks.scipy_special(
        "An exact band", instead=". method='dkw' does not."
    )
    rank = np.arange(1, n + 1)
    other = n + 1 - rank

    def quantile(probability):
        return special.betaincinv(rank, other, probability)

    def log_density(x):
        return special.xlogy(rank - 1, x) + special.xlog1py(other - 1, -x)

    least, most = np.zeros(n), np.full(n, tail)
    for _ in range(_HALVINGS):
        below = (least + most) / 2
        low, high = quantile(below), quantile(below + 1 - tail)
        # The shortest interval has one density at both ends.
        too_low = log_density(low) < log_density(high)
        least = np.where(too_low, below, least)
        most = np.where(too_low, most, below)
    # Where the density is highest at an end of the line, so is the interval.
    low, high = quantile(least), quantile(least + 1 - tail)
    low[0] = 0.0
    high[0] = quantile(np.full(n, 1 - tail))[0]
    low[-1] = quantile(np.full(n, tail))[-1]
    high[-1] = 1.0
    return low, high


def chance_inside(low: np.ndarray, high: np.ndarray) -> float:
    """Returns the chance that sorted uniform numbers lie in their intervals.

    The numbers are the points of a Poisson process that has n of them: its
    count is followed from end to end, without what has left an interval.

    Args:
      low: lower end for each rank, rising, [n].
      high: upper end for each rank, rising, [n].

    Returns:
      The chance, to about 1e-10.

    Source:
      Moscovich and Nadler, Statistics and Probability Letters 123 (2017),
      177-182.

    Example:
    >>> round(chance_inside(np.array([0.5]), np.array([0.75])), 6)
    0.25
    """
    n = len(low)
    log_factorial = np.cumsum(np.log(np.maximum(np.arange(n + 1), 1)))
    # (time, whether it is an upper end, rank): as many numbers may be there as
    # lower ends were passed, and must be there as upper ends were.
    ends = [(float(time), 0, rank) for rank, time in enumerate(low)]
    ends += [(float(time), 1, rank) for rank, time in enumerate(high)]
    least, most, now = 0, 0, 0.0
    chances = np.array([1.0])  # of each count from least to most
    for time, is_high, rank in [*sorted(ends), (1.0, 1, n - 1)]:
        if time > now:
            jumps = np.arange(most - least + 1)
            steps = _poisson(n * (time - now), jumps, log_factorial)
            chances = np.convolve(chances, steps)[: len(jumps)]
            now = time
        if not is_high:
            chances = np.append(chances, np.zeros(rank + 1 - most))
            most = rank + 1
        elif rank + 1 > least:
            chances = chances[rank + 1 - least :]
            least = rank + 1
        if least > most:
            return 0.0
    all_there = _poisson(n, np.array([n]), log_factorial)
    return float(chances[0] / all_there[0])


def _poisson(mean, counts, log_factorial):
    return np.exp(counts * np.log(mean) - mean - log_factorial[counts])
