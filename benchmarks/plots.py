"""A result as a picture, beside its file."""

import pathlib
from typing import Any

import matplotlib as mpl

from benchmarks import result_table
from benchmarks.harness import results
from benchmarks.harness import spec
from benchmarks.harness import statistics
from benchmarks.suites import catalog

mpl.use("Agg")

# isort: split
from matplotlib import pyplot

_FAMILIES = {"RegNetX": "o-", "RegNetY": "s-", "": "^"}


def draw(result: dict[str, Any], path: pathlib.Path) -> pathlib.Path:
    """Draws a result; returns the path of the image.

    Args:
      result: as `results.read` returns it.
      path: of its file; the image has the same name.
    """
    image = path.with_suffix(".png")
    figure = pyplot.figure(layout="constrained")
    if result["suite"] == "litert":
        _draw_top1(figure, result)
    else:
        _draw_bars(figure, result)
    figure.savefig(image, dpi=150)
    pyplot.close(figure)
    return image


def _draw_bars(figure, result):
    """Draws medians with their ranges, an axis for each setting."""
    column = catalog.SUITES[result["suite"]].columns[0]
    settings = result["settings"]
    count = max(len(setting["cases"]) for setting in settings)
    figure.set_size_inches(8, len(settings) * (0.6 + 0.28 * count))
    axes = figure.subplots(len(settings), squeeze=False)[:, 0]
    for axis, setting in zip(axes, settings, strict=True):
        spreads = {
            name: statistics.spread(values)
            for name, case in setting["cases"].items()
            if name != spec.MACHINE
            and case["rounds"]
            and (values := result_table.measured(case, column))
        }
        axis.barh(
            list(spreads),
            [s.median for s in spreads.values()],
            xerr=[
                [s.median - s.min for s in spreads.values()],
                [s.max - s.median for s in spreads.values()],
            ],
            color="#0072B2",
            capsize=3,
        )
        axis.invert_yaxis()
        axis.set_xlabel(column.header)
        labels = setting["labels"].items()
        axis.set_title(", ".join(f"{k} {v}" for k, v in labels), fontsize=9)


def _draw_top1(figure, result):
    """Draws latency against published top-1, of one thread."""
    figure.set_size_inches(7, 5)
    axes = figure.subplots()
    points = list(_points(result))
    forms = dict.fromkeys(form for form, *_ in points)
    for color, form in enumerate(forms):
        for family, style in _FAMILIES.items():
            line = [
                (ms, top1, network)
                for f, ms, top1, network in points
                if f == form and _family(network) == family
            ]
            if not line:
                continue
            x, y, names = zip(*line, strict=True)
            label = f"{family or 'others'}, {form}"
            axes.plot(x, y, style, color=f"C{color}", label=label)
            for point in zip(x, y, names, strict=True):
                _annotate(axes, *point)
    axes.set_xscale("log")
    axes.set_xlabel("ms an image, 1 thread, XNNPACK")
    axes.set_ylabel("published top-1, %")
    axes.legend(fontsize=7)


def _points(result):
    """Yields form, milliseconds, top-1 and network of one thread."""
    for setting in result["settings"]:
        if setting["labels"]["threads"] != 1:
            continue
        for case in setting["cases"].values():
            facts = case.get("facts", {})
            if case["rounds"] and facts.get("top1"):
                seconds = results.median(case)
                milliseconds = 1e3 * seconds
                yield (
                    facts["form"],
                    milliseconds,
                    facts["top1"],
                    facts["network"],
                )


def _family(network):
    return network.split("-")[0] if "-" in network else ""


def _annotate(axes, x, y, network):
    axes.annotate(
        network.removeprefix(f"{_family(network)}-"),
        (x, y),
        fontsize=6,
        xytext=(3, -7),
        textcoords="offset points",
    )
