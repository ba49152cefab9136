"""The table of docs/side_by_side.md of speeds: families, as measured here."""

from typing import Any

from benchmarks import evaluated
from benchmarks import markdown
from benchmarks import side_by_side
from benchmarks.harness import results
from benchmarks.harness import spec

_RESULT = "families_avx512_core_bf16"
_PASSES = ("inference", "training")


def families() -> str:
    """Returns images/s of each network and library, beside published errors."""
    result = results.read(evaluated.RESULTS / f"{_RESULT}.json")
    cases: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}
    for setting in result["settings"]:
        budget = setting["labels"]["budget"]
        for name, case in setting["cases"].items():
            if name != spec.MACHINE and case["rounds"]:
                rates = cases.setdefault((budget, name), {})
                rates[setting["labels"]["pass"]] = _rates(setting, case)
    errors = {p.network: p for p in side_by_side.published()}
    rows = [
        [*_named(budget, name, errors), *_cells(rates)]
        for (budget, name), rates in cases.items()
    ]
    header = ["budget", "network", "by", "top-1 error, %"]
    for which in _PASSES:
        header += [f"{which}, img/s", "of RegNetX"]
    return markdown.table(header, rows)


def _rates(setting: dict[str, Any], case: dict[str, Any]):
    """Returns images in a second, and over those of the reference."""
    medians = [
        results.median(one) / one["facts"]["images"]
        for one in (case, setting["cases"][setting["reference"]])
    ]
    return 1 / medians[0], medians[1] / medians[0]


def _named(budget, name, errors):
    network, library = name.split(", ")
    known = errors.get(network)
    return [
        budget,
        network,
        library,
        "" if known is None else side_by_side.error_cell(known),
    ]


def _cells(rates):
    for which in _PASSES:
        if which in rates:
            rate, ratio = rates[which]
            yield f"{rate:.1f}"
            yield f"{ratio:.2f}"
        else:
            yield from ("", "")


TABLES = (families,)
