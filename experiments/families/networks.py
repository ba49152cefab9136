"""The networks of README.md: seven families, each at two budgets.

Each family is a published shape, whose widths are scaled by one factor, and
then by a step in a stage or two, until the multiply-adds are those of the
budget. `python experiments/families/networks.py` writes them to the files that
are trained.
"""

import dataclasses
import functools
import itertools
import pathlib
import sys
from collections.abc import Callable
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[2])

import keras_regnet
from keras_regnet import AnyNetConfig

SIZE = 32
CLASSES = 10
# Millions of multiply-adds.
BUDGETS = (5, 15)
WITHIN = 0.03
# The stages see 16, 8, 4 and 2 pixels.
_COMMON: dict[str, Any] = {"stem_width": 16, "strides": (1, 2, 2, 2)}
_FACTORS = [i / 400 for i in range(10, 800)]


@dataclasses.dataclass(frozen=True)
class Family:
    """A shape whose widths are scaled.

    Args:
      name: of the family.
      shape: what of a published network stays as it is.
      widths: of that network.
      step: what all widths are multiples of.
      groups: of the 3x3 convolutions, from widths; None for none.
    """

    name: str
    shape: dict[str, Any]
    widths: tuple[int, ...]
    step: int
    groups: Callable[[tuple[int, ...]], Any] | None = None

    def config(self, widths: tuple[int, ...]) -> AnyNetConfig:
        """Returns the network of some widths."""
        grouped = {"group_widths": self.groups(widths)} if self.groups else {}
        return AnyNetConfig(widths=widths, **self.shape, **grouped, **_COMMON)

    def scaled(self, factor: float) -> tuple[int, ...]:
        """Returns the widths times a factor, rounded to the step."""
        return tuple(
            max(1, round(width * factor / self.step)) * self.step
            for width in self.widths
        )


_REGNET = {"depths": (1, 1, 4, 7)}
_REGNET_WIDTHS = (24, 56, 152, 368)
# Expansion from the input, linear outputs. Of seven stages at 32 pixels four
# are left, with the blocks of those that see one resolution together.
_INVERTED = {
    "block": "z",
    "bottleneck_ratios": 1 / 6,
    "expand_from": "input",
    "group_widths": 1,
}
_CARDINALITY = 8

FAMILIES = (
    Family("RegNetX", {**_REGNET, "group_widths": 8}, _REGNET_WIDTHS, 8),
    Family(
        "RegNetY",
        {**_REGNET, "block": "y", "group_widths": 8},
        _REGNET_WIDTHS,
        8,
    ),
    Family(
        "ResNet",
        {"depths": (3, 4, 6, 3), "bottleneck_ratios": 4},
        (256, 512, 1024, 2048),
        4,
    ),
    Family(
        "ResNeXt",
        {"depths": (3, 4, 6, 3), "bottleneck_ratios": 2},
        (256, 512, 1024, 2048),
        2 * _CARDINALITY,
        lambda widths: tuple(w // (2 * _CARDINALITY) for w in widths),
    ),
    Family(
        "MobileNetV2-like",
        {**_INVERTED, "depths": (2, 3, 7, 4), "activation": "relu6"},
        (24, 32, 80, 200),
        4,
    ),
    Family(
        "EfficientNet-like",
        {
            **_INVERTED,
            "depths": (2, 2, 6, 5),
            "activation": "silu",
            "se_ratio": 0.25,
        },
        (24, 40, 96, 224),
        4,
    ),
    Family(
        "RegNet, depthwise", {**_REGNET, "group_widths": 1}, _REGNET_WIDTHS, 4
    ),
)


def cost(config: AnyNetConfig) -> Any:
    """Returns the complexity of a network here."""
    return keras_regnet.complexity(config, (SIZE, SIZE, 3), classes=CLASSES)


def network(family: Family, budget: int) -> AnyNetConfig:
    """Returns the network of a family at a budget in millions.

    Of the widths of the nearest factor, and those one step away in some stages,
    the nearest that changes the fewest stages.

    Raises:
      ValueError: if none is within `WITHIN` of the budget.
    """

    def distance(widths):
        flops = cost(family.config(widths)).flops
        return abs(flops / (budget * 1e6) - 1)

    widths = min(map(family.scaled, _FACTORS), key=distance)
    steps = itertools.product((-1, 0, 1), repeat=len(widths))
    for change in sorted(steps, key=lambda c: sum(map(abs, c))):
        changed = tuple(
            width + by * family.step
            for width, by in zip(widths, change, strict=True)
        )
        if min(changed) > 0 and distance(changed) <= WITHIN:
            return family.config(changed)
    raise ValueError(f"{family.name} has no network of {budget} million")


@functools.cache
def every() -> dict[tuple[int, str], AnyNetConfig]:
    """Returns all networks, by budget and family."""
    return {
        (budget, family.name): network(family, budget)
        for budget in BUDGETS
        for family in FAMILIES
    }


def file(budget: int) -> pathlib.Path:
    """Returns the file of a budget's networks, a line for each family."""
    return pathlib.Path(__file__).parent / f"networks_{budget}M.jsonl"


def text(budget: int) -> str:
    """Returns what it has."""
    return "".join(
        f"{every()[budget, family.name].to_json()}\n" for family in FAMILIES
    )


if __name__ == "__main__":
    for _budget in BUDGETS:
        file(_budget).write_text(text(_budget))
