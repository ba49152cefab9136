"""From a configuration to the stages and blocks that are built.

Each block is one row of numbers, from which `keras_regnet.rows` derives the
rows of its layers. Widths are integers, or arrays with an entry for each of
many networks (`keras_regnet.design_space.arrays`). No Keras here.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Generic
from typing import NamedTuple

import numpy as np

from keras_regnet.config import AnyNetConfig
from keras_regnet.config import NetworkTemplate
from keras_regnet.config import RegNetConfig
from keras_regnet.widths import block_widths
from keras_regnet.widths import compatible_width
from keras_regnet.widths import inner_width
from keras_regnet.widths import W

_SQUEEZE_QUANTUM = 8


class Block(NamedTuple, Generic[W]):
    """One block.

    Args:
      inputs: channels of its input.
      width: channels of its output.
      inner: channels of its grouped 3x3 convolution.
      group_width: channels per group of that convolution.
      stride: stride of its first 3x3 convolution.
      nominal_stride: the stride before it was replaced by dilation.
      dilation: dilation of its first 3x3 convolution.
      squeeze: channels between the two convolutions of
        squeeze-and-excitation; None for none.
      has_sum: whether a shortcut is added to the main path, or an array.
      projections: convolutions on the shortcut, 0 or 1, or an array.
    """

    inputs: W | int
    width: W
    inner: W
    group_width: W
    stride: int
    nominal_stride: int
    dilation: int
    squeeze: W | int | None
    has_sum: bool | np.ndarray
    projections: W | int


@dataclasses.dataclass(frozen=True)
class Stage(Generic[W]):
    """One stage: blocks of one width, the first of which has the stride.

    Args:
      depth: number of blocks.
      first: the first block.
      rest: each of the other blocks, also where there is none.
    """

    depth: W
    first: Block[W]
    rest: Block[W]

    @property
    def blocks(self: "Stage[int]") -> tuple[Block[int], ...]:
        """All blocks in their order."""
        return (self.first, *[self.rest] * (self.depth - 1))

    @property
    def width(self) -> W:
        """Channels of each block's output."""
        return self.rest.width

    @property
    def stride(self) -> int:
        """Stride of the first block."""
        return self.first.stride

    @property
    def inner_width(self) -> W:
        """Channels of the 3x3 convolutions, but for the first."""
        return self.rest.inner

    @property
    def group_width(self) -> W:
        """Channels per group of these convolutions."""
        return self.rest.group_width

    @property
    def groups(self) -> W:
        """Number of groups of these convolutions."""
        return self.rest.inner // self.rest.group_width


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
        depths=depths.tolist(),
        widths=[width for width, _ in fitted],
        strides=config.strides,
        bottleneck_ratios=config.bottleneck_ratio,
        group_widths=[group_width for _, group_width in fitted],
        **shared,
    )


def stages(config: RegNetConfig | AnyNetConfig) -> tuple[Stage[int], ...]:
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
    planned: list[Stage[int]] = []
    inputs = config.stem_width
    for depth, width, stride, ratio, group_width in zip(
        config.depths,
        config.widths,
        config.strides,
        config.bottleneck_ratios,
        config.group_widths,
        strict=True,
    ):
        expanded = inputs if config.expand_from == "input" else width
        first, rest = inner_width(expanded, ratio), inner_width(width, ratio)
        planned.append(
            make_stage(
                config,
                depth,
                inputs,
                width,
                stride,
                (rest, group_width or rest),
                (first, group_width or first),
            )
        )
        inputs = width
    return tuple(planned)


def make_stage(
    template: NetworkTemplate,
    depth: W,
    inputs: W | int,
    width: W,
    stride: int,
    inner: tuple[W, W],
    first_inner: tuple[W, W] | None = None,
) -> Stage[W]:
    """Returns one stage, of one network or of many.

    `inner` is channels and group width of the 3x3 convolutions; `first_inner`
    those of the first block, if they differ.
    """
    first = _block(template, inputs, width, stride, first_inner or inner)
    return Stage(depth, first, _block(template, width, width, 1, inner))


def _block(template, inputs, width, stride, inner):
    # One and the same array needs no comparison.
    same = stride == 1 and (inputs is width or inputs == width)
    has_sum = template.block != "v"
    if template.block == "z":
        has_sum = same
    channels, group_width = inner
    return Block(
        inputs=inputs,
        width=width,
        inner=channels,
        group_width=group_width,
        stride=stride,
        nominal_stride=stride,
        dilation=1,
        squeeze=_squeeze_width(template, inputs, channels),
        has_sum=has_sum,
        projections=has_sum * (1 - same),
    )


def _squeeze_width(template, inputs, inner):
    """The inner width of squeeze-and-excitation, None for none.

    Of the block's input it is the nearest integer, at least 1; of the inner
    width the nearest multiple of 8, halves up, at least 8.
    """
    if not template.se_ratio:
        return None
    if template.se_from == "input":
        squeeze = np.rint(inputs * template.se_ratio).astype(np.int64)
        squeeze = np.maximum(1, squeeze)
    else:
        eighths = inner * template.se_ratio / _SQUEEZE_QUANTUM
        multiples = np.floor(eighths + 0.5).astype(np.int64)
        squeeze = np.maximum(1, multiples) * _SQUEEZE_QUANTUM
    return squeeze if isinstance(squeeze, np.ndarray) else int(squeeze)


def dilate(
    planned: Sequence[Stage[int]], stem_stride: int, output_stride: int
) -> tuple[Stage[int], ...]:
    """Replaces strides by dilation once the image has shrunk enough.

    Args:
      planned: the stages, from the stem to the head.
      stem_stride: the factor by which the stem shrinks the image.
      output_stride: the factor by which the network may shrink it.

    Returns:
      The stages, with stride 1 and growing dilation from where
      `output_stride` is reached: the same weights compute the same features,
      at more pixels.

    Raises:
      ValueError: if the strides never multiply to `output_stride`.

    Source:
      arXiv 1606.00915, section 3.1.

    Example:
    >>> config = RegNetConfig(13, 24, 36.44, 2.49, group_width=8)
    >>> dilated = dilate(stages(config), 2, output_stride=8)
    >>> [(stage.stride, stage.rest.dilation) for stage in dilated]
    [(2, 1), (2, 1), (1, 2), (1, 4)]
    """
    reached = [stem_stride]
    for stage in planned:
        reached.append(reached[-1] * stage.stride)
    if output_stride not in reached:
        raise ValueError(
            f"`output_stride` must be one of {sorted(set(reached))}, which "
            "the strides of stem and stages multiply to. "
            f"Received: output_stride={output_stride!r}"
        )
    return tuple(
        _dilated(stage, *pair, output_stride)
        for stage, pair in zip(
            planned, itertools.pairwise(reached), strict=True
        )
    )


def _dilated(stage, before, after, output_stride):
    """The first 3x3 of a stage still sees the image before its stride."""
    first = stage.first._replace(
        stride=min(after, output_stride) // min(before, output_stride),
        dilation=max(1, before // output_stride),
    )
    rest = stage.rest._replace(dilation=max(1, after // output_stride))
    return Stage(stage.depth, first, rest)
