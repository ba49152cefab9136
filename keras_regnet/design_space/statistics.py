"""Statistics of populations of trained networks: pure functions of arrays.

Errors are top-1 errors in percent, though any number that is better when lower
will do. Everything random takes a NumPy generator.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_regnet.design_space import checks


class Interval(NamedTuple):
    """A median, and the interval around it with the requested probability."""

    low: float
    median: float
    high: float


class Curve(NamedTuple):
    """Best error of a random search, arrays [sizes]."""

    mean: np.ndarray
    low: np.ndarray
    median: np.ndarray
    high: np.ndarray


class Trend(NamedTuple):
    """A parameter in several regimes, arrays [regimes].

    Args:
      min: lowest value that was sampled.
      max: highest value.
      low: lower end of the interval of the best value.
      median: the best value that is most likely.
      high: upper end of the interval.
      best: value of the network of lowest error.
    """

    min: np.ndarray
    max: np.ndarray
    low: np.ndarray
    median: np.ndarray
    high: np.ndarray
    best: np.ndarray


class Fit(NamedTuple):
    """Coefficients of the terms of a fit, and its correlation with the data.

    Where the fit or the data are all equal there is no correlation: NaN.
    """

    coefficients: tuple[float, ...]
    correlation: float


# --- Error EDFs -------------------------------------------------------------


def edf(errors: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Returns the fraction of networks with an error below each threshold.

    Args:
      errors: [n].
      thresholds: any shape.

    Returns:
      Fractions in [0, 1], of the shape of `thresholds`.

    Source:
      Paper, equation 1.

    Example:
    >>> edf([40, 50, 60, 60], [40, 45, 60, 61]).tolist()
    [0.0, 0.25, 0.5, 1.0]
    """
    errors = np.sort(checks.vector("errors", errors))
    thresholds = checks.thresholds(thresholds)
    return np.searchsorted(errors, thresholds, "left") / len(errors)


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
      limits: (min, max) complexity; networks outside are left out.
        Those of the data by default; name them to compare populations.
      bins: how many bins of equal width there are between the limits; those
        without networks are left out.

    Returns:
      Weighted fractions in [0, 1], [t].

    Raises:
      ValueError: if no network lies between the limits.

    Source:
      arXiv 1905.13214, section 4.2.

    Example:
    >>> normalized_edf([40, 60, 60], [1, 9, 10], [50], bins=2).tolist()
    [0.5]
    """
    complexities, errors = checks.pair("complexities", complexities, errors)
    checks.check_count("bins", bins)
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
    below = errors[inside][:, None] < checks.thresholds(thresholds)
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
      thresholds: any shape.
      rng: source of the resamples.
      repeats: how many.
      level: fraction of the resamples' EDFs between the two ends.

    Returns:
      Lower and upper ends, each of the shape of `thresholds`.

    Example:
    >>> rng = np.random.default_rng(0)
    >>> low, high = edf_band([40, 50, 60, 70], [55], rng)
    >>> low.tolist(), high.tolist()
    ([0.0], [1.0])
    """
    errors, (low, _, high) = (
        checks.vector("errors", errors),
        checks.tails(level),
    )
    checks.check_count("repeats", repeats)
    thresholds = checks.thresholds(thresholds)
    # Resampling moves whole errors between the steps of the EDF: it is the
    # number of samples in each step that is random, which is multinomial.
    steps = np.concatenate(
        [[0.0], np.sort(edf(errors, thresholds), None), [1.0]]
    )
    chances = np.maximum(np.diff(steps), 0)
    counts = rng.multinomial(len(errors), chances / chances.sum(), size=repeats)
    resampled = np.cumsum(counts[:, :-1], axis=1) / len(errors)
    ends = np.percentile(resampled, [low, high], axis=0)
    order = np.argsort(thresholds, None, "stable").argsort(kind="stable")
    low, high = (end[order].reshape(thresholds.shape) for end in ends)
    return low, high


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

    Samples a part of the networks with replacement, keeps the value of the one
    of lowest error, and repeats.

    Args:
      values: the parameter of each network, [n].
      errors: [n].
      rng: source of the resamples.
      fraction: part of n that is sampled each time.
      repeats: how often.
      level: fraction of the values kept between the two ends.

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
    values, errors = checks.pair("values", values, errors)
    checks.check_fraction("fraction", fraction)
    checks.check_count("repeats", repeats)
    samples = max(1, round(fraction * len(values)))
    # Ranks, so that the lowest index is the lowest error.
    by_error = values[np.argsort(errors, kind="stable")]
    kept = [
        by_error[rng.integers(len(values), size=(rows, samples)).min(axis=1)]
        for rows in checks.pieces(repeats, samples)
    ]
    ends = np.percentile(np.concatenate(kept), checks.tails(level))
    return Interval(*ends.tolist())


def best_of_n(
    errors: np.ndarray, sizes: Sequence[int], level: float = 0.95
) -> Curve:
    """Returns the best error of random searches of some sizes.

    The lowest error of m networks sampled with replacement has a distribution
    in closed form, so nothing is simulated.

    Args:
      errors: [n].
      sizes: numbers m of networks, [s].
      level: fraction of the searches between the two ends.

    Returns:
      Mean, lower end, median and upper end of the lowest error, [s] each.

    Source:
      Paper, figure 9 right.

    Example:
    >>> best_of_n([40, 60], [1, 2]).mean.tolist()
    [50.0, 45.0]
    """
    errors = np.sort(checks.vector("errors", errors))
    counts = checks.counts("sizes", sizes)
    n = len(errors)
    # Chance that the best of m has at most rank r, [s, n].
    rest = (n - 1 - np.arange(n)) / n
    reached = 1 - rest ** counts[:, None]
    chances = np.diff(reached, axis=1, prepend=0.0)
    quantiles = [
        errors[(reached < percent / 100 - 1e-12).sum(axis=1)]
        for percent in checks.tails(level)
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
      rng: source of the resamples.
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
        values, errors = checks.pair("values", values, errors)
        band = bootstrap_best(values, errors, rng, fraction, repeats)
        best = values[np.argmin(errors)]
        rows.append((values.min(), values.max(), *band, best))
    return Trend(*np.array(rows).T)


# --- Complexity -------------------------------------------------------------

_TERMS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
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
      ValueError: if a term is unknown or given twice, there are fewer values
        than terms, or flops are negative.

    Source:
      Paper, figure 12.

    Example:
    >>> flops = np.array([1.0, 4.0, 9.0])
    >>> fit = fit_complexity(flops, 6.5 * np.sqrt(flops), ("sqrt",))
    >>> round(fit.coefficients[0], 6), round(fit.correlation, 6)
    (6.5, 1.0)
    """
    flops, values = checks.pair("flops", flops, values)
    for term in terms:
        if term not in _TERMS:
            raise ValueError(
                f"`terms` must be of {', '.join(map(repr, _TERMS))}. "
                f"Received: terms={terms!r}"
            )
    if len(set(terms)) < len(terms):
        raise ValueError(
            f"`terms` must each be given once. Received: terms={terms!r}"
        )
    if (flops < 0).any():
        raise ValueError(
            f"`flops` must not be negative. Received: {flops.min():g}"
        )
    if not terms or len(flops) < len(terms):
        raise ValueError(
            "`terms` must be at least one, and no more than there are values. "
            f"Received: terms={terms!r} for {len(flops)} values"
        )
    columns = np.stack([_TERMS[term](flops) for term in terms], axis=1)
    coefficients, *_ = np.linalg.lstsq(columns, values, rcond=None)
    fitted = columns @ coefficients
    return Fit(tuple(coefficients.tolist()), _correlation(fitted, values))


def _correlation(first, second):
    if np.allclose(first, first[0]) or np.allclose(second, second[0]):
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
