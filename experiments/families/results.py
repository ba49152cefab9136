"""Writes RESULTS.md from the records, as README.md fixed it beforehand.

python experiments/families/results.py
"""

import dataclasses
import pathlib
import sys
from collections.abc import Sequence

if __name__ == "__main__":
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[2])

import numpy as np
from scipy import stats

from benchmarks import markdown
from experiments import verdicts
from experiments.families import networks
from experiments.families import times
from keras_regnet import atomic
from keras_regnet.design_space import records

FOLDER = pathlib.Path(__file__).parent
SEEDS = 5
# Family that has the lower error, the other one, and the paper's errors.
_CLAIMS = (
    ("RegNetX", "ResNet", "21.4, 23.2"),
    ("RegNetX", "ResNeXt", "21.4, 21.9"),
    ("RegNetY", "RegNetX", "25.9, 27.3"),
    ("EfficientNet-like", "RegNetX", "24.9, 27.3"),
    ("EfficientNet-like", "RegNetY", "24.9, 25.9"),
    ("RegNetY", "MobileNetV2-like", "24.5, 25.3"),
    ("RegNetX", "RegNet, depthwise", "32.6, 35.5"),
)
# What is known of a network: (budget, family).
_Key = tuple[int, str]


def errors(found: Sequence[records.Record]) -> dict[_Key, np.ndarray]:
    """Returns the errors of every network's seeds, in percent."""
    names = {config.to_json(): key for key, config in networks.every().items()}
    last = records.last_of_each_trial(found)
    return {
        key: np.array([r.error for r in last if r.config == text and r.done])
        for text, key in names.items()
    }


@dataclasses.dataclass(frozen=True)
class _Difference:
    """Of the mean errors of two networks; below 0 as the paper has it."""

    mean: float
    low: float
    high: float
    p_value: float

    def finding(self) -> verdicts.Finding:
        """Returns it as what a verdict is made of."""
        agrees = self.p_value if self.mean < 0 else 1.0
        differs = self.p_value if self.mean > 0 else 1.0
        return verdicts.Finding("", "", agrees, differs)


def compare(better: np.ndarray, other: np.ndarray) -> _Difference:
    """Returns Welch's comparison of the means."""
    test = stats.ttest_ind(better, other, equal_var=False)
    low, high = test.confidence_interval(0.95)
    mean = better.mean() - other.mean()
    return _Difference(float(mean), float(low), float(high), float(test.pvalue))


def _interval(values):
    """Returns the mean of seeds with its interval of 95 %."""
    if len(values) < 2:
        return " ".join(f"{value:.2f}" for value in values)
    spread = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{values.mean():.2f} ± {spread:.2f}"


def _networks_table(found, budget):
    rows = []
    for family in networks.FAMILIES:
        cost = networks.cost(networks.every()[budget, family.name])
        values = found[budget, family.name]
        rows.append(
            [
                family.name,
                _interval(values),
                str(len(values)),
                f"{cost.flops / 1e6:.2f} M",
                f"{cost.params / 1e6:.2f} M",
                f"{cost.activations / 1e3:.0f} k",
                *times.of(budget, family.name),
            ]
        )
    header = ("family", "test error, %", "seeds", "multiply-adds", "params")
    return markdown.table((*header, "activations", *times.HEADER), rows)


def _judged(found):
    """Returns the difference of each claim that has its seeds, by number."""
    differences = {}
    for budget in networks.BUDGETS:
        for number, (better, other, _) in enumerate(_CLAIMS, start=1):
            both = found[budget, better], found[budget, other]
            if min(map(len, both)) >= SEEDS:
                differences[budget, number] = compare(*both)
    return differences


def _claims_table(differences):
    findings = {key: d.finding() for key, d in differences.items()}
    family = len(networks.BUDGETS) * len(_CLAIMS)
    decided = verdicts.holm(findings, family)
    rows = []
    for number, (better, other, paper) in enumerate(_CLAIMS, start=1):
        for budget in networks.BUDGETS:
            row = [str(number), f"{better} < {other}", paper, f"{budget} M"]
            key = budget, number
            if key in differences:
                d = differences[key]
                row += [
                    f"{d.mean:+.2f} ({d.low:+.2f} to {d.high:+.2f})",
                    f"{d.p_value:.2g}",
                    decided[key],
                ]
            else:
                row += ["", "", "too few seeds yet"]
            rows.append(row)
    header = ("no.", "claim", "paper", "at", "difference", "p", "verdict")
    return markdown.table(header, rows)


def text(found: Sequence[records.Record]) -> str:
    """Returns RESULTS.md."""
    known = errors(found)
    tables = "\n".join(
        f"## About {budget} million multiply-adds\n\n"
        f"{_networks_table(known, budget)}"
        for budget in networks.BUDGETS
    )
    failed = sum(not r.done for r in records.last_of_each_trial(found))
    return (
        "# Families of networks, trained equally: results\n\n"
        "Written by `results.py` from `records.jsonl.gz`; what is compared, "
        "and how, is in\n[README.md](README.md). Errors are means over the "
        "seeds with their 95 % interval (t).\n"
        f"Failed trainings: {failed}. {times.NOTE}\n\n{tables}\n"
        "## Claims\n\nDifferences are in points, below 0 as the paper has "
        f"it.\n\n{_claims_table(_judged(known))}"
    )


if __name__ == "__main__":
    _found = records.read(FOLDER / "records.jsonl.gz")
    with atomic.replacing(FOLDER / "RESULTS.md") as _partial:
        _partial.write_text(text(_found), encoding="utf-8")
