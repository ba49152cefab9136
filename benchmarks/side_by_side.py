"""The tables and the picture of docs/side_by_side.md: published errors.

Errors are those of `benchmarks/published/errors.csv`. Complexities of RegNets,
ResNets and ResNeXts are computed, those of other networks as published.
"""

import csv
import functools
import math
import pathlib
from typing import Any
from typing import NamedTuple

import keras_regnet
from benchmarks import markdown
from keras_regnet import info
from keras_regnet import variants

_PUBLISHED = pathlib.Path(__file__).resolve().parent / "published/errors.csv"
_MOBILE_RANGE = (0.18e9, 0.85e9)
# Marks, which the page explains.
_BY_ITS_AUTHORS = " *"
_NOT_COMPUTED = " †"
_TWO_FIGURES = " ‡"
_NONE = "-"

# Okabe and Ito's colors, which differ for the color-blind too.
_MARKS = {
    "RegNetX": ("#0072B2", "o"),
    "RegNetY": ("#D55E00", "s"),
    "ResNet": ("#000000", "^"),
    "ResNeXt": ("#CC79A7", "v"),
    "EfficientNet": ("#009E73", "D"),
}


class Published(NamedTuple):
    """A network with its published error.

    Args:
      network: its name.
      error: top-1 in percent, under the paper's schedule; None if its authors
        alone published one.
      error_std: of that error over five trainings.
      error_of_its_authors: under their own schedule, None for none.
      error_of_the_released: of the weights that the paper's authors released.
      multiply_adds: of one image.
      params: None if not published.
      activations: None if not published.
      computed: whether the three counts are computed here.
    """

    network: str
    error: float | None
    error_std: float | None
    error_of_its_authors: float | None
    error_of_the_released: float | None
    multiply_adds: int
    params: int | None
    activations: int | None
    computed: bool

    @property
    def family(self) -> str:
        """The name without its size."""
        return self.network.split("-")[0]


@functools.cache
def published() -> tuple[Published, ...]:
    """Returns every network of the table, in its order."""
    with _PUBLISHED.open(newline="") as file:
        return tuple(map(_parse, csv.DictReader(file)))


def _parse(row):
    name = row["network"]
    errors = [
        float(row[column]) if row[column] else None
        for column in (
            "error",
            "error_std",
            "error_of_its_authors",
            "error_of_the_released",
        )
    ]
    if name in variants.list_variants():
        counted = keras_regnet.complexity(variants.get_config(name))
        counts: list[Any] = [counted.flops, counted.params, counted.activations]
        return Published(name, *errors, *counts, computed=True)
    columns = ("multiply_adds", "params", "activations")
    counts = [int(row[column]) if row[column] else None for column in columns]
    return Published(name, *errors, *counts, computed=False)


def _of_families(*families):
    return [p for p in published() if p.family in families]


def error_cell(p: Published) -> str:
    """Returns the error under the paper's schedule, marked."""
    if p.error is None:
        return f"{p.error_of_its_authors:.1f}{_BY_ITS_AUTHORS}"
    text = f"{p.error:.1f} ± {p.error_std:.2f}"
    if p.error_of_the_released != p.error:
        text += f"{_TWO_FIGURES} {p.error_of_the_released:.1f}"
    return text


def _millions(count):
    return _NONE if count is None else f"{count / 1e6:.1f} M"


def _count(p, written):
    return (
        written if p.computed or written == _NONE else written + _NOT_COMPUTED
    )


def mobile_regime() -> str:
    """Returns the networks of about 200 to 800 million multiply-adds."""
    low, high = _MOBILE_RANGE
    rows = [
        [
            p.network,
            error_cell(p),
            _count(p, info.short(p.multiply_adds)),
            _count(p, _millions(p.params)),
        ]
        for p in sorted(published(), key=lambda p: p.multiply_adds)
        if low < p.multiply_adds < high and p.family != "ResNet"
    ]
    header = ("network", "top-1 error, %", "multiply-adds", "params")
    return markdown.table(header, rows)


def _nearest(p, family, cost):
    """Returns the network of a family whose cost is nearest, by its ratio."""
    return min(
        _of_families(family),
        key=lambda other: abs(
            math.log(getattr(other, cost) / getattr(p, cost))
        ),
    )


def _beside(p, family, cost):
    """Returns the nearest network: name, ratio of costs, error, difference."""
    other = _nearest(p, family, cost)
    return [
        other.network,
        f"{getattr(other, cost) / getattr(p, cost):.2f}",
        error_cell(other),
        f"{other.error - p.error:+.1f}",
    ]


def _equal(cost):
    rows = [
        [
            p.network,
            info.short(p.multiply_adds),
            _millions(p.params),
            _millions(p.activations),
            error_cell(p),
            f"{p.error_of_its_authors:.1f}",
            *_beside(p, "RegNetX", cost),
        ]
        for p in sorted(
            _of_families("ResNet", "ResNeXt"),
            key=lambda p: (len(p.family), p.multiply_adds),
        )
    ]
    header = (
        "network",
        "multiply-adds",
        "params",
        "activations",
        "top-1 error, %",
        "its authors', %",
        "RegNetX beside it",
        f"{cost.replace('_', '-')}, ratio",
        "top-1 error, %",
        "difference",
    )
    return markdown.table(header, rows)


def equal_multiply_adds() -> str:
    """Returns ResNe(X)ts beside the RegNetX of the nearest multiply-adds."""
    return _equal("multiply_adds")


def equal_activations() -> str:
    """Returns ResNe(X)ts beside the RegNetX of the nearest activations."""
    return _equal("activations")


def efficientnets() -> str:
    """Returns EfficientNets beside RegNets of the nearest multiply-adds."""
    rows = []
    for p in _of_families("EfficientNet"):
        x, y = (
            _beside(p, family, "multiply_adds")
            for family in ("RegNetX", "RegNetY")
        )
        rows.append(
            [
                p.network,
                _count(p, info.short(p.multiply_adds)),
                _count(p, _millions(p.activations)),
                error_cell(p),
                f"{p.error_of_its_authors:.1f}",
                *x,
                *y,
            ]
        )
    beside = ("multiply-adds, ratio", "top-1 error, %", "difference")
    header = (
        "network",
        "multiply-adds",
        "activations",
        "top-1 error, %",
        "its authors', %",
        "RegNetX beside it",
        *beside,
        "RegNetY beside it",
        *beside,
    )
    return markdown.table(header, rows)


TABLES = (efficientnets, equal_activations, equal_multiply_adds, mobile_regime)


def points() -> list[tuple[str, int, int, float]]:
    """Returns what the picture shows: those trained by the paper's schedule."""
    return [
        (p.network, p.multiply_adds, p.activations or 0, p.error)
        for p in published()
        if p.error is not None
    ]


_PANELS = (
    (
        1,
        1e9,
        "multiply-adds of one image, in billions",
        [0.2, 0.5, 1, 2, 5, 10, 30],
    ),
    (2, 1e6, "activations of one image, in millions", [2, 5, 10, 20, 50, 100]),
)


def draw(figure: Any) -> None:
    """Draws errors over multiply-adds and over activations."""
    figure.set_size_inches(10, 4.6)
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    for axes, (column, unit, label, ticks) in zip(panels, _PANELS, strict=True):
        for family, (color, marker) in _MARKS.items():
            line = sorted(
                (p[column] / unit, p[3])
                for p in points()
                if p[0].split("-")[0] == family
            )
            axes.plot(
                *zip(*line, strict=True),
                color=color,
                marker=marker,
                markersize=5,
                linewidth=1,
                label=family,
            )
        _annotate(axes, column, unit)
        axes.set_xscale("log")
        axes.set_xticks(ticks, map(str, ticks))
        axes.set_xticks([], minor=True)
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("top-1 error on ImageNet, %")
    panels[1].legend(frameon=False)
    figure.suptitle(
        "One schedule for all, 100 epochs: EfficientNets spend activations, "
        "RegNets do not"
    )


def _annotate(axes, column, unit):
    for point in points():
        family, size = point[0].split("-")
        if family != "EfficientNet":
            continue
        axes.annotate(
            size,
            (point[column] / unit, point[3]),
            xytext=(3, 5),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=_MARKS[family][0],
        )
