"""The tables of docs/choosing.md: which network for which budget.

Accuracies of RegNets are those of `keras_regnet/data/weights.csv`, latencies
those of `benchmarks/results/mobile.json`. Other networks, and RegNets beside
them, are those of `benchmarks/published/timm.csv`: what timm published of its
own evaluations and measurements.
"""

import csv
import pathlib
import re
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks import evaluated
from benchmarks import markdown
from keras_regnet import info
from keras_regnet import variants

_PUBLISHED = pathlib.Path(__file__).resolve().parent / "published/timm.csv"
_MULTIPLY_ADDS = (0.25e9, 0.5e9, 1e9, 2e9, 4e9, 7e9, 16e9, 30e9)
_MEGABYTES = (12, 20, 30, 50, 80, 120, 220, 600)
_MILLISECONDS = (3, 4, 5, 8, 11, 15)
_FORMS = ("float32", "int8-merged")
_BYTES = 4
_NONE = "-"

# Of timm's table: columns, and what of each a reader may have.
_OTHERS_MULTIPLY_ADDS = (0.25, 0.5, 1, 2, 4.6, 8, 16)
_OTHERS_CPU = (150, 100, 75, 60, 45, 35, 25)
_OTHERS_GPU = (20_000, 10_000, 6_000, 4_000, 2_000, 1_000)
_FAMILIES = {
    "RegNet": "regnet",
    "MobileNetV4": "mobilenetv4",
    "EfficientNet, V2": "(tf_)?efficientnet",
    "ConvNeXt": "convnext",
}
_LARGER_DATA = re.compile(r"[._]in(12|21|22)k_")


def _top1(evaluated_set):
    return evaluated_set.record.top1


def _set_cells(evaluated_set):
    record = evaluated_set.record
    return [
        record.variant,
        f"`{record.tag}`",
        record.licence,
        str(record.test_size),
        f"{record.top1:.1f}",
        info.short(evaluated_set.multiply_adds),
        f"{evaluated_set.params / 1e6:.1f} M",
    ]


_SET_HEADER = (
    "network",
    "weights",
    "license",
    "px",
    "top-1, %",
    "multiply-adds",
    "params",
)


def _best_within(
    limits: Iterable[float], cost: Callable[[evaluated.Evaluated], float]
) -> list[tuple[float, evaluated.Evaluated]]:
    """Returns the most accurate permissive set within each limit."""
    return [
        (
            limit,
            max(
                (e for e in evaluated.permissive() if cost(e) <= limit),
                key=_top1,
            ),
        )
        for limit in limits
    ]


def choosing_multiply_adds() -> str:
    """Returns the most accurate permissive set for each multiply-adds."""
    rows = [
        [info.short(limit), *_set_cells(e)]
        for limit, e in _best_within(_MULTIPLY_ADDS, lambda e: e.multiply_adds)
    ]
    return markdown.table(("at most", *_SET_HEADER), rows)


def _megabytes(evaluated_set):
    return evaluated_set.params * _BYTES / 1e6


def choosing_memory() -> str:
    """Returns the most accurate permissive set for each size of a file."""
    rows = [
        [f"{limit} MB", f"{_megabytes(e):.0f} MB", *_set_cells(e)]
        for limit, e in _best_within(_MEGABYTES, _megabytes)
    ]
    return markdown.table(("at most", "float32", *_SET_HEADER), rows)


def choosing_latency() -> str:
    """Returns the most accurate network for each latency, as measured."""
    rows = [
        [
            f"{limit} ms",
            *(
                cell
                for form in _FORMS
                for cell in (
                    _fast_regnet(form, limit),
                    _fast_other(form, limit),
                )
            ),
        ]
        for limit in _MILLISECONDS
    ]
    header = (
        "at most",
        "RegNet, float32",
        "other, float32",
        "RegNet, int8",
        "other, int8",
    )
    return markdown.table(header, rows)


def _fast_regnet(form, limit):
    fast = [
        e
        for e in evaluated.permissive()
        if evaluated.milliseconds(e).get(form, limit + 1) <= limit
    ]
    if not fast:
        return _NONE
    best = max(fast, key=_top1)
    took = evaluated.milliseconds(best)[form]
    record = best.record
    return f"{record.top1:.1f}: {record.variant} `{record.tag}`, {took:.1f} ms"


def _fast_other(form, limit):
    # Only RegNets have groups to merge.
    form = form.removesuffix("-merged")
    fast = [
        (network.top1, name, network.milliseconds[form])
        for name, network in evaluated.mobile().items()
        if name not in variants.list_variants()
        and network.milliseconds[form] <= limit
    ]
    if not fast:
        return _NONE
    top1, name, took = max(fast)
    return f"{top1:.1f}: {name}, {took:.1f} ms"


def choosing_license() -> str:
    """Returns the most accurate set of each license."""
    of_license: dict[str, list[evaluated.Evaluated]] = {}
    for e in evaluated.every():
        of_license.setdefault(e.record.licence, []).append(e)
    rows = [
        [
            licence,
            "yes" if sets[0].record.commercial else "no",
            str(len(sets)),
            *(cell for i, cell in enumerate(_set_cells(best)) if i != 2),
        ]
        for licence, sets in of_license.items()
        for best in [max(sets, key=_top1)]
    ]
    header = ("license", "commercial use", "sets", *_SET_HEADER[:2])
    return markdown.table((*header, *_SET_HEADER[3:]), rows)


def choosing_variants() -> str:
    """Returns the most accurate permissive set of each network."""
    of_variant: dict[str, list[evaluated.Evaluated]] = {}
    for e in evaluated.permissive():
        of_variant.setdefault(e.record.variant, []).append(e)
    rows = [
        _set_cells(max(of_variant[name], key=_top1))
        for name in variants.list_variants()
        if name in of_variant
    ]
    return markdown.table(_SET_HEADER, rows)


class Other(NamedTuple):
    """A row of timm's tables.

    Args:
      weights: timm's name of the set.
      image_size: of the evaluation, in pixels.
      top1: percent.
      costs: the numeric columns by name; what was not measured is absent.
    """

    weights: str
    image_size: int
    top1: float
    costs: dict[str, float]

    @property
    def larger_data(self) -> bool:
        """Whether it was pretrained on more than ImageNet-1k."""
        return bool(_LARGER_DATA.search(self.weights))


def others() -> list[Other]:
    """Returns what timm published, RegNets included."""
    with _PUBLISHED.open(newline="") as file:
        return [
            Other(
                row.pop("weights"),
                int(row.pop("image_size")),
                float(row.pop("top1")),
                {name: float(cell) for name, cell in row.items() if cell},
            )
            for row in csv.DictReader(file)
        ]


def _other_cells(fitting: Sequence[Other]) -> list[str]:
    """Returns the best of each family, the best of all in bold."""
    best = [
        max(
            (o for o in fitting if re.match(pattern, o.weights)),
            key=lambda o: o.top1,
            default=None,
        )
        for pattern in _FAMILIES.values()
    ]
    highest = max((o.top1 for o in best if o), default=None)
    return [_other_cell(o, highest) for o in best]


def _other_cell(other, highest):
    if other is None:
        return _NONE
    top1 = f"{other.top1:.1f}"
    if other.top1 == highest:
        top1 = f"**{top1}**"
    return f"{top1} `{other.weights}` {other.image_size}"


def _compared(limits, written, fits) -> str:
    rows = []
    for limit in limits:
        fitting = [o for o in others() if fits(o.costs, limit)]
        alone = [o for o in fitting if not o.larger_data]
        rows.append([written(limit), "1k alone", *_other_cells(alone)])
        if _other_cells(fitting) != rows[-1][2:]:
            rows.append(["", "any", *_other_cells(fitting)])
    return markdown.table(("", "trained on ImageNet-", *_FAMILIES), rows)


def others_multiply_adds() -> str:
    """Returns the best of each family for each multiply-adds."""
    return _compared(
        _OTHERS_MULTIPLY_ADDS,
        lambda limit: f"at most {limit:g} G",
        lambda costs, limit: costs["multiply_adds_g"] <= limit,
    )


def others_cpu() -> str:
    """Returns the best of each family for each speed on timm's processor."""
    return _compared(
        _OTHERS_CPU,
        lambda limit: f"at least {limit} images/s",
        lambda costs, limit: costs.get("cpu_images_per_s", 0) >= limit,
    )


def others_gpu() -> str:
    """Returns the best of each family for each speed on timm's accelerator."""
    return _compared(
        _OTHERS_GPU,
        lambda limit: f"at least {limit:,} images/s",
        lambda costs, limit: costs.get("gpu_images_per_s", 0) >= limit,
    )


TABLES = (
    choosing_latency,
    choosing_license,
    choosing_memory,
    choosing_multiply_adds,
    choosing_variants,
    others_cpu,
    others_gpu,
    others_multiply_adds,
)
