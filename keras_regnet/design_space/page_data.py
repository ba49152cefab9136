"""What the page of a sweep shows, as plain data for its scripts.

No markup here: from populations to what JSON can hold.
"""

import collections
import json
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_regnet import plan
from keras_regnet.config import RegNetConfig
from keras_regnet.design_space import bands
from keras_regnet.design_space.records import Record
from keras_regnet.design_space.summary import MIN_COMPARED
from keras_regnet.design_space.summary import Population

# What is known of a trial itself, and of each network.
COLUMNS = ("space", "index", "error", "seconds", "attempt", "trial")
# The exact band takes a second for 128 networks and ten for 1250.
_MAX_EXACT = 256
# Names of properties, with their units where they have some.
PROPERTIES = {
    "depth": "depth (blocks)",
    "flops": "multiply-adds",
    "params": "parameters",
    "activations": "activations",
    "w_0": "w_0",
    "w_a": "w_a",
    "w_m": "w_m",
    "bottleneck_ratio": "bottleneck ratio",
    "group_width": "largest group width",
    "first_width": "width of the first stage",
    "last_width": "width of the last stage",
    "se_ratio": "squeeze-and-excitation ratio",
}
BUDGETS = ("flops", "params", "activations")


def content(
    found: Sequence[Population], summary: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns all that the page's scripts need.

    Args:
      found: the populations.
      summary: of the same records, by `summary.summarize`.

    Returns:
      "spaces", with the ends of each distribution's band; "columns" and "rows",
      one for each trial; "configs", see `_packed`; "stages" and "properties"
      of the rows; "curves", test errors by epoch; and "comparisons".
    """
    rows = [r for p in found for r in (*p.done, *p.failed)]
    names = [population.space for population in found]
    return {
        "spaces": [_space(population) for population in found],
        "min_compared": MIN_COMPARED,
        "columns": COLUMNS,
        "rows": [_row(record, names) for record in rows],
        "configs": _packed([record.network for record in rows]),
        "stages": [stages_of(record) for record in rows],
        "properties": _properties_that_vary(rows),
        "budgets": [
            b for b in BUDGETS if len({getattr(r, b) for r in rows}) > 1
        ],
        "curves": [record.test_errors for record in rows],
        "comparisons": [
            {
                key: pair[key]
                for key in ("first", "second", "difference", "low", "high")
            }
            for pair in summary["comparisons"]
        ],
    }


def to_json(values: Any) -> str:
    r"""Returns JSON that a script element may hold, whatever the texts are.

    Example:
    >>> to_json("</script>")
    '"\\u003c/script>"'
    """
    text = json.dumps(values, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _space(population):
    errors = population.errors
    result = {"name": population.space, "counts": population.counts()}
    if len(errors):
        # A threshold behind each error: what has so many errors below it.
        steps = np.append(np.sort(errors), errors.max() + 1)
        method = "exact" if len(errors) <= _MAX_EXACT else "dkw"
        low, high = bands.edf_confidence_band(errors, steps, method=method)
        result["low"] = low.round(5).tolist()
        result["high"] = high.round(5).tolist()
    return result


def _row(record, names):
    values = record.to_dict() | {"space": names.index(record.space)}
    return [values[column] for column in COLUMNS]


def stages_of(record: Record) -> list[list[float]]:
    """Returns what the stages of a record's network are, each a list.

    Depths, widths, group widths, bottleneck ratios and strides.
    """
    stages = plan.stages(record.network)
    return [
        [stage.depth for stage in stages],
        [stage.width for stage in stages],
        [stage.group_width for stage in stages],
        [float(f"{s.width / s.inner_width:.4g}") for s in stages],
        [stage.stride for stage in stages],
    ]


def _packed(networks):
    """Returns configurations without what those of a kind have in common.

    Returns:
      "kinds": for each kind its fields, in their order, with the values that
      all have, or None; "rows": for each network the number of its kind, and
      its values of the other fields.
    """
    configs = [json.loads(network.to_json()) for network in networks]
    groups = collections.defaultdict(list)
    for config in configs:
        groups[config["type"], *config].append(config)
    kinds = {key: _common(group) for key, group in groups.items()}
    numbers = {key: number for number, key in enumerate(kinds)}
    rows = []
    for config in configs:
        key = (config["type"], *config)
        own = [config[name] for name, common in kinds[key] if common is None]
        rows.append([numbers[key], own])
    return {"kinds": list(kinds.values()), "rows": rows}


def _common(configs):
    """Returns each field with its value in brackets, or None if it varies."""
    first = configs[0]
    return [
        [name, [value] if all(c[name] == value for c in configs) else None]
        for name, value in first.items()
    ]


def properties(record: Record) -> dict[str, float | None]:
    """Returns the properties of a network that its error may depend on.

    None for what it does not have: a network that no line of widths made has
    no w_0, and one whose stages differ no bottleneck ratio of its own.
    """
    _, widths, group_widths, ratios, _ = stages_of(record)
    network = record.network
    line = network if isinstance(network, RegNetConfig) else None
    return {
        "depth": record.depth,
        "flops": record.flops,
        "params": record.params,
        "activations": record.activations,
        "w_0": line.w_0 if line else None,
        "w_a": line.w_a if line else None,
        "w_m": line.w_m if line else None,
        "bottleneck_ratio": ratios[0] if len(set(ratios)) == 1 else None,
        "group_width": max(group_widths),
        "first_width": widths[0],
        "last_width": widths[-1],
        "se_ratio": network.se_ratio,
    }


def _properties_that_vary(rows):
    """Returns name, label and values [rows] of those with several values."""
    found = [properties(record) for record in rows]
    result = []
    for name, label in PROPERTIES.items():
        values = [values[name] for values in found]
        if len({value for value in values if value is not None}) > 1:
            result.append({"name": name, "label": label, "values": values})
    return result
