"""Statistics of populations of trained networks: pure functions of arrays.

Errors are top-1 errors in percent, though any number of which less is better
will do. Everything random takes a NumPy generator.
"""

import math
import numbers
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Resamples are drawn in pieces of at most this many numbers.
_PIECE = 2_000_000


class Interval(NamedTuple):
    """A median, and what lies around it with the chance asked for."""

    low: float
    median: float
    high: float


class Comparison(NamedTuple):
    """How the errors of a population differ from those of another.

    Args:
      difference: mean error of the first minus that of the second.
      low: lower end of the interval of the difference.
      high: upper end.
      ks: Kolmogorov-Smirnov statistic, the greatest distance of the EDFs.
      p_value: chance of at least that distance, were both from one space.
      sizes: numbers of networks.
    """

    difference: float
    low: float
    high: float
    ks: float
    p_value: float
    sizes: tuple[int, int]


class Curve(NamedTuple):
    """Best error of a random search, arrays [sizes]."""

    mean: np.ndarray
    low: np.ndarray
    median: np.ndarray
    high: np.ndarray


class Trend(NamedTuple):
    """A parameter in several regimes, arrays [regimes].

    Args:
      least: smallest value that was sampled.
      greatest: greatest value.
      low: lower end of the interval of the best value.
      median: the best value that is most likely.
      high: upper end of the interval.
      best: value of the network of least error.
    """

    least: np.ndarray
    greatest: np.ndarray
    low: np.ndarray
    median: np.ndarray
    high: np.ndarray
    best: np.ndarray


class Fit(NamedTuple):
    """Coefficients of the terms of a fit, and its correlation with the data."""

    coefficients: tuple[float, ...]
    correlation: float


def _vector(name, values):
    array = np.asarray(values, float)
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise ValueError(
            f"`{name}` must be one or more finite numbers in one dimension "
            f"(leave failed trials out). Received: {name}={values!r}"
        )
    return array


def _pair(name, values, errors):
    values, errors = _vector(name, values), _vector("errors", errors)
    if len(values) != len(errors):
        raise ValueError(
            f"`{name}` must have one value for each error. Received: "
            f"{len(values)} values and {len(errors)} errors"
        )
    return values, errors


def _check_fraction(name, value, above=0.0, up_to=1.0):
    if not isinstance(value, numbers.Real) or not above < value <= up_to:
        raise ValueError(
            f"`{name}` must be above {above:g} and at most {up_to:g}. "
            f"Received: {name}={value!r}"
        )


def _check_repeats(repeats):
    if not isinstance(repeats, numbers.Integral) or repeats < 1:
        raise ValueError(
            "`repeats` must be an integer above 0. "
            f"Received: repeats={repeats!r}"
        )


def _tails(level):
    """Percentiles at the two ends of a central interval, and the middle."""
    _check_fraction("level", level, up_to=1 - 1e-9)
    return [50 * (1 - level), 50.0, 50 * (1 + level)]


# --- Error EDFs -------------------------------------------------------------


def edf(errors: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Returns the share of networks with an error below each threshold.

    Args:
      errors: [n].
      thresholds: any shape.

    Returns:
      Shares in [0, 1], of the shape of `thresholds`.

    Source:
      Paper, equation 1.

    Example:
    >>> edf([40, 50, 60, 60], [40, 45, 60, 61]).tolist()
    [0.0, 0.25, 0.5, 1.0]
    """
    errors = np.sort(_vector("errors", errors))
    return np.searchsorted(errors, np.asarray(thresholds), "left") / len(errors)


def normalized_edf(
    errors: np.ndarray,
    complexities: np.ndarray,
    thresholds: np.ndarray,
    limits: tuple[float, float] | None = None,
    bins: int = 10,
) -> np.ndarray:
    """Returns an EDF in which all complexities count alike.

    Two populations with different distributions of flops cannot be compared
    as they are. Here the networks of each bin of complexity together have
    the same weight.

    Args:
      errors: [n].
      complexities: flops, params or activations, [n].
      thresholds: [t].
      limits: (least, greatest) complexity; networks outside are left out.
        Those of the data by default; name them to compare populations.
      bins: how many bins of equal width there are between the limits; those
        without networks are left out.

    Returns:
      Weighted shares in [0, 1], [t].

    Raises:
      ValueError: if no network lies between the limits.

    Source:
      arXiv 1905.13214, section 4.2.

    Example:
    >>> normalized_edf([40, 60, 60], [1, 9, 10], [50], bins=2).tolist()
    [0.5]
    """
    complexities, errors = _pair("complexities", complexities, errors)
    low, high = limits or (complexities.min(), complexities.max())
    inside = (low <= complexities) & (complexities <= high)
    if not inside.any():
        raise ValueError(
            "`limits` must hold the complexity of at least one network, from "
            f"{complexities.min():g} to {complexities.max():g}. "
            f"Received: limits={limits}"
        )
    edges = np.linspace(low, high, bins + 1)[1:-1]
    bin_of = np.searchsorted(edges, complexities[inside], "right")
    counts = np.bincount(bin_of, minlength=bins)
    weights = 1 / counts[bin_of] / np.count_nonzero(counts)
    below = errors[inside][:, None] < np.asarray(thresholds, float)
    return weights @ below


def edf_band(
    errors: np.ndarray,
    thresholds: np.ndarray,
    rng: np.random.Generator,
    repeats: int = 2000,
    level: float = 0.95,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pointwise confidence band of an EDF.

    Args:
      errors: [n].
      thresholds: [t].
      rng: draws the resamples.
      repeats: how many.
      level: share of the resamples' EDFs between the two ends.

    Returns:
      Lower and upper ends, [t] each.

    Example:
    >>> rng = np.random.default_rng(0)
    >>> low, high = edf_band([40, 50, 60, 70], [55], rng)
    >>> low.tolist(), high.tolist()
    ([0.0], [1.0])
    """
    errors, (low, _, high) = _vector("errors", errors), _tails(level)
    _check_repeats(repeats)
    thresholds = np.asarray(thresholds, float)
    # Resampling moves whole errors between the steps of the EDF: it is the
    # number of draws in each step that is random, which is multinomial.
    steps = np.concatenate([[0.0], np.sort(edf(errors, thresholds)), [1.0]])
    shares = np.maximum(np.diff(steps), 0)
    drawn = rng.multinomial(len(errors), shares / shares.sum(), size=repeats)
    resampled = np.cumsum(drawn[:, :-1], axis=1) / len(errors)
    ends = np.percentile(resampled, [low, high], axis=0)
    order = np.argsort(np.argsort(thresholds, kind="stable"), kind="stable")
    return ends[0][order], ends[1][order]


# --- The best of a population -----------------------------------------------


def bootstrap_best(
    values: np.ndarray,
    errors: np.ndarray,
    rng: np.random.Generator,
    fraction: float = 0.25,
    repeats: int = 10_000,
    level: float = 0.95,
) -> Interval:
    """Returns the interval of a parameter's best value.

    Draws a part of the networks with replacement, keeps the value of the one
    of least error, and repeats.

    Args:
      values: the parameter of each network, [n].
      errors: [n].
      rng: draws the resamples.
      fraction: share of n that is drawn each time.
      repeats: how often.
      level: share of the values kept between the two ends.

    Returns:
      (low, median, high) of the values kept; the median is the most likely
      best value.

    Source:
      Paper, footnote 4.

    Example:
    >>> rng = np.random.default_rng(0)
    >>> depths = np.arange(100)
    >>> low, median, high = bootstrap_best(depths, (depths - 20) ** 2, rng)
    >>> low < 20 < high, abs(median - 20) <= 1
    (True, True)
    """
    values, errors = _pair("values", values, errors)
    _check_fraction("fraction", fraction)
    _check_repeats(repeats)
    draws = max(1, round(fraction * len(values)))
    # Ranks, so that the least index is the least error.
    by_error = values[np.argsort(errors, kind="stable")]
    piece = max(1, _PIECE // draws)
    kept = [
        by_error[rng.integers(len(values), size=(rows, draws)).min(axis=1)]
        for rows in _pieces(repeats, piece)
    ]
    ends = np.percentile(np.concatenate(kept), _tails(level))
    return Interval(*ends.tolist())


def _pieces(total, piece):
    while total > 0:
        yield min(total, piece)
        total -= piece


def best_of_n(
    errors: np.ndarray, sizes: Sequence[int], level: float = 0.95
) -> Curve:
    """Returns what random search finds with a number of networks.

    The least error of m networks drawn with replacement has a distribution
    in closed form, so nothing is simulated.

    Args:
      errors: [n].
      sizes: numbers m of networks, [s].
      level: share of the searches between the two ends.

    Returns:
      Mean, lower end, median and upper end of the least error, [s] each.

    Source:
      Paper, figure 9 right.

    Example:
    >>> best_of_n([40, 60], [1, 2]).mean.tolist()
    [50.0, 45.0]
    """
    errors = np.sort(_vector("errors", errors))
    sizes = np.asarray(sizes)
    if sizes.ndim != 1 or not sizes.size or (sizes < 1).any():
        raise ValueError(
            "`sizes` must be one or more integers above 0. "
            f"Received: sizes={sizes.tolist()}"
        )
    n = len(errors)
    # Chance that the best of m has at most rank r, [s, n].
    rest = (n - 1 - np.arange(n)) / n
    reached = 1 - rest ** sizes[:, None]
    chances = np.diff(reached, axis=1, prepend=0.0)
    quantiles = [
        errors[(reached < percent / 100 - 1e-12).sum(axis=1)]
        for percent in _tails(level)
    ]
    return Curve(chances @ errors, *quantiles)


def trends(
    populations: Sequence[tuple[np.ndarray, np.ndarray]],
    rng: np.random.Generator,
    fraction: float = 0.25,
    repeats: int = 10_000,
) -> Trend:
    """Returns how the best value of a parameter moves between regimes.

    Args:
      populations: (values [n], errors [n]) of each regime; n may differ.
      rng: draws the resamples.
      fraction: see `bootstrap_best`.
      repeats: see `bootstrap_best`.

    Returns:
      Arrays [regimes].

    Source:
      Paper, figure 11.

    Example:
    >>> rng = np.random.default_rng(0)
    >>> depth = np.arange(1, 41)
    >>> regimes = [(depth, abs(depth - best)) for best in (12, 20)]
    >>> trends(regimes, rng).best.tolist()
    [12.0, 20.0]
    """
    if not len(populations):
        raise ValueError("`populations` must hold at least one regime.")
    rows = []
    for values, errors in populations:
        values, errors = _pair("values", values, errors)
        band = bootstrap_best(values, errors, rng, fraction, repeats)
        best = values[np.argmin(errors)]
        rows.append((values.min(), values.max(), *band, best))
    return Trend(*np.array(rows).T)


# --- Two populations --------------------------------------------------------


def compare(
    errors: np.ndarray,
    other_errors: np.ndarray,
    rng: np.random.Generator,
    repeats: int = 10_000,
    level: float = 0.95,
) -> Comparison:
    """Returns how sure one may be that two spaces differ.

    Args:
      errors: of networks of the first space, [n].
      other_errors: of networks of the second, [m].
      rng: draws the resamples.
      repeats: how many for the interval.
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
    first = _vector("errors", errors)
    second = _vector("other_errors", other_errors)
    _check_repeats(repeats)
    means = [_resampled_means(x, rng, repeats) for x in (first, second)]
    low, _, high = np.percentile(means[0] - means[1], _tails(level)).tolist()
    distance = ks_distance(first, second)
    return Comparison(
        float(first.mean() - second.mean()),
        low,
        high,
        distance,
        ks_p_value(distance, len(first), len(second)),
        (len(first), len(second)),
    )


def _resampled_means(values, rng, repeats):
    n = len(values)
    return np.concatenate(
        [
            values[rng.integers(n, size=(rows, n))].mean(axis=1)
            for rows in _pieces(repeats, max(1, _PIECE // n))
        ]
    )


def ks_distance(errors: np.ndarray, other_errors: np.ndarray) -> float:
    """Returns the greatest distance between two EDFs.

    Args:
      errors: [n].
      other_errors: [m].

    Returns:
      The Kolmogorov-Smirnov statistic, in [0, 1].

    Example:
    >>> ks_distance([1, 2, 3, 4], [3, 4, 5, 6])
    0.5
    """
    first = _vector("errors", errors)
    second = _vector("other_errors", other_errors)
    steps = np.nextafter(np.concatenate([first, second]), np.inf)
    return float(np.abs(edf(first, steps) - edf(second, steps)).max())


def ks_p_value(distance: float, n: int, m: int) -> float:
    """Returns the chance of a distance between EDFs of one distribution.

    Args:
      distance: Kolmogorov-Smirnov statistic.
      n: size of the first population.
      m: size of the second.

    Returns:
      The chance of at least that distance, by Kolmogorov's limit with
      Stephens's correction for few networks (within a few hundredths for 10
      or more in each).

    Source:
      Stephens, J. Royal Stat. Soc. B 32 (1970), 115-122.

    Example:
    >>> round(ks_p_value(0.2, 100, 100), 3)
    0.031
    """
    root = math.sqrt(n * m / (n + m))
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.2:
        # The series below converges slowly; the sum is 1 to 12 digits.
        return 1.0
    k = np.arange(1, 101)
    terms = (-1.0) ** (k - 1) * np.exp(-2 * (k * scaled) ** 2)
    return float(np.clip(2 * terms.sum(), 0, 1))


# --- Complexity -------------------------------------------------------------

_TERMS = {
    "constant": np.ones_like,
    "sqrt": np.sqrt,
    "linear": np.asarray,
}


def fit_complexity(
    flops: np.ndarray, values: np.ndarray, terms: Sequence[str]
) -> Fit:
    """Returns the least-squares fit of a quantity to flops.

    Args:
      flops: in the unit that the coefficients are wanted for, [n].
      values: params, activations or times, [n].
      terms: of "constant", "sqrt" and "linear", those that are summed. The
        paper's: ("sqrt",) for activations, ("constant", "linear") for params,
        ("sqrt", "linear") for times.

    Returns:
      One coefficient per term, and Pearson's correlation of fit and values.

    Raises:
      ValueError: if a term is unknown, or there are fewer values than terms.

    Source:
      Paper, figure 12.

    Example:
    >>> flops = np.array([1.0, 4.0, 9.0])
    >>> fit = fit_complexity(flops, 6.5 * np.sqrt(flops), ("sqrt",))
    >>> round(fit.coefficients[0], 6), round(fit.correlation, 6)
    (6.5, 1.0)
    """
    flops, values = _pair("flops", flops, values)
    for term in terms:
        if term not in _TERMS:
            raise ValueError(
                f"`terms` must be of {', '.join(map(repr, _TERMS))}. "
                f"Received: terms={terms!r}"
            )
    if not terms or len(flops) < len(terms):
        raise ValueError(
            "`terms` must be at least one, and no more than there are values. "
            f"Received: terms={terms!r} for {len(flops)} values"
        )
    columns = np.stack([_TERMS[term](flops) for term in terms], axis=1)
    coefficients, *_ = np.linalg.lstsq(columns, values, rcond=None)
    fitted = columns @ coefficients
    correlation = np.corrcoef(fitted, values)[0, 1]
    return Fit(tuple(coefficients.tolist()), float(correlation))
