"""Statistics of a population's records, as plain numbers and as sentences.

From records to arrays to `statistics`; failed and missing trials are counted
beside every figure.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_regnet.config import RegNetConfig
from keras_regnet.design_space import comparisons
from keras_regnet.design_space import records as records_lib
from keras_regnet.design_space import statistics
from keras_regnet.design_space.records import Record

# Seed of the bootstraps: the same records give the same numbers.
_SEED = 0
# The bootstrap's interval is too narrow for fewer networks than these.
MIN_COMPARED = 8
PARAMETERS = ("depth", "flops", "params", "activations")
# Further parameters where all networks are RegNets.
_REGNET_PARAMETERS = ("w_0", "w_a", "w_m", "group_width")

# Numbers that a bootstrap may sample: large populations need fewer repeats.
_MAX_SAMPLES = 2_500_000
_REPEATS = (1_000, 10_000)


def repeats(networks: int) -> int:
    """Returns how often a bootstrap of some networks is repeated.

    Example:
    >>> repeats(64), repeats(2000), repeats(10_000)
    (10000, 1250, 1000)
    """
    low, high = _REPEATS
    return max(low, min(high, _MAX_SAMPLES // max(1, networks)))


@dataclasses.dataclass(frozen=True)
class Population:
    """The trials of one space.

    Args:
      space: its name.
      done: records of the trials that finished.
      failed: last records of those that did not.
      missing: how many have no record yet.
    """

    space: str
    done: tuple[Record, ...]
    failed: tuple[Record, ...]
    missing: int = 0

    @property
    def errors(self) -> np.ndarray:
        """Test errors in percent, [n]."""
        return np.array([record.error for record in self.done], float)

    def values(self, parameter: str) -> np.ndarray:
        """Returns one of `parameters` or of the records' fields, [n]."""
        owners: Sequence[Any] = self.done
        if parameter in _REGNET_PARAMETERS:
            owners = [record.network for record in self.done]
        return np.array([getattr(owner, parameter) for owner in owners], float)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters of the networks that may have a best value."""
        networks = [record.network for record in (*self.done, *self.failed)]
        if networks and all(
            isinstance(network, RegNetConfig) and network.group_width
            for network in networks
        ):
            return PARAMETERS + _REGNET_PARAMETERS
        return PARAMETERS

    def counts(self) -> str:
        """Returns how many trials there are, as text that names failures."""
        text = f"n = {len(self.done)}"
        if self.failed:
            text += f", {len(self.failed)} FAILED"
        if self.missing:
            text += f", {self.missing} not run"
        return text

    def __str__(self) -> str:
        text = f"{self.space}: {self.counts()}"
        if self.done:
            low, mean = self.errors.min(), self.errors.mean()
            text += f"; min {low:.2f}, mean {mean:.2f} % error"
        return text


def populations(
    records: Sequence[Record], missing: Mapping[str, int] | None = None
) -> list[Population]:
    """Returns the populations of a sweep, one per space, in their order."""
    if not records:
        raise ValueError(
            "`records` must hold at least one trial: the sweep is empty, "
            "train it first. Received: no records"
        )
    regimes = sorted({record.regime for record in records})
    if len(regimes) > 1:
        raise ValueError(
            "`records` must be of one regime: errors of several cannot be "
            f"compared. Received: {', '.join(regimes)}"
        )
    missing = dict(missing or {})
    last = records_lib.last_of_each_trial(records)
    found = [
        Population(
            space,
            tuple(record for record in group if record.done),
            tuple(record for record in group if not record.done),
            missing.pop(space, 0),
        )
        for space, group in records_lib.by_space(last).items()
    ]
    return found + [Population(s, (), (), n) for s, n in missing.items()]


def summarize(
    records: Sequence[Record], missing: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Returns the statistics of a sweep.

    Args:
      records: all attempts.
      missing: how many trials of each space have no record yet.

    Returns:
      What JSON can hold: "regime"; "spaces", a list of statistics; and
      "comparisons", one for each pair of spaces with `MIN_COMPARED` networks.

    Raises:
      ValueError: as in `populations`.
    """
    found = populations(records, missing)
    enough = [p for p in found if len(p.done) >= MIN_COMPARED]
    pairs = itertools.combinations(enough, 2)
    return {
        "regime": records[0].regime,
        "spaces": [_statistics(population) for population in found],
        "comparisons": [_comparison(*pair) for pair in pairs],
    }


def _statistics(population):
    result = {
        "space": population.space,
        "n": len(population.done),
        "failed": len(population.failed),
        "missing": population.missing,
    }
    errors = population.errors
    if not len(errors):
        return result
    rng = np.random.default_rng(_SEED)
    best = {
        parameter: statistics.bootstrap_best(
            population.values(parameter),
            errors,
            rng,
            repeats=repeats(len(errors)),
        )._asdict()
        for parameter in population.parameters
    }
    return {
        **result,
        "min": float(errors.min()),
        "mean": float(errors.mean()),
        "median": float(np.median(errors)),
        "best_value": best,
        "seconds": float(population.values("seconds").mean()),
    }


def _comparison(first, second):
    rng = np.random.default_rng(_SEED)
    compared = comparisons.compare(
        first.errors,
        second.errors,
        rng,
        repeats=repeats(max(len(first.done), len(second.done))),
    )
    return {
        "first": first.space,
        "second": second.space,
        **compared._asdict(),
        "sizes": list(compared.sizes),
        "failed": [len(first.failed), len(second.failed)],
    }


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """Returns one line for each space, then one for each pair of spaces."""
    lines = []
    for space in summary["spaces"]:
        text = f"{space['space']}: n = {space['n']}"
        if "mean" in space:
            text += f", min {space['min']:.2f}, mean {space['mean']:.2f} %"
        text += f"; {space['failed']} failed, {space['missing']} not run."
        lines.append(text)
    return lines + [_sentence(pair) for pair in summary["comparisons"]]


def lead(summary: Mapping[str, Any]) -> str:
    """Returns in a sentence which space is best, and how certain that is."""
    trained = [space for space in summary["spaces"] if "mean" in space]
    if not trained:
        return "No network has been trained yet."
    best = min(trained, key=lambda space: space["mean"])
    text = (
        f"{best['space']} has the lowest mean error, {best['mean']:.1f} % of "
        f"{best['n']} networks"
    )
    if len(trained) == 1:
        return f"{text}; the best has {best['min']:.1f} %."
    beaten = sum(
        pair["high"] < 0
        if pair["first"] == best["space"]
        else pair["second"] == best["space"] and pair["low"] > 0
        for pair in summary["comparisons"]
    )
    return (
        f"{text}; it is certainly better than {beaten} of the "
        f"{len(trained) - 1} other spaces."
    )


def _chance(p_value):
    """Returns a p-value for a sentence; it is never 0."""
    return f"p = {p_value:.2g}" if p_value else "p < 1e-300"


def _sentence(pair):
    low, high = pair["low"], pair["high"]
    verdict = "which of the two is better is not certain"
    if high < 0:
        verdict = f"{pair['first']} is better"
    elif low > 0:
        verdict = f"{pair['second']} is better"
    return (
        f"{pair['first']} minus {pair['second']}: mean error "
        f"{pair['difference']:+.2f} points, 95 % interval {low:+.2f} to "
        f"{high:+.2f}; Kolmogorov-Smirnov {pair['ks']:.2f} "
        f"({_chance(pair['p_value'])}); n = {pair['sizes'][0]} and "
        f"{pair['sizes'][1]}, {pair['failed'][0]} and {pair['failed'][1]} "
        f"failed: {verdict}."
    )
