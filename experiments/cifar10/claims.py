"""Evaluates the claims of README.md from records, as fixed there beforehand.

python experiments/cifar10/claims.py RECORDS [RESULTS.md]
"""

import dataclasses
import pathlib
import sys
from collections.abc import Callable

if __name__ == "__main__":
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[2])

import numpy as np

from keras_regnet import design_space
from keras_regnet.design_space import records
from keras_regnet.design_space import summary
from keras_regnet.design_space.summary import Population

SPACES = {
    "A": "AnyNetX_A",
    "C": "AnyNetX_C",
    "D": "AnyNetX_D",
    "E": "AnyNetX_E",
    "X": "RegNetX",
    "Y": "RegNetY",
    "w_m = 2": "RegNetX w_m=2",
    "falling": "AnyNetX_C widths=falling",
}
_REPRODUCED = "reproduced"
_CONTRADICTED = "contradicted"
_UNDECIDED = "not reproduced (undecided)"
_EQUAL_WITHIN = 2.0
_SEARCH_SIZE = 32
# Networks of each space, as README.md fixed it.
_PLANNED = 64
_REPEATS = 10_000
_SEED = 0


@dataclasses.dataclass(frozen=True)
class Claim:
    """One row of the table.

    Args:
      number: in README.md.
      text: the claim.
      paper: the paper's numbers.
      spaces: keys of `SPACES` that it is about.
      evaluate: populations -> our numbers, interval, verdict.
    """

    number: int
    text: str
    paper: str
    spaces: tuple[str, ...]
    evaluate: Callable[..., tuple[str, str, str]]


def _differs(first: Population, second: Population, sign: int):
    """Evaluates a difference of means; `sign` is the paper's."""
    compared = _compare(first, second)
    low, high = sorted((sign * compared.low, sign * compared.high))
    verdict = _UNDECIDED
    if low > 0:
        verdict = _REPRODUCED
    elif high < 0:
        verdict = _CONTRADICTED
    return (*_means(first, second, compared), verdict)


def _better(first: Population, second: Population):
    return _differs(first, second, -1)


def _worse(first: Population, second: Population):
    return _differs(first, second, 1)


def _equal(first: Population, second: Population):
    compared = _compare(first, second)
    verdict = _UNDECIDED
    if max(abs(compared.low), abs(compared.high)) <= _EQUAL_WITHIN:
        verdict = _REPRODUCED
    elif compared.low > _EQUAL_WITHIN or compared.high < -_EQUAL_WITHIN:
        verdict = _CONTRADICTED
    return (*_means(first, second, compared), verdict)


def _compare(first, second):
    rng = np.random.default_rng(_SEED)
    return design_space.compare(first.errors, second.errors, rng)


def _means(first, second, compared):
    return (
        f"{first.errors.mean():.2f}, {second.errors.mean():.2f} "
        f"(KS {compared.ks:.2f}, p {compared.p_value:.2g})",
        f"{compared.difference:+.2f} [{compared.low:+.2f}, "
        f"{compared.high:+.2f}]",
    )


def _finds_better(first: Population, second: Population):
    """Evaluates the mean best of random searches."""
    rng = np.random.default_rng(_SEED)
    ours, resampled = [], []
    for population in (first, second):
        errors = population.errors
        ours.append(_best(errors))
        samples = rng.integers(len(errors), size=(_REPEATS, len(errors)))
        resampled.append(
            np.array([_best(errors[sample]) for sample in samples])
        )
    low, high = np.percentile(resampled[0] - resampled[1], [2.5, 97.5])
    verdict = _UNDECIDED
    if high < 0:
        verdict = _REPRODUCED
    elif low > 0:
        verdict = _CONTRADICTED
    return (
        f"{ours[0]:.2f}, {ours[1]:.2f}",
        f"{ours[0] - ours[1]:+.2f} [{low:+.2f}, {high:+.2f}]",
        verdict,
    )


def _best(errors):
    return float(design_space.best_of_n(errors, [_SEARCH_SIZE]).mean[0])


def _best_value(read: Callable, allowed: Callable):
    """Returns the evaluation of the best value of a parameter."""

    def evaluate(population: Population):
        values = [read(record.network) for record in population.done]
        rng = np.random.default_rng(_SEED)
        low, median, high = design_space.bootstrap_best(
            values, population.errors, rng, repeats=_REPEATS
        )
        inside = [allowed(low), allowed(high)]
        verdict = _UNDECIDED
        if all(inside):
            verdict = _REPRODUCED
        elif not any(inside):
            verdict = _CONTRADICTED
        return f"{median:g}", f"[{low:g}, {high:g}]", verdict

    return evaluate


CLAIMS = (
    Claim(1, "A = C (within 2 points)", "49.0, 49.4", ("A", "C"), _equal),
    Claim(2, "D < C", "43.2, 49.4", ("D", "C"), _better),
    Claim(3, "E < D", "42.7, 43.2", ("E", "D"), _better),
    Claim(4, "falling > D", "63.2, 43.2", ("falling", "D"), _worse),
    Claim(5, "falling > C", "63.2, 49.4", ("falling", "C"), _worse),
    Claim(6, "RegNetX < E", "41.0, 42.7", ("X", "E"), _better),
    Claim(7, "RegNetX < A", "41.0, 49.0", ("X", "A"), _better),
    Claim(8, "w_m = 2 < free", "40.7, 41.0", ("w_m = 2", "X"), _better),
    Claim(9, "RegNetY < RegNetX", "31.3, 32.6", ("Y", "X"), _better),
    Claim(
        10,
        "best of 32: RegNetX < A",
        "about 38.6, 40.6",
        ("X", "A"),
        _finds_better,
    ),
    Claim(
        11,
        "best b <= 2 in C",
        "b in 1..2",
        ("C",),
        _best_value(lambda n: n.bottleneck_ratios[0], lambda b: b <= 2),
    ),
    Claim(
        12,
        "best g > 1 in C",
        "g > 1",
        ("C",),
        _best_value(lambda n: max(n.group_widths), lambda g: g > 1),
    ),
)


def table(found: list[records.Record]) -> str:
    """Returns the table of claims in Markdown.

    Args:
      found: all records of the experiment.
    """
    populations = {p.space: p for p in summary.populations(found)}
    lines = [
        "| no. | claim | paper | ours | difference or value [95 %] | n "
        "| failed | verdict |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for claim in CLAIMS:
        chosen = [populations.get(SPACES[key]) for key in claim.spaces]
        row = [str(claim.number), claim.text, claim.paper]
        if any(_too_few(p) for p in chosen):
            lines.append(
                f"| {' | '.join([*row, *['-'] * 4])} | too few trials |"
            )
            continue
        ours, interval, verdict = claim.evaluate(*chosen)
        sizes = ", ".join(str(len(p.done)) for p in chosen)
        failed = ", ".join(str(len(p.failed)) for p in chosen)
        row += [ours, interval, sizes, failed, verdict]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def _margin_notes(found):
    """Returns sentences on the equalities that only the margin leaves open."""
    populations = {p.space: p for p in summary.populations(found)}
    notes = ""
    for claim in CLAIMS:
        chosen = [populations.get(SPACES[key]) for key in claim.spaces]
        if claim.evaluate is not _equal or any(map(_too_few, chosen)):
            continue
        compared = _compare(*chosen)
        undecided = claim.evaluate(*chosen)[-1] == _UNDECIDED
        if undecided and not compared.low <= 0 <= compared.high:
            notes += (
                f"Claim {claim.number} is undecided only by the margin of "
                f"{_EQUAL_WITHIN:g} points that was fixed beforehand: its "
                f"interval excludes zero, so {chosen[0].space} and "
                f"{chosen[1].space} do differ here, but by more or by less "
                "than the margin.\n\n"
            )
    return notes


def _too_few(population):
    return population is None or len(population.done) < summary.MIN_COMPARED


def _interim(found):
    """Returns a sentence on an experiment that is not finished."""
    done = len(records.last_of_each_trial(found))
    planned = len(SPACES) * _PLANNED
    if done >= planned:
        return ""
    return (
        f"**Interim: {done} of {planned} trials.** Percentile intervals of so "
        "few networks are too narrow; verdicts count when every space has "
        f"{_PLANNED}, and may change until then. Claims about spaces with "
        f"fewer than {summary.MIN_COMPARED} networks are not judged.\n\n"
    )


def results(found: list[records.Record]) -> str:
    """Returns the whole of RESULTS.md.

    Args:
      found: all records of the experiment.
    """
    spaces = "\n".join(f"- {p}" for p in summary.populations(found))
    seconds = sum(record.seconds for record in found)
    versions = sorted({r.versions for r in found if r.versions})
    return (
        "# Results\n\nWritten by `claims.py` from `records.jsonl.gz`; what "
        "the rows mean and how they are judged is in `README.md`, fixed "
        "before the first training.\n\n"
        f"{_interim(found)}{table(found)}\n\n"
        "n and failed: of the spaces in the order of the claim.\n\n"
        f"{_margin_notes(found)}"
        f"## Populations\n\n{spaces}\n\n"
        f"{len(found)} attempts, {seconds / 3600:.2f} hours of one process "
        f"in all. {'; '.join(versions)}; device: "
        f"{', '.join(sorted({r.device for r in found if r.device}))}.\n"
    )


if __name__ == "__main__":
    _text = results(records.read(sys.argv[1]))
    if len(sys.argv) > 2:
        pathlib.Path(sys.argv[2]).write_text(_text)
    print(_text)
