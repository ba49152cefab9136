"""Finds the quantized linear function that comes nearest to a network."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_regnet import plan
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import NetworkTemplate
from keras_regnet.config import RegNetConfig
from keras_regnet.widths import as_fraction
from keras_regnet.widths import compatible
from keras_regnet.widths import level_widths
from keras_regnet.widths import WIDTH_QUANTUM

# The grid: w_m, and the slope as a multiple of w_0. Ratios between
# neighbors are well under what moves a block to another level.
_W_M = np.arange(1100, 4001, 5) / 1000
_SLOPES = np.geomspace(0.01, 40, 1200)


@dataclasses.dataclass(frozen=True)
class RegNetFit:
    """The nearest quantized linear function.

    Args:
      config: its parameters, with what the network's blocks have in common.
      error: e_fit, the mean absolute log-ratio of the widths that it
        predicts to those of the network's blocks.
      exact: whether `config` builds the network itself, block for block.
    """

    config: RegNetConfig
    error: float
    exact: bool


def e_fit(predicted: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Returns the mean absolute log-ratio of two lists of widths.

    Args:
      predicted: widths of blocks, [..., blocks].
      observed: widths of blocks, [blocks].

    Returns:
      0 where all are equal, [...].

    Source:
      Paper, section 3.3, "mean log-ratio (absolute value)".

    Example:
    >>> round(float(e_fit(np.array([64, 128]), np.array([64, 64]))), 4)
    0.3466
    """
    return np.abs(np.log(predicted) - np.log(observed)).mean(axis=-1)


def fit_regnet(config: AnyNetConfig | RegNetConfig) -> RegNetFit:
    """Returns the RegNet that comes nearest to a network.

    The depth is the network's own. w_m and w_a / w_0 are searched on a grid;
    for each of its points the best w_0 is known in closed form. Where
    parameters on the grid, with a w_0 that is a multiple of 8, build the very
    network, the nearest of these are returned. Otherwise the nearest of all.

    Args:
      config: the network; bottleneck ratio and group width of the fit are
        those that most of its blocks have.

    Returns:
      A `RegNetFit`.

    Source:
      Paper, section 3.3 and figure 8.

    Example:
    >>> from keras_regnet.variants import get_config
    >>> fit = fit_regnet(plan.anynet_config(get_config("RegNetX-200MF")))
    >>> fit.exact, fit.config.depth, fit.config.w_0
    (True, 13, 24)
    """
    if isinstance(config, RegNetConfig):
        config = plan.anynet_config(config)
    target = _Target(config)
    return target.exact_fit() or target.nearest_fit()


@functools.lru_cache(maxsize=2)
def _levels(depth):
    """Level of each block at each point of the grid, [w_m, slopes, depth]."""
    growth = np.log(1 + _SLOPES[:, None] * np.arange(depth))
    levels = [np.round(growth / log).astype(np.int8) for log in np.log(_W_M)]
    return np.stack(levels)


class _Target:
    """A network, and the points of the grid measured against it."""

    def __init__(self, config):
        self._config = config
        self._widths = np.repeat(config.widths, config.depths)
        self._depth = len(self._widths)
        self._levels = _levels(self._depth)
        self._ratio = _most_common(config.bottleneck_ratios, config.depths)
        self._group_width = _most_common(config.group_widths, config.depths)

    def nearest_fit(self):
        """Returns the point of min e_fit, whatever it builds."""
        return self._fit(*min(map(self._nearest_slope, range(len(_W_M))))[1:])

    def _nearest_slope(self, index):
        """Returns (e_fit, w_0, w_a, w_m) of the best slope at one w_m."""
        levels = self._levels[index]
        rest = np.log(self._widths) - levels * np.log(_W_M[index])
        # The median minimizes the sum of absolute differences.
        log_w_0 = np.median(rest, axis=-1)
        errors = np.abs(rest - log_w_0[:, None]).mean(axis=-1)
        best = np.argmin(errors)
        w_0 = float(np.exp(log_w_0[best]))
        return errors[best], w_0, w_0 * _SLOPES[best], _W_M[index]

    def exact_fit(self):
        """The nearest of the points that build the network, or None."""
        depths = self._config.depths
        stage = np.repeat(np.arange(len(depths)), depths)
        points = np.argwhere((self._levels == stage).all(axis=-1))
        w_m, slope = _W_M[points[:, 0]], _SLOPES[points[:, 1]]
        slopes: dict[tuple[float, float], list[float]] = {}
        for w_0 in self._possible_w_0():
            for index in np.flatnonzero(self._builds(w_0, w_m)):
                key = (w_0, w_m[index])
                slopes.setdefault(key, []).append(w_0 * slope[index])
        if not slopes:
            return None
        # Slopes between two steps of a block are all as good: a middle one.
        fits = [
            self._fit(w_0, sorted(w_a)[len(w_a) // 2], ratio)
            for (w_0, ratio), w_a in slopes.items()
        ]
        fits = [fit for fit in fits if fit.exact]
        return min(fits, key=lambda fit: fit.error, default=None)

    def _possible_w_0(self):
        """Multiples of 8 that groups may have turned into the first width."""
        first = self._config.widths[0]
        far = max(WIDTH_QUANTUM, self._group_width or 0)
        low = max(WIDTH_QUANTUM, first - far) // WIDTH_QUANTUM
        return range(low * WIDTH_QUANTUM, first + far + 1, WIDTH_QUANTUM)

    def _builds(self, w_0, w_m):
        """At which w_m the widths and groups built are the network's."""
        levels = np.arange(len(self._config.widths), dtype=float)[:, None]
        widths, _, _ = compatible(
            level_widths(levels, w_0, w_m),
            as_fraction(self._ratio),
            self._group_width,
        )
        expected = np.array(self._config.widths)[:, None]
        return np.equal(widths, expected).all(axis=0)

    def _fit(self, w_0, w_a, w_m):
        config = RegNetConfig(
            self._depth,
            w_0,
            float(w_a),
            float(w_m),
            self._group_width,
            self._ratio,
            strides=self._strides(),
            **{
                name: getattr(self._config, name) for name in _template_fields()
            },
        )
        growth = np.log(1 + w_a / w_0 * np.arange(self._depth))
        blocks = np.round(growth / np.log(w_m))
        error = e_fit(w_0 * w_m**blocks, self._widths)
        return RegNetFit(config, float(error), self._is_built_by(config))

    def _strides(self):
        strides = self._config.strides
        return strides[0] if len(set(strides)) == 1 else 2

    def _is_built_by(self, config):
        built = plan.anynet_config(config)
        return (built.depths, built.widths, built.group_widths) == (
            self._config.depths,
            self._config.widths,
            self._config.group_widths,
        )


def _template_fields():
    return [field.name for field in dataclasses.fields(NetworkTemplate)]


def _most_common(values: Sequence[Any], depths: Sequence[int]) -> Any:
    """The value that most blocks have, the larger one in a tie."""
    blocks: dict[Any, int] = {}
    for value, depth in zip(values, depths, strict=True):
        blocks[value] = blocks.get(value, 0) + depth
    return max(blocks, key=lambda value: (blocks[value], value or 0))
