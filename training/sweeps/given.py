"""Networks that are given in a file, in place of a sample of a space."""

import pathlib
from typing import NamedTuple

from keras_regnet import config as config_lib
from keras_regnet.complexity import complexity
from training.sweeps import regimes
from training.sweeps.regimes import Regime

_PREFIX = "networks:"


class Networks(NamedTuple):
    """Networks and their complexity at the regime's resolution.

    Args:
      configs: their configurations, [n].
      flops: multiply-adds of each, [n].
      params: parameters, [n].
      activations: activations, [n].
    """

    configs: tuple[config_lib.RegNetConfig | config_lib.AnyNetConfig, ...]
    flops: tuple[int, ...]
    params: tuple[int, ...]
    activations: tuple[int, ...]
    resolutions: None = None


def is_file(space: str) -> bool:
    """Whether a space is a file of networks, "networks:FILE"."""
    return space.startswith(_PREFIX)


def read(space: str, n: int, regime: Regime) -> Networks:
    """Returns the first n networks of a file, one configuration a line.

    Raises:
      ValueError: if there are fewer, one is no configuration, or one is
        outside the regime's budgets.
      OSError: if there is no such file.
    """
    path = pathlib.Path(space.removeprefix(_PREFIX)).expanduser()
    if not path.is_file():
        raise ValueError(
            "`space` must be a space, or networks:FILE with a configuration a "
            f"line. Received: {space!r}, and there is no such file"
        )
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    lines = {
        number: line
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    }
    if len(lines) < n:
        raise ValueError(
            f"`n` must be at most the number of networks of {path}, which has "
            f"{len(lines)}. Received: n={n}"
        )
    if regime.latency_ms is not None:
        raise ValueError(
            "`latency_ms` must be left out for networks that are given. "
            f"Received: space={space!r}"
        )
    numbers = list(lines)[:n]
    configs = tuple(_parse(path, number, lines[number]) for number in numbers)
    for number, config in zip(numbers, configs, strict=True):
        if configs.count(config) > 1:
            raise ValueError(
                f"{path} must have each network once; another line has that "
                f"of line {number}, too"
            )
    side = regime.image_size
    costs = [
        complexity(config, (side, side, 3), classes=regime.classes)
        for config in configs
    ]
    for number, cost in zip(numbers, costs, strict=True):
        _check_budgets(f"{path}, line {number}", cost, regime)
    return Networks(
        configs,
        tuple(cost.flops for cost in costs),
        tuple(cost.params for cost in costs),
        tuple(cost.activations for cost in costs),
    )


def _parse(path, number, line):
    try:
        return config_lib.from_json(line)
    except ValueError as error:
        raise ValueError(f"{path}, line {number}: {error}") from error


def _check_budgets(where, cost, regime):
    for name in regimes.BUDGETS:
        budget = getattr(regime, name)
        value = getattr(cost, name)
        if budget and not budget[0] <= value <= budget[1]:
            raise ValueError(
                f"`{name}` must admit every network that is given. Received: "
                f"{name}={budget[0]:g}..{budget[1]:g}; {where} has {value:,}"
            )
