"""A result as a table in Markdown: medians, ranges, ratios."""

from collections.abc import Callable
from typing import Any

from benchmarks import markdown
from benchmarks.harness import results
from benchmarks.harness import spec
from benchmarks.harness import statistics
from benchmarks.suites import catalog

_FORMS: dict[str, Callable[[float, float], float]] = {
    "rate": lambda value, images: images / value,
    "ms": lambda value, images: 1e3 * value,
    "s": lambda value, images: value,
    "MB": lambda value, images: value / 1e6,
    "%": lambda value, images: 100 * value,
}


def text(result: dict[str, Any]) -> str:
    """Returns head, table and what could not run."""
    return "\n".join([*head(result), "", table(result), *notes(result)])


def head(result: dict[str, Any]) -> list[str]:
    """Returns lines about the machine and the command."""
    lines = [f"command: {result['command']}"]
    for key, value in result["machine"].items():
        if isinstance(value, dict):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        lines.append(f"{key}: {value}")
    return lines


def measured(case: dict[str, Any], column: spec.Column) -> list[float]:
    """Returns what a column shows, round by round; nothing if not measured."""
    if not all(column.key in one for one in case["rounds"]):
        return []
    images = case.get("facts", {}).get("images", 1)
    form = _FORMS[column.form]
    return [form(v, images) for v in results.values(case, column.key)]


def ratio(
    setting: dict[str, Any], name: str, key: str
) -> statistics.Spread | None:
    """Returns what a case takes over what the reference takes."""
    case = setting["cases"][name]
    reference = setting["cases"].get(setting["reference"], {"rounds": []})
    pairs = [
        [one[key] for one in c["rounds"] if key in one]
        for c in (case, reference)
    ]
    return statistics.ratios(*pairs) if all(pairs) else None


def share_of_product(setting: dict[str, Any], name: str) -> float | None:
    """Returns the fraction of the machine's matrix-product rate."""
    machine = setting["cases"].get(spec.MACHINE, {"rounds": []})
    case = setting["cases"][name]
    work = case.get("facts", {}).get("multiply_adds")
    if not (machine["rounds"] and case["rounds"] and work):
        return None
    limit = results.median(machine, "product_gmac_per_s")
    return work / results.median(case) / 1e9 / limit


def table(result: dict[str, Any]) -> str:
    """Returns the table of all settings."""
    suite = catalog.SUITES[result["suite"]]
    labels = _labels(result)
    header = [*labels, "case", *(column.header for column in suite.columns)]
    header += ["of the matrix product", "it / reference", "rounds"]
    rows = [
        row
        for setting in result["settings"]
        for row in _rows(setting, suite.columns, labels)
    ]
    # What was not measured has no column.
    kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
    return markdown.table(
        [header[i] for i in kept], [[row[i] for i in kept] for row in rows]
    )


def _labels(result):
    found = {}
    for setting in result["settings"]:
        found |= dict.fromkeys(setting["labels"])
    return list(found)


def _rows(setting, columns, labels):
    for name, case in setting["cases"].items():
        if name == spec.MACHINE or not case["rounds"]:
            continue
        share = share_of_product(setting, name)
        against = ratio(setting, name, columns[0].key)
        yield [
            *(str(setting["labels"].get(label, "")) for label in labels),
            name,
            *(_cell(measured(case, column)) for column in columns),
            "" if share is None else f"{share:.0%}",
            _against(setting, name, against),
            str(len(case["rounds"])),
        ]


def _cell(values):
    if not values:
        return ""
    spread = statistics.spread(values)
    cell = written(spread.median)
    if len(values) > 1:
        cell += f" ({written(spread.min)} to {written(spread.max)})"
    return cell


def written(value: float) -> str:
    """Returns a number with three digits, or all before the point.

    Example:
    >>> written(0.12345), written(12345.6)
    ('0.123', '12346')
    """
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _against(setting, name, spread):
    if name == setting["reference"]:
        return "reference"
    if spread is None:
        return ""
    return str(spread) if len(set(spread)) > 1 else f"{spread.median:.2f}"


def notes(result: dict[str, Any]) -> list[str]:
    """Returns a line for each limit of the machine, and each absent case."""
    lines = []
    for setting in result["settings"]:
        title = ", ".join(f"{k} {v}" for k, v in setting["labels"].items())
        for name, case in setting["cases"].items():
            if name == spec.MACHINE and case["rounds"]:
                lines.append(f"{title}: {_limits(case)}")
            for how in ("absent", "failed"):
                if how in case:
                    lines.append(f"{title}: {how}: {name}: {case[how]}")
    return lines


def _limits(case):
    found = []
    for key, what in (
        ("product_gmac_per_s", "matrix product, GMAC/s"),
        ("copy_gb_per_s", "copy, GB/s"),
    ):
        if key in case["rounds"][0]:
            found.append(f"{what}: {_cell(results.values(case, key))}")
    return "; ".join(found)
