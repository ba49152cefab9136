"""Larger and smaller networks from one, by compound scaling. No Keras here."""

import dataclasses
import math
import numbers
from collections.abc import Sequence
from typing import cast
from typing import NamedTuple

from keras_regnet import plan
from keras_regnet import variants
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import PLAIN_BLOCKS
from keras_regnet.config import RegNetConfig
from keras_regnet.design_space import checks
from keras_regnet.widths import compatible_width
from keras_regnet.widths import inner_width
from keras_regnet.widths import WIDTH_QUANTUM

_ALPHA = 0.8
_IMAGE_QUANTUM = 4
_MAX_FACTOR = 1024
_DIMENSIONS = 3


class ScaledNetwork(NamedTuple):
    """A scaled network.

    Args:
      config: the network, stage by stage.
      image_size: height and width of its images, in pixels.
    """

    config: AnyNetConfig
    image_size: int


def scale(
    config: RegNetConfig | AnyNetConfig | str,
    factor: float,
    alpha: float | None = None,
    *,
    proportions: Sequence[float] | None = None,
    scale_groups: bool = True,
    image_size: int = 224,
) -> ScaledNetwork:
    """Returns a network of about `factor` times as many multiply-adds.

    Fast compound scaling, dWr: multiply-adds grow mostly by width, so that
    activations, and with them time on accelerators, grow little faster than
    the square root of `factor`. Depths, widths, group widths and the image are
    rounded as pycls's scaler does; what they come to `keras_regnet.complexity`
    says. Stem, head, strides and bottleneck ratios stay.

    Args:
      config: the network, or the name of a published one.
      factor: how many times as many multiply-adds, above 0 and at most 1024;
        below 1 the network shrinks.
      alpha: the fraction of the growth, as an exponent of `factor`, that is
        width's; depth and resolution share the rest. 1 is width alone, 1/3
        equal growth of all three, 0 none of width. None for 0.8, the paper's.
      proportions: of the growth of depth, width and resolution, in place of
        `alpha`: (1, 8, 1) is alpha=0.8, (1, 0, 0) depth alone.
      scale_groups: whether group widths grow as widths do, to 1, 2, 4 or a
        multiple of 8; with False they stay.
      image_size: height and width of the images before, in pixels. The size
        that evaluation resizes to before it crops is scaled by another call.

    Returns:
      A `ScaledNetwork` of the configuration and the image size, which is a
      multiple of 4.

    Raises:
      ValueError: if an argument is not allowed, the published network is
        unknown, or the result is larger than any configuration may be.

    Source:
      arXiv 2103.06877, sections 3 and 6; roundings of pycls 5719de6.

    Example:
    >>> scaled = scale("RegNetY-4.0GF", 4)
    >>> scaled.config.depths, scaled.config.widths, scaled.image_size
    ((2, 7, 14, 2), (224, 336, 896, 1904), 240)
    >>> from keras_regnet.complexity import complexity
    >>> f"{complexity(scaled.config, (240, 240, 3)).flops / 1e9:.1f} GF"
    '15.6 GF'
    """
    _check_factor(factor)
    checks.check_count("image_size", image_size)
    if isinstance(config, str):
        config = variants.get_config(config)
    if isinstance(config, RegNetConfig):
        config = plan.anynet_config(config)
    if not isinstance(config, AnyNetConfig):
        raise ValueError(
            "`config` must be a RegNetConfig, an AnyNetConfig or the name of a "
            f"published network. Received: config={config!r}"
        )
    depth, width, resolution = _exponents(alpha, proportions)
    by_width = factor ** (width / 2)
    widths, group_widths = _scaled_widths(
        config, by_width, by_width if scale_groups else 1.0
    )
    scaled = dataclasses.replace(
        config,
        depths=tuple(max(1, round(d * factor**depth)) for d in config.depths),
        widths=widths,
        group_widths=group_widths,
    )
    pixels = image_size * factor ** (resolution / 2)
    return ScaledNetwork(scaled, _multiple(pixels, _IMAGE_QUANTUM))


def _check_factor(factor):
    is_number = isinstance(factor, numbers.Real) and factor is not True
    if not is_number or not 0 < factor <= _MAX_FACTOR:
        raise ValueError(
            f"`factor` must be a number above 0 and at most {_MAX_FACTOR}. "
            f"Received: factor={factor!r}"
        )


def _exponents(alpha, proportions):
    """Returns the exponents of depth, width and resolution; they sum to 1."""
    if proportions is not None:
        return _normalized(alpha, proportions)
    if alpha is None:
        alpha = _ALPHA
    if not isinstance(alpha, numbers.Real) or not 0 <= float(alpha) <= 1:
        raise ValueError(
            f"`alpha` must be a number from 0 to 1. Received: alpha={alpha!r}"
        )
    width = float(alpha)
    return (1 - width) / 2, width, (1 - width) / 2


def _normalized(alpha, proportions):
    if alpha is not None:
        raise ValueError(
            "`alpha` must be None where `proportions` are given. "
            f"Received: alpha={alpha!r}, proportions={proportions!r}"
        )
    values = checks.vector("proportions", proportions)
    if len(values) != _DIMENSIONS or (values < 0).any() or not values.any():
        raise ValueError(
            "`proportions` must be three numbers of 0 or more, not all 0: of "
            f"depth, width, resolution. Received: proportions={proportions!r}"
        )
    return (values / values.sum()).tolist()


def _multiple(value, quantum):
    return max(1, round(value / quantum)) * quantum


def _scaled_widths(config, by_width, by_group):
    """Returns widths and group widths of the stages, which fit each other."""
    widths, group_widths = [], []
    inputs = config.stem_width
    for width, ratio, group_width in zip(
        config.widths,
        config.bottleneck_ratios,
        config.group_widths,
        strict=True,
    ):
        scaled = _multiple(width * by_width, WIDTH_QUANTUM)
        groups = None
        if config.block not in PLAIN_BLOCKS:
            # A convolution without groups is one whose group is all of it, and
            # grows with it.
            groups = (
                _scaled_group_width(inner_width(width, ratio), by_width)
                if group_width is None
                else _scaled_group_width(group_width, by_group)
            )
            scaled, groups = compatible_width(scaled, ratio, groups)
            if config.expand_from == "input":
                # The first block's convolution has the groups of the others.
                groups = math.gcd(cast(int, groups), inner_width(inputs, ratio))
        widths.append(scaled)
        group_widths.append(None if group_width is None else groups)
        inputs = scaled
    return widths, group_widths


def _scaled_group_width(group_width, by_group):
    scaled = max(1, round(group_width * by_group))
    if scaled <= 2:
        return scaled
    return 4 if scaled <= 5 else _multiple(scaled, 8)
