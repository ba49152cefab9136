"""Which network of a sweep to use: the best few are trained again.

The network of the lowest error in a sweep is in part the one whose seed was
lucky. Trained again with fresh seeds, the best few show how good they are, and
which of them may as well be the best. The statistics are pure functions of
arrays.
"""

import collections
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_regnet.design_space import checks
from keras_regnet.design_space import records as records_lib
from keras_regnet.design_space.records import Record

# Points at which integrals over the mean of one network, and over the spread,
# are summed: they are exact to five digits.
_MEANS = 64
_SPREADS = 1000
_HALVINGS = 50


class Pick(NamedTuple):
    """Which of some networks is the best, from repeated training.

    Args:
      best: index of the network of the lowest mean error.
      order: indices of the networks by their mean errors, best first, [n].
      means: mean error of each network in percent, [n].
      low: lower end of the interval of each mean, [n].
      high: its upper end, [n].
      within_noise: whether each may as well be the best, [n]; true for `best`.
      spread: standard deviation of the errors of one network, in points.
      margin: by how many points a mean may be above the lowest, to be within
        noise.
    """

    best: int
    order: np.ndarray
    means: np.ndarray
    low: np.ndarray
    high: np.ndarray
    within_noise: np.ndarray
    spread: float
    margin: float


class Candidate(NamedTuple):
    """A network of a sweep that is among its best.

    Args:
      record: of one of its trials.
      error: its error in the sweep in percent, the mean over its seeds.
    """

    record: Record
    error: float


def best_networks(records: Sequence[Record], top: int) -> list[Candidate]:
    """Returns the networks of the lowest errors in a sweep.

    Trials of one network, in several spaces too, count together.

    Args:
      records: all attempts of the sweep, of one regime.
      top: how many networks.

    Returns:
      The networks, best first.

    Raises:
      ValueError: if fewer have been trained.

    Example:
    >>> from keras_regnet.design_space import imagenet_population, records
    >>> networks, errors = imagenet_population()
    >>> trained = records.from_networks(
    ...     networks, errors, space="RegNetX", regime="ImageNet, 25 epochs"
    ... )
    >>> [round(best.error, 1) for best in best_networks(trained, top=3)]
    [35.0, 35.1, 35.2]
    """
    checks.check_count("top", top)
    networks = collections.defaultdict(list)
    for record in records_lib.last_of_each_trial(records):
        if record.done:
            networks[record.config].append(record)
    if top > len(networks):
        raise ValueError(
            "`top` must be at most the number of different networks that were "
            f"trained, {len(networks)}. Received: top={top}"
        )
    candidates = [
        Candidate(trials[0], float(np.mean([trial.error for trial in trials])))
        for trials in networks.values()
    ]
    return sorted(candidates, key=lambda candidate: candidate.error)[:top]


def pick(errors: np.ndarray, level: float = 0.95) -> Pick:
    """Returns the best of some networks, and which others may as well be.

    Normal errors of one spread are assumed, which all repeats together show.

    Args:
      errors: error of each network in percent, each time it was trained,
        [networks, repeats]. They must not be those by which the networks were
        chosen.
      level: of the interval of each mean, by itself (Student's t); and with
        which the network that is truly the best is within noise, whichever
        it is (Gupta's rule).

    Returns:
      A `Pick`.

    Raises:
      ImportError: if SciPy is not installed.
      ValueError: if there are not two repeats of one network or more, all
        finite.

    Source:
      Gupta, "On some multiple decision (selection and ranking) rules",
      Technometrics 7 (1965), 225-245.

    Example:
    >>> picked = pick([[24.1, 25.3, 24.8], [24.9, 24.6, 25.5], [30, 31, 32]])
    >>> picked.best, picked.within_noise.tolist()
    (0, [True, True, False])
    """
    tables = np.asarray(errors)
    if tables.ndim != 2 or tables.shape[1] < 2:
        raise ValueError(
            "`errors` must be [networks, repeats] with two repeats or more. "
            f"Received: shape {tables.shape}"
        )
    checks.vector("errors", tables.ravel())
    networks, repeats = tables.shape
    means = tables.mean(axis=1)
    degrees = networks * (repeats - 1)
    spread = math.sqrt(tables.var(axis=1, ddof=1).mean())
    _, _, upper = checks.tails(level)
    student = checks.scipy_special("An interval").stdtrit(degrees, upper / 100)
    half = student * spread / math.sqrt(repeats)
    margin = spread * math.sqrt(2 / repeats)
    margin *= dunnett_quantile(networks - 1, degrees, level)
    order = np.argsort(means, kind="stable")
    return Pick(
        int(order[0]),
        order,
        means,
        means - half,
        means + half,
        means <= means[order[0]] + margin,
        spread,
        margin,
    )


def dunnett_quantile(others: int, degrees: int, level: float = 0.95) -> float:
    """Returns by how much a mean exceeds the lowest of others by chance.

    Args:
      others: how many other means there are, of as many repeats.
      degrees: degrees of freedom of the spread.
      level: chance that it does not exceed it by more, if all are equal.

    Returns:
      A number of standard errors of the difference of two means, 0 without
      others: one-sided, as in Dunnett's table of comparisons with a control.

    Raises:
      ImportError: if SciPy is not installed.

    Source:
      Dunnett, "A multiple comparison procedure for comparing several
      treatments with a control", JASA 50 (1955), 1096-1121, table 1a.

    Example:
    >>> round(dunnett_quantile(others=4, degrees=10), 2)
    2.47
    """
    special = checks.scipy_special("A margin")
    if not others:
        return 0.0
    # Of the mean itself: Gauss-Hermite. Of the spread: equally likely values.
    points, weights = np.polynomial.hermite_e.hermegauss(_MEANS)
    weights = weights / weights.sum()
    tails = (np.arange(_SPREADS) + 0.5) / _SPREADS
    spreads = np.sqrt(special.chdtri(degrees, tails) / degrees)

    def chance(limit):
        shifted = points[:, None] + math.sqrt(2) * limit * spreads
        return weights @ (special.ndtr(shifted) ** others).mean(axis=1)

    low, high = 0.0, 1.0
    while chance(high) < level:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if chance(middle) < level else (low, middle)
    return high
