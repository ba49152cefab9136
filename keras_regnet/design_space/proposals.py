"""Networks for a budget, ordered by the findings of the paper.

Section 4 of the paper trained a hundred networks in each of seven regimes;
figure 11 shows what the best of them have in common. `propose` samples networks
around that and puts first what comes nearest and has few activations.
"""

import dataclasses
import math
import numbers
import re
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import cast

import numpy as np

from keras_regnet import errors
from keras_regnet.config import RegNetConfig
from keras_regnet.design_space import domains
from keras_regnet.design_space import limits
from keras_regnet.design_space import registry
from keras_regnet.design_space import sampling

# Figure 11, the best values as they can be read off: GF, depth, w_m, group
# width, w_0, w_a. The eye is good to about 1 block and 0.05.
_FIGURE_11 = np.array(
    [
        (0.2, 16, 2.45, 8, 24, 31),
        (0.4, 16, 2.55, 8, 32, 32),
        (0.8, 20, 2.40, 16, 48, 26),
        (1.6, 20, 2.21, 8, 80, 32),
        (3.2, 20, 2.24, 16, 104, 48),
        (6.4, 20, 2.30, 16, 128, 61),
        (12.8, 23, 2.77, 16, 144, 81),
    ]
).T

# How far from the best value still is in the band: blocks, w_m, and powers
# of two of the group width.
BAND = (4.0, 0.3, 1.0)

# How far above the fits of figure 12 counts as much as half a band.
_MARGIN = 0.1
# Depth and w_m are sampled from this many times the band.
_WIDER = 1.5
# w_0 and w_a are sampled within this factor of the best ones.
_WIDTH_FACTOR = 2.5
# A budget that is one number is used by at least this fraction.
_USED = 0.95
Amount = float | str | tuple[float | str, float | str]

# Candidates in the budget of which the nearest are kept, per proposal.
_CHOICE = 100
# How many are sampled at most to find them, half a second of work.
_MAX_CANDIDATES = 1_000_000
# Fewer multiply-adds, parameters or activations are a number without its unit.
_MIN_AMOUNT = 10_000
_SUFFIXES = {"K": 1e3, "M": 1e6, "MF": 1e6, "G": 1e9, "GF": 1e9, "": 1.0}
_FAMILIES = {"regnetx": "RegNetX", "regnety": "RegNetY"}
_MEASURED_AT_MOST = 200


@dataclasses.dataclass(frozen=True, eq=False)
class Proposals(Sequence):
    """Networks for a budget, best first: a sequence of configurations.

    Args:
      configs: the configurations, [n].
      flops: multiply-adds of each, [n].
      params: parameters, [n].
      activations: activations, [n].
      latencies: the measured latencies, [n]; None if nothing was measured.
    """

    configs: tuple[RegNetConfig, ...]
    flops: np.ndarray
    params: np.ndarray
    activations: np.ndarray
    latencies: np.ndarray | None

    def __len__(self) -> int:
        return len(self.configs)

    def __getitem__(self, index: int | slice) -> Any:
        return self.configs[index]


def best_values(flops: float) -> tuple[float, float, float]:
    """Returns depth, w_m and group width of the best networks of a regime.

    Interpolated in the logarithm of the flops; beyond the figure's ends those
    of the ends.

    Source:
      Paper, figure 11.

    Example:
    >>> best_values(1.6e9)
    (20.0, 2.21, 8.0)
    """
    _, depth, w_m, group_width, _, _ = _FIGURE_11
    return (
        _interpolate(flops, depth),
        _interpolate(flops, w_m),
        2 ** _interpolate(flops, np.log2(group_width)),
    )


def _interpolate(flops, values):
    log_regimes = np.log(_FIGURE_11[0] * 1e9)
    return float(np.interp(math.log(flops), log_regimes, values))


def _width_range(flops, values):
    """Around the best width; beyond the figure it grows as sqrt(flops)."""
    regimes = _FIGURE_11[0] * 1e9
    growth = math.sqrt(flops / np.clip(flops, regimes[0], regimes[-1]))
    best = growth * math.exp(_interpolate(flops, np.log(values)))
    return best / _WIDTH_FACTOR, best * _WIDTH_FACTOR


def distances(config: RegNetConfig, flops: float) -> tuple[float, ...]:
    """Returns how far depth, w_m and group width are from the best values.

    In units of the band's half width: a network is in the band of figure 11
    if none is above 1.

    Example:
    >>> config = RegNetConfig(18, 80, 34.01, 2.36, group_width=16)
    >>> [round(x, 2) for x in distances(config, 1.6e9)]
    [0.5, 0.5, 1.0]
    """
    depth, w_m, group_width = best_values(flops)
    differences = (
        config.depth - depth,
        config.w_m - w_m,
        # All that are proposed have groups.
        math.log2(cast(int, config.group_width) / group_width),
    )
    return tuple(
        abs(difference) / half
        for difference, half in zip(differences, BAND, strict=True)
    )


def parse_amount(name: str, value: float | str) -> float:
    """Returns a number above 0 that may be written with a suffix.

    Example:
    >>> parse_amount("flops", "1.6GF"), parse_amount("params", "5m")
    (1600000000.0, 5000000.0)
    """
    amount = None
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([\d.]+(?:e\d+)?)\s*([A-Za-z]*)\s*", value)
        if match and match[2].upper() in _SUFFIXES and match[1].count(".") < 2:
            amount = float(match[1]) * _SUFFIXES[match[2].upper()]
    elif isinstance(value, numbers.Real):
        amount = float(value)
    if amount is None or not 0 < amount < math.inf:
        raise ValueError(
            f"`{name}` must be a number above 0, such as 500e6, '500MF', "
            f"'1.6GF' or '5M'. Received: {name}={value!r}"
        )
    return amount


def _budget(name, value, used):
    """Returns (min, max) of one number or of two."""
    if value is None:
        return None
    if isinstance(value, list | tuple):
        pair = tuple(parse_amount(name, end) for end in value)
        lower, upper = sampling.check_range(name, pair)
    else:
        upper = parse_amount(name, value)
        lower = upper * used
    if upper < _MIN_AMOUNT:
        unit = "MF" if name == "flops" else "M"
        raise ValueError(
            f"`{name}` is less than any network has; it may need its unit, "
            f"such as '{upper:g}{unit}'. Received: {name}={value!r}"
        )
    return lower, upper


def _space(family, flops):
    """RegNets around the best of a regime."""
    if not isinstance(family, str) or family.lower() not in _FAMILIES:
        raise errors.unknown_value("family", family, _FAMILIES)
    depth, w_m, group_width = best_values(flops)
    w_0, w_a = (_width_range(flops, values) for values in _FIGURE_11[4:])
    first, last = (max(1, round(end / 8)) for end in w_0)
    slopes = domains.log_uniform(round(10 * w_a[0]), round(10 * w_a[1]), 1)
    near = [_WIDER * half for half in BAND]
    return (
        registry.space(_FAMILIES[family.lower()])
        .vary(
            group_width=range(8, 4 * round(group_width) + 1, 8),
            w_0=domains.log_uniform(8 * first, 8 * last, 8),
            w_a=domains.scaled(slopes, 10),
        )
        .restrict(
            bottleneck_ratio=1,
            depth=(max(12, depth - near[0]), min(28, depth + near[0])),
            w_m=(max(2, w_m - near[1]), min(3, w_m + near[1])),
        )
    )


def _order(sample):
    """Indices of a sample, what is nearest to figure 11 first."""
    apart = np.array(
        [
            distances(config, flops)
            for config, flops in zip(sample, sample.flops.tolist(), strict=True)
        ]
    )
    activations = sample.activations / limits.max_activations(sample.flops)
    params = sample.params / limits.max_params(sample.flops)
    above = np.maximum(np.maximum(activations, params) - 1, 0) / _MARGIN
    badness = (apart**2).sum(axis=1) + above**2 + activations
    return np.argsort(badness, kind="stable")


def propose(
    flops: Amount = "500MF",
    params: Amount | None = None,
    activations: Amount | None = None,
    family: str = "regnety",
    n: int = 10,
    latency: Callable[[RegNetConfig], float] | None = None,
    max_latency: float | None = None,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    classes: int = 1000,
    seed: int = 0,
) -> Proposals:
    """Returns RegNets inside a budget, the most promising first.

    Promising is what section 4 of the paper found: depth near 20, w_m near
    2.5 and a group width that fits the regime, all as figure 11 has them, and
    few activations. Bottleneck ratio 1, 12 to 28 blocks and w_m of 2 and more
    are a must. No network is trained here: train
    the first few for a short time and keep the best.

    Args:
      flops: max number of multiply-adds, at least 95 % of which are used; or
        (min, max).
      params: max number of parameters, or (min, max).
      activations: max number of activations, or (min, max).
      family: "regnetx" or "regnety".
      n: how many networks.
      latency: measures a configuration, in any unit; infinity where it
        cannot run. At most 200 are measured, the most promising first.
      max_latency: the highest latency allowed, in that unit.
      input_shape: (height, width, channels).
      classes: number of classes.
      seed: other seeds look at other candidates.

    Returns:
      `Proposals`, a sequence of `RegNetConfig`; fewer than n if few
      have the requested latency.

    Raises:
      ValueError: if an argument is not allowed, the budget is impossible or
        no candidate is fast enough; says how near the nearest came.

    Source:
      Paper, section 4.

    Example:
    >>> first = propose(flops="400MF", params="6M", n=3)[0]
    >>> first.block, first.se_ratio, 12 <= first.depth <= 20
    ('x', 0.25, True)
    """
    _check_latency(latency, max_latency)
    budget = {
        "flops": _budget("flops", flops, _USED),
        "params": _budget("params", params, 0.0),
        "activations": _budget("activations", activations, 0.0),
    }
    sampling.check_counts(n=n)
    low, high = budget["flops"]
    space = _space(family, math.sqrt(max(low, 1.0) * high))
    sample = sampling.sample(
        space,
        np.random.default_rng(seed),
        max(_CHOICE * n, _MEASURED_AT_MOST if latency else 0),
        budget,
        input_shape,
        classes,
        _MAX_CANDIDATES,
        min_networks=n,
    )
    kept, latencies = _order(sample)[:n], None
    if latency is not None:
        kept, latencies = _fast(sample, _order(sample), n, latency, max_latency)
    return Proposals(
        tuple(sample[index] for index in kept),
        sample.flops[kept],
        sample.params[kept],
        sample.activations[kept],
        latencies,
    )


def _check_latency(latency, max_latency):
    if (latency is None) != (max_latency is None):
        raise ValueError(
            "`latency` and `max_latency` must be given together. Received: "
            f"latency={latency!r}, max_latency={max_latency!r}"
        )
    if latency is not None and not callable(latency):
        raise ValueError(
            "`latency` must be a function of a configuration. "
            f"Received: latency={latency!r}"
        )
    is_number = isinstance(max_latency, numbers.Real)
    if max_latency is not None and not (is_number and max_latency > 0):
        raise ValueError(
            "`max_latency` must be a number above 0. "
            f"Received: max_latency={max_latency!r}"
        )


def _measure(latency, config):
    measured = latency(config)
    # A negative time and NaN are not measurements.
    if not isinstance(measured, numbers.Real) or not float(measured) >= 0:
        raise ValueError(
            "`latency` must return a number of 0 or more. "
            f"Received: {measured!r} for {config}"
        )
    return float(measured)


def _fast(sample, order, n, latency, max_latency):
    """Measures in order until enough are fast, at most 200."""
    kept, latencies, fastest = [], [], math.inf
    for index in order[:_MEASURED_AT_MOST]:
        measured = _measure(latency, sample[index])
        fastest = min(fastest, measured)
        if measured <= max_latency:
            kept.append(index)
            latencies.append(measured)
        if len(kept) == n:
            break
    if not kept and fastest == math.inf:
        raise ValueError(
            "`latency` must be finite for a network in the budget. Received: "
            f"infinity for {min(_MEASURED_AT_MOST, len(order))} of them"
        )
    if not kept:
        raise ValueError(
            f"`max_latency` must be at least {fastest:g}, the lowest of "
            f"{min(_MEASURED_AT_MOST, len(order))} networks in the budget. "
            f"Received: max_latency={max_latency!r}"
        )
    return np.array(kept), np.array(latencies)
