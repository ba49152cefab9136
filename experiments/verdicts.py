"""Claims about populations and how they are judged: what experiments share.

An experiment says which spaces it compares and what is claimed of them; here
are the statistics, the verdicts and the table. What a rule means stands in the
experiment's README.md, which was written before its first training.
"""

import dataclasses
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from keras_regnet import design_space
from keras_regnet.design_space import comparisons
from keras_regnet.design_space import records
from keras_regnet.design_space import summary
from keras_regnet.design_space.summary import Population

REPRODUCED = "reproduced"
CONTRADICTED = "contradicted"
UNDECIDED = "not reproduced (undecided)"
# A verdict may be wrong with this chance.
LEVEL = 0.05
_REPEATS = 10_000
_SEED = 0


@dataclasses.dataclass(frozen=True)
class Finding:
    """What populations say of a claim.

    Args:
      ours: our numbers, as text.
      interval: a difference or value with its 95 % interval, as text.
      agrees: the smallest level at which the two-sided interval lies wholly
        on the paper's side; a p-value.
      differs: the smallest at which it lies wholly on the other side.
    """

    ours: str
    interval: str
    agrees: float
    differs: float

    @property
    def p_value(self) -> float:
        """The smallest level at which there is a verdict."""
        return min(self.agrees, self.differs)

    def verdict(self, level: float = LEVEL) -> str:
        """Returns what is known at a level."""
        if self.agrees <= level:
            return REPRODUCED
        return CONTRADICTED if self.differs <= level else UNDECIDED


@dataclasses.dataclass(frozen=True)
class Claim:
    """One row of the table.

    Args:
      number: in README.md.
      text: the claim.
      paper: the paper's numbers.
      spaces: keys of the experiment's spaces that it is about.
      evaluate: populations -> what they say.
      margin: of a claim of equality, in points.
      is_tested: whether it has a p-value: whether an experiment that corrects
        for the number of claims counts it.
    """

    number: int
    text: str
    paper: str
    spaces: tuple[str, ...]
    evaluate: Callable[..., Finding]
    margin: float | None = None
    is_tested: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """Spaces, claims about them, and the rules of the verdicts.

    Args:
      spaces: names of the spaces in the records, by short keys.
      planned: how many networks of each are trained, by the same keys.
      claims: in the order of the table.
      final_from: how many networks of each of its spaces a claim needs for a
        verdict that is not interim.
      corrected: whether verdicts hold for all claims together, by Holm.
      timed: whether the records' times say something.
    """

    spaces: Mapping[str, str]
    planned: Mapping[str, int]
    claims: tuple[Claim, ...]
    final_from: int = 0
    corrected: bool = False
    timed: bool = True


# --- Statistics -------------------------------------------------------------


def better(first: Population, second: Population) -> Finding:
    """Evaluates that the first space has the lower mean error."""
    return _differ(first.errors, second.errors, -1)


def worse(first: Population, second: Population) -> Finding:
    """Evaluates that the first space has the higher mean error."""
    return _differ(first.errors, second.errors, 1)


def part_better(chosen: Callable) -> Callable[[Population], Finding]:
    """Returns the evaluation of networks against the others of their space.

    Args:
      chosen: configuration -> whether it is one of those that are better.
    """

    def evaluate(population: Population) -> Finding:
        first = np.array([chosen(r.network) for r in population.done], bool)
        errors = population.errors
        if min(first.sum(), (~first).sum()) < 2:
            return Finding("-", "-", 1.0, 1.0)
        return _differ(errors[first], errors[~first], -1)

    return evaluate


def equal(margin: float) -> Callable[[Population, Population], Finding]:
    """Returns the evaluation of mean errors that differ by less than points."""

    def evaluate(first: Population, second: Population) -> Finding:
        differences = _differences(first.errors, second.errors)
        above = np.mean(differences > margin)
        below = np.mean(differences < -margin)
        return Finding(
            *_means(first.errors, second.errors),
            agrees=2 * float(max(above, below)),
            differs=2 * float(1 - max(above, below)),
        )

    return evaluate


def finds_better(
    search_size: int,
) -> Callable[[Population, Population], Finding]:
    """Returns the evaluation of the mean best of random searches of a size."""

    def evaluate(first: Population, second: Population) -> Finding:
        rng = np.random.default_rng(_SEED)
        ours, resampled = [], []
        for population in (first, second):
            errors = population.errors
            samples = rng.integers(len(errors), size=(_REPEATS, len(errors)))
            ours.append(float(_mean_best(errors, search_size)))
            resampled.append(_mean_best(errors[samples], search_size))
        differences = resampled[0] - resampled[1]
        low, high = np.percentile(differences, [2.5, 97.5])
        return Finding(
            f"{ours[0]:.2f}, {ours[1]:.2f}",
            _interval(ours[0] - ours[1], low, high),
            **_sides(-differences),
        )

    return evaluate


def _mean_best(errors, search_size):
    """Returns the mean of `best_of_n` for each row of errors, [..., n]."""
    n = errors.shape[-1]
    above = ((n - np.arange(n + 1)) / n) ** search_size
    return np.sort(errors, axis=-1) @ (above[:-1] - above[1:])


def best_value(
    read: Callable, allowed: Callable
) -> Callable[[Population], Finding]:
    """Returns the evaluation of a parameter's best value.

    It is judged by the whole of the paper's interval, and has no p-value.

    Args:
      read: configuration -> value.
      allowed: value -> whether the claim allows it.
    """

    def evaluate(population: Population) -> Finding:
        values = [read(record.network) for record in population.done]
        rng = np.random.default_rng(_SEED)
        low, median, high = design_space.bootstrap_best(
            values, population.errors, rng, repeats=_REPEATS
        )
        inside = [allowed(low), allowed(high)]
        return Finding(
            f"{median:g}",
            f"[{low:g}, {high:g}]",
            agrees=0.0 if all(inside) else 1.0,
            differs=1.0 if any(inside) else 0.0,
        )

    return evaluate


def _differ(errors, other_errors, sign):
    """Evaluates a difference of means; `sign` is the paper's."""
    differences = sign * _differences(errors, other_errors)
    return Finding(*_means(errors, other_errors), **_sides(differences))


def _sides(differences):
    """Returns the p-values of differences that the paper has above 0."""
    return {
        "agrees": 2 * float(np.mean(differences <= 0)),
        "differs": 2 * float(np.mean(differences >= 0)),
    }


def _differences(errors, other_errors):
    """Returns the differences whose percentiles are those of `compare`."""
    rng = np.random.default_rng(_SEED)
    return comparisons.resampled_differences(
        errors, other_errors, rng, _REPEATS
    )


def _compare(errors, other_errors):
    rng = np.random.default_rng(_SEED)
    return design_space.compare(errors, other_errors, rng, _REPEATS)


def _means(errors, other_errors):
    compared = _compare(errors, other_errors)
    return (
        f"{np.mean(errors):.2f}, {np.mean(other_errors):.2f} "
        f"(KS {compared.ks:.2f}, p {compared.p_value:.2g})",
        _interval(compared.difference, compared.low, compared.high),
    )


def _interval(difference, low, high):
    return f"{difference:+.2f} [{low:+.2f}, {high:+.2f}]"


# --- Verdicts ---------------------------------------------------------------


# Finding and verdict of each claim that has enough networks, by its number.
Judged = Mapping[int, tuple[Finding, str]]


def judge(experiment: Experiment, found: Sequence[records.Record]) -> Judged:
    """Returns finding and verdict of each claim that has enough networks.

    Args:
      experiment: the claims and the rules.
      found: all records of the experiment.
    """
    findings = {
        claim.number: claim.evaluate(*_populations(experiment, claim, found))
        for claim in experiment.claims
        if _have(summary.MIN_COMPARED, experiment, claim, found)
    }
    verdicts = {number: f.verdict() for number, f in findings.items()}
    if experiment.corrected:
        tested = [c.number for c in experiment.claims if c.is_tested]
        judged = {n: findings[n] for n in tested if n in findings}
        verdicts.update(holm(judged, len(tested)))
    return {n: (findings[n], verdicts[n]) for n in findings}


def holm(findings: Mapping[int, Finding], family: int) -> dict[int, str]:
    """Returns verdicts of which with 95 % not one is wrong.

    Args:
      findings: by the claims' numbers.
      family: how many claims there are, those that are not judged yet too.

    Source:
      Holm, Scandinavian Journal of Statistics 6 (1979), 65-70.
    """
    verdicts, decided = {}, True
    in_order = sorted(findings, key=lambda n: findings[n].p_value)
    for rank, number in enumerate(in_order):
        verdict = findings[number].verdict(LEVEL / (family - rank))
        decided = decided and verdict != UNDECIDED
        verdicts[number] = verdict if decided else UNDECIDED
    return verdicts


def _populations(experiment, claim, found):
    by_name = {p.space: p for p in summary.populations(found)}
    return [by_name.get(experiment.spaces[key]) for key in claim.spaces]


def _have(networks, experiment, claim, found):
    """Whether each space of a claim has so many networks."""
    return all(
        population is not None and len(population.done) >= networks
        for population in _populations(experiment, claim, found)
    )


# --- Text -------------------------------------------------------------------


def table(
    experiment: Experiment, found: Sequence[records.Record], judged: Judged
) -> str:
    """Returns the table of claims in Markdown.

    Args:
      experiment: the claims and the rules.
      found: all records of the experiment.
      judged: by `judge`.
    """
    names = ["no.", "claim", "paper", "ours", "difference or value [95 %]"]
    names += ["n", "failed", *["p"] * experiment.corrected, "verdict"]
    lines = [_row(names), _row(["---"] * len(names))]
    for claim in experiment.claims:
        cells = [str(claim.number), claim.text, claim.paper]
        if claim.number not in judged:
            blank = ["-"] * (len(names) - len(cells) - 1)
            lines.append(_row([*cells, *blank, "too few trials"]))
            continue
        finding, verdict = judged[claim.number]
        chosen = _populations(experiment, claim, found)
        cells += [finding.ours, finding.interval]
        cells.append(", ".join(str(len(p.done)) for p in chosen))
        cells.append(", ".join(str(len(p.failed)) for p in chosen))
        if experiment.corrected:
            cells.append(_p_value(finding) if claim.is_tested else "-")
        if not _have(experiment.final_from, experiment, claim, found):
            verdict = f"interim: {verdict}"
        lines.append(_row([*cells, verdict]))
    return "\n".join(lines)


def _row(cells):
    return f"| {' | '.join(cells)} |"


def _p_value(finding):
    """Returns a p-value as text; resamples cannot say that it is 0."""
    smallest = 2 / _REPEATS
    if finding.p_value < smallest:
        return f"< {smallest:g}"
    return f"{finding.p_value:.2g}"


def _margin_notes(experiment, found, judged):
    """Returns sentences on the equalities that only the margin leaves open."""
    notes = ""
    for claim in experiment.claims:
        if claim.margin is None or claim.number not in judged:
            continue
        chosen = _populations(experiment, claim, found)
        compared = _compare(*(population.errors for population in chosen))
        undecided = judged[claim.number][1] == UNDECIDED
        if undecided and not compared.low <= 0 <= compared.high:
            notes += (
                f"Claim {claim.number} is undecided only by the margin of "
                f"{claim.margin:g} points that was fixed beforehand: its "
                f"interval excludes zero, so {chosen[0].space} and "
                f"{chosen[1].space} do differ here, but by more or by less "
                "than the margin.\n\n"
            )
    return notes


def _correction_notes(experiment, found, judged):
    """Returns sentences on what is decided, and what one claim alone was."""
    if not experiment.corrected:
        return ""
    decided = sum(
        judged[claim.number][1] != UNDECIDED
        for claim in experiment.claims
        if claim.number in judged
        and _have(experiment.final_from, experiment, claim, found)
    )
    alone = [
        str(number)
        for number, (finding, verdict) in judged.items()
        if verdict == UNDECIDED != finding.verdict()
    ]
    notes = f"{decided} of {len(experiment.claims)} claims are decided.\n\n"
    if alone:
        notes += (
            "Undecided only by the correction for the number of claims, "
            "though decided by an own interval of 95 %: "
            f"{', '.join(alone)}.\n\n"
        )
    return notes


def _interim(experiment, found):
    """Returns a sentence on an experiment that is not finished."""
    done = len(records.last_of_each_trial(found))
    planned = sum(experiment.planned.values())
    if done >= planned:
        return ""
    counts = sorted(set(experiment.planned.values()))
    return (
        f"**Interim: {done} of {planned} trials.** Percentile intervals of so "
        "few networks are too narrow; verdicts count when every space has "
        f"{' or '.join(map(str, counts))}, and may change until then. Claims "
        f"about spaces with fewer than {summary.MIN_COMPARED} networks are "
        "not judged.\n\n"
    )


def _attempts(experiment, found):
    text = f"{len(found)} attempts"
    if experiment.timed:
        seconds = sum(record.seconds for record in found)
        text += f", {seconds / 3600:.2f} hours of one process in all"
    versions = sorted({r.versions for r in found if r.versions})
    devices = sorted({r.device for r in found if r.device})
    return f"{text}. {'; '.join(versions)}; device: {', '.join(devices)}."


def results(
    experiment: Experiment,
    found: Sequence[records.Record],
    pictures: str = "",
) -> str:
    """Returns the whole of RESULTS.md.

    Args:
      experiment: the claims and the rules.
      found: all records of the experiment.
      pictures: Markdown that shows them, if there are any.
    """
    spaces = "\n".join(f"- {p}" for p in summary.populations(found))
    judged = judge(experiment, found)
    return (
        "# Results\n\nWritten by `claims.py` from `records.jsonl.gz`; what "
        "the rows mean and how they are judged is in `README.md`, fixed "
        "before the first training.\n\n"
        f"{_interim(experiment, found)}"
        f"{table(experiment, found, judged)}\n\n"
        "n and failed: of the spaces in the order of the claim.\n\n"
        f"{_correction_notes(experiment, found, judged)}"
        f"{_margin_notes(experiment, found, judged)}{pictures}"
        f"## Populations\n\n{spaces}\n\n"
        f"{_attempts(experiment, found)}\n"
    )
