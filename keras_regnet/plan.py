"""From a configuration to the stages that are built.

The quantized linear function of the paper (section 3.3, equations 2 to 4) and
the compatibility of widths and groups (appendix D). No Keras here.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

from keras_regnet.config import AnyNetConfig
from keras_regnet.config import as_fraction
from keras_regnet.config import inner_width
from keras_regnet.config import NetworkTemplate
from keras_regnet.config import RegNetConfig

# Widths of a RegNet are multiples of this before groups are considered.
_WIDTH_QUANTUM = 8
# torchvision adds one group where rounding takes away more than a tenth.
_MIN_KEPT_WIDTH = 0.9


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of a network: blocks of one width.

    Args:
      depth: number of blocks.
      width: channels of each block's output.
      stride: stride of the first block.
      inner_width: channels of each block's 3x3 convolution.
      group_width: channels per group of the 3x3 convolution.
      first_inner_width: channels of the first block's 3x3 convolution.
      first_groups: its number of groups.
      dilation: dilation of the 3x3 convolutions.
      first_dilation: dilation of the first one, which stands where the
        stride was and still sees the undilated image.
    """

    depth: int
    width: int
    stride: int
    inner_width: int
    group_width: int
    first_inner_width: int
    first_groups: int
    dilation: int = 1
    first_dilation: int = 1

    @property
    def nominal_stride(self) -> int:
        """Stride of the first block before any was replaced by dilation."""
        return self.stride * self.dilation // self.first_dilation

    @property
    def groups(self) -> int:
        """Number of groups of the 3x3 convolutions, but for the first."""
        return self.inner_width // self.group_width

    def inner_of(self, first: bool) -> tuple[int, int]:
        """Channels and groups of the 3x3 of the first or another block."""
        if first:
            return self.first_inner_width, self.first_groups
        return self.inner_width, self.groups


def block_widths(
    depth: int, w_0: float, w_a: float, w_m: float
) -> tuple[int, ...]:
    """Returns the width of every block, before groups are considered.

    Args:
      depth: number of blocks d.
      w_0: initial width in channels.
      w_a: slope in channels per block.
      w_m: ratio between quantised widths.

    Returns:
      `depth` widths in channels, not decreasing, multiples of 8. Exact halves
      round to even, as in the paper's implementation.

    Source:
      Paper, equations 2 to 4.

    Example:
    >>> block_widths(5, 24, 36.44, 2.49)
    (24, 56, 152, 152, 152)
    """
    linear = w_0 + w_a * np.arange(depth)
    exponents = np.round(np.log(linear / w_0) / np.log(w_m))
    widths = w_0 * np.power(float(w_m), exponents)
    rounded = np.round(widths / _WIDTH_QUANTUM).astype(int) * _WIDTH_QUANTUM
    # A w_0 under 4 would round to no channels at all.
    return tuple(np.maximum(rounded, _WIDTH_QUANTUM).tolist())


def _round_pycls(width, quantum):
    return max(quantum, round(width / quantum) * quantum)


def _round_torchvision(width, quantum):
    rounded = max(quantum, int(width + quantum / 2) // quantum * quantum)
    return rounded + quantum * (rounded < _MIN_KEPT_WIDTH * width)


_ROUNDINGS = {"pycls": _round_pycls, "torchvision": _round_torchvision}


def compatible_width(
    width: int,
    bottleneck_ratio: float,
    group_width: int | None,
    width_rounding: str = "pycls",
) -> tuple[int, int | None]:
    """Returns a stage's width and group width that fit each other.

    Args:
      width: channels asked for.
      bottleneck_ratio: b = width / inner width.
      group_width: channels per group; None for no groups.
      width_rounding: "pycls" or "torchvision", see `RegNetConfig`.

    Returns:
      The width nearest to the one asked for, and the group width, which is
      never above the inner width and divides it.

    Source:
      Paper, appendix D. Where the inner width exceeds the width it must also
      be a multiple of their ratio (of its numerator, for a ratio such as
      5/2), hence the least common multiple.

    Example:
    >>> compatible_width(392, 1, 16), compatible_width(80, 1, 120)
    ((384, 16), (80, 80))
    """
    if group_width is None:
        return width, None
    inner = inner_width(width, bottleneck_ratio)
    group_width = min(group_width, inner)
    expansion = 1 / as_fraction(bottleneck_ratio)
    quantum = math.lcm(group_width, expansion.numerator)
    inner = _ROUNDINGS[width_rounding](inner, quantum)
    return int(inner / expansion), group_width


def anynet_config(config: RegNetConfig) -> AnyNetConfig:
    """Returns the same network, given stage by stage.

    Args:
      config: the parameters of the quantized linear function.

    Returns:
      An `AnyNetConfig` with as many stages as the function has levels.

    Raises:
      ValueError: if `strides` is given per stage and there are more or fewer
        stages.

    Example:
    >>> config = RegNetConfig(13, 24, 36.44, 2.49, group_width=8)
    >>> anynet_config(config).widths, anynet_config(config).depths
    ((24, 56, 152, 368), (1, 1, 4, 7))
    """
    levels, depths = np.unique(
        block_widths(config.depth, config.w_0, config.w_a, config.w_m),
        return_counts=True,
    )
    fitted = [
        compatible_width(
            width,
            config.bottleneck_ratio,
            config.group_width,
            config.width_rounding,
        )
        for width in levels.tolist()
    ]
    shared = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(AnyNetConfig)
        if field.kw_only
    }
    return AnyNetConfig(
        depths=depths,
        widths=[width for width, _ in fitted],
        strides=config.strides,
        bottleneck_ratios=config.bottleneck_ratio,
        group_widths=[group_width for _, group_width in fitted],
        **shared,
    )


def stages(config: RegNetConfig | AnyNetConfig) -> tuple[Stage, ...]:
    """Returns the stages that are built for a configuration.

    Args:
      config: a `RegNetConfig` or an `AnyNetConfig`.

    Returns:
      One `Stage` for each stage, from the stem to the head.

    Example:
    >>> config = RegNetConfig(13, 24, 36.44, 2.49, group_width=8)
    >>> [stage.groups for stage in stages(config)]
    [3, 7, 19, 46]
    """
    if isinstance(config, RegNetConfig):
        config = anynet_config(config)
    ratios = config.bottleneck_ratios
    inner_widths = tuple(map(inner_width, config.widths, ratios))
    first_inner_widths = inner_widths
    if config.expand_from == "input":
        inputs = (config.stem_width, *config.widths[:-1])
        first_inner_widths = tuple(map(inner_width, inputs, ratios))
    columns = zip(
        config.depths,
        config.widths,
        config.strides,
        inner_widths,
        config.group_widths,
        first_inner_widths,
        strict=True,
    )
    return tuple(
        Stage(
            depth,
            width,
            stride,
            inner,
            group_width or inner,
            first_inner,
            first_groups=first_inner // (group_width or first_inner),
        )
        for depth, width, stride, inner, group_width, first_inner in columns
    )


@dataclasses.dataclass(frozen=True)
class StemConv:
    """One convolution of a stem.

    Args:
      name: of its layer.
      width: channels of its output.
      kernel: height and width of the kernel.
      stride: stride.
      bare: whether neither norm nor activation follow.
    """

    name: str
    width: int
    kernel: int
    stride: int
    bare: bool


# Share of the stem's width, kernel and stride of each of its convolutions.
_STEM_CONVS = {
    "simple": ((1, 3, 2),),
    "cifar": ((1, 3, 1),),
    "resnet": ((1, 7, 2),),
    "tiered": ((3 / 8, 3, 2), (1 / 2, 3, 1), (1, 3, 2)),
}


def stem_convs(config: NetworkTemplate) -> tuple[StemConv, ...]:
    """Returns the convolutions of a network's stem.

    Args:
      config: a `RegNetConfig` or an `AnyNetConfig`.

    Returns:
      From the image on; the last has the stem's whole width, and is bare in
      front of pre-activation blocks, which begin with a norm of their own.

    Example:
    >>> config = AnyNetConfig((1,), (64,), stem="tiered", stem_width=64)
    >>> [(conv.width, conv.stride) for conv in stem_convs(config)]
    [(24, 2), (32, 1), (64, 2)]
    """
    shapes = _STEM_CONVS[config.stem]
    names = ["stem_conv"]
    if len(shapes) > 1:
        names = [f"stem_conv{number}" for number in range(1, len(shapes) + 1)]
    convs = [
        StemConv(
            name, max(1, round(share * config.stem_width)), *shape, bare=False
        )
        for name, (share, *shape) in zip(names, shapes, strict=True)
    ]
    if config.block == "pre":
        convs[-1] = dataclasses.replace(convs[-1], bare=True)
    return tuple(convs)


def stem_stride(stem: str) -> int:
    """Returns the factor by which a stem shrinks the image.

    Args:
      stem: "simple", "cifar", "resnet" or "tiered".

    Returns:
      2, 1, 4 or 4.
    """
    stride = math.prod(stride for _, _, stride in _STEM_CONVS[stem])
    return stride * (2 if stem == "resnet" else 1)


def dilate(
    stages: Sequence[Stage], stem_stride: int, output_stride: int
) -> tuple[Stage, ...]:
    """Replaces strides by dilation once the image has shrunk enough.

    Args:
      stages: the stages, from the stem to the head.
      stem_stride: the factor by which the stem shrinks the image.
      output_stride: the factor by which the network may shrink it.

    Returns:
      The stages, with stride 1 and growing dilation from where
      `output_stride` is reached: the same weights compute the same features,
      at more places.

    Raises:
      ValueError: if `output_stride` is none that these stages pass through.

    Source:
      arXiv 1606.00915, section 3.1.

    Example:
    >>> config = RegNetConfig(13, 24, 36.44, 2.49, group_width=8)
    >>> dilated = dilate(stages(config), 2, output_stride=8)
    >>> [(stage.stride, stage.dilation) for stage in dilated]
    [(2, 1), (2, 1), (1, 2), (1, 4)]
    """
    reached = [stem_stride]
    for stage in stages:
        reached.append(reached[-1] * stage.stride)
    if output_stride not in reached:
        raise ValueError(
            f"`output_stride` must be one of {sorted(set(reached))}, which "
            "the strides of stem and stages multiply to. "
            f"Received: output_stride={output_stride!r}"
        )
    return tuple(
        dataclasses.replace(
            stage,
            stride=min(after, output_stride) // min(before, output_stride),
            dilation=max(1, after // output_stride),
            first_dilation=max(1, before // output_stride),
        )
        for stage, (before, after) in zip(
            stages, itertools.pairwise(reached), strict=True
        )
    )


def shortcut(block: str, inputs: int, outputs: int, stride: int) -> str | None:
    """Returns what the shortcut of a block does.

    Args:
      block: "x", "v", "vr", "z", "pre" or "basic".
      inputs: channels of the block's input.
      outputs: channels of its output.
      stride: stride of the block, before any was replaced by dilation: a
        network keeps its weights when its strides go.

    Returns:
      "identity", "project" (see `NetworkTemplate.projection`), or None for
      none.

    Example:
    >>> shortcut("x", 32, 32, 2), shortcut("z", 32, 32, 1)
    ('project', 'identity')
    """
    if block == "v":
        return None
    if inputs == outputs and stride == 1:
        return "identity"
    return None if block == "z" else "project"
