"""From blocks to layers: the one description of what a network is made of.

One row for each layer: `complexity` sums the rows, `weights` reads their
names, and `blocks` builds Keras layers from them. Widths are integers, or
arrays as in `keras_regnet.plan`. No Keras here.
"""

import math
from collections.abc import Iterator
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_regnet import plan
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import NetworkTemplate
from keras_regnet.config import RegNetConfig
from keras_regnet.plan import Block
from keras_regnet.plan import Stage
from keras_regnet.widths import Width

# The layer that normalizes images; saved models hold this spelling.
NORMALIZATION = "normalise"


class Layer(NamedTuple):
    """One layer that has weights, or pools a window.

    Args:
      name: the Keras layer's, such as "stage1_block2_conv1_bn".
      kind: "conv", "gate" (a 1x1 convolution with bias of one pixel), "dense",
        "pool" or a norm: "norm" (batch norm), "group_norm", "evonorm" or, if
        it is the activation as well, "evonorm_act".
      inputs: channels of its input.
      outputs: channels of its output.
      kernel: height and width of its window, in pixels.
      group_width: input channels per group, of a convolution or a norm.
      stride: stride.
      dilation: dilation.
      reduction: by which factor the image has shrunk at its output; 0 where a
        global pool left one pixel.
      part: the name within its block, stem or head, such as "conv1_bn".
      stage: number of its stage from 1, 0 for the stem and the head.
      block: number of its block from 1, 0 for the stem and the head.
    """

    name: str
    kind: str
    inputs: Width
    outputs: Width
    kernel: int
    group_width: Width
    stride: int
    dilation: int
    reduction: int
    part: str
    stage: int = 0
    block: int = 0

    @property
    def groups(self) -> Width:
        """Number of groups."""
        return self.inputs // self.group_width

    @property
    def has_bias(self) -> bool:
        """Whether a bias is added to the product."""
        return self.kind in ("gate", "dense")

    @property
    def norm_parameters(self) -> int:
        """Parameters of each channel of a norm; 0 if it is not one."""
        return _NORM_PARAMETERS.get(self.kind, 0)


# Factor and offset; of EvoNorm's activation the factor within the sigmoid.
_NORM_PARAMETERS = {"norm": 2, "group_norm": 2, "evonorm": 2, "evonorm_act": 3}

# Of each norm the kind with an activation behind it, and without.
_NORM_KINDS = {
    "batch": ("norm", "norm"),
    "group": ("group_norm", "group_norm"),
    "evonorm_s0a": ("evonorm_act", "evonorm"),
}


def _conv(
    part,
    inputs,
    outputs,
    reduction,
    kernel=1,
    stride=1,
    *,
    group_width=None,
    dilation=1,
    kind="conv",
):
    if group_width is None:
        group_width = inputs
    return Layer(
        part,
        kind,
        inputs,
        outputs,
        kernel,
        group_width,
        stride,
        dilation,
        reduction,
        part,
    )


def _norm(template, part, width, reduction, *, act=True):
    """A norm; `act` says whether an activation follows it."""
    with_act, without = _NORM_KINDS[template.norm]
    group_width = width
    if template.norm != "batch":
        group_width = _common_divisor(width, template.norm_group_width)
    return _conv(
        part,
        width,
        width,
        reduction,
        group_width=group_width,
        kind=with_act if act else without,
    )


def _common_divisor(width, group_width):
    if isinstance(width, np.ndarray):
        return np.gcd(width, group_width)
    return math.gcd(width, group_width)


def _conv_bn(
    template, part, inputs, outputs, reduction, *window, act=True, **options
):
    yield _conv(part, inputs, outputs, reduction, *window, **options)
    yield _norm(template, f"{part}_bn", outputs, reduction, act=act)


def _pool(part, width, reduction, kernel, stride):
    return _conv(part, width, width, reduction, kernel, stride, kind="pool")


# The fraction of the stem's width, kernel and stride of each convolution.
_STEM_CONVS = {
    "simple": ((1, 3, 2),),
    "cifar": ((1, 3, 1),),
    "resnet": ((1, 7, 2),),
    "tiered": ((3 / 8, 3, 2), (1 / 2, 3, 1), (1, 3, 2)),
    "deep": ((1, 3, 2), (1, 3, 1), (1, 3, 2)),
}


def stem_layers(
    template: NetworkTemplate, channels: int = 3
) -> tuple[Layer, ...]:
    """Returns the layers of a network's stem, from the image on.

    The last convolution has the stem's whole width, and no norm in front of
    pre-activation blocks, which begin with their own.

    Example:
    >>> config = AnyNetConfig((1,), (64,), stem="tiered", stem_width=64)
    >>> convs = [layer for layer in stem_layers(config) if layer.kind == "conv"]
    >>> [(conv.outputs, conv.stride) for conv in convs]
    [(24, 2), (32, 1), (64, 2)]
    """
    shapes = _STEM_CONVS[template.stem]
    rows, reduction = [], 1
    for number, (fraction, kernel, stride) in enumerate(shapes, start=1):
        part = f"stem_conv{number}" if len(shapes) > 1 else "stem_conv"
        width = max(1, round(fraction * template.stem_width))
        reduction *= stride
        rows += _conv_bn(
            template, part, channels, width, reduction, kernel, stride
        )
        channels = width
    if template.block == "pre":
        rows.pop()
    if template.stem == "resnet":
        rows.append(_pool("stem_pool", channels, 2 * reduction, 3, stride=2))
    return tuple(rows)


def stem_stride(template: NetworkTemplate) -> int:
    """Returns the factor by which the stem shrinks the image: 1, 2 or 4."""
    return stem_layers(template)[-1].reduction


def _grouped(block, reduction):
    return {
        "inputs": block.inner,
        "outputs": block.inner,
        "reduction": reduction,
        "kernel": 3,
        "stride": block.stride,
        "group_width": block.group_width,
        "dilation": block.dilation,
    }


def _gates(block):
    if block.squeeze is not None:
        yield _conv("se_reduce", block.inner, block.squeeze, 0, kind="gate")
        yield _conv("se_expand", block.squeeze, block.inner, 0, kind="gate")


def _bottleneck(template, block, before, after):
    """1x1, 3x3 in groups, [SE], 1x1: blocks X, Y, R and Z."""
    yield from _conv_bn(template, "conv1", block.inputs, block.inner, before)
    yield from _conv_bn(template, "conv2", **_grouped(block, after))
    yield from _gates(block)
    yield from _conv_bn(
        template, "conv3", block.inner, block.width, after, act=False
    )


def _pre_activated(template, block, before, after):
    """The same with a norm before each convolution."""
    yield _norm(template, "norm1", block.inputs, before)
    yield _conv("conv1", block.inputs, block.inner, before)
    yield _norm(template, "norm2", block.inner, before)
    yield _conv("conv2", **_grouped(block, after))
    yield from _gates(block)
    yield _norm(template, "norm3", block.inner, after)
    yield _conv("conv3", block.inner, block.width, after)


def _plain(template, block, before, after, *, act=False):
    """One 3x3: blocks V and VR."""
    del before
    yield from _conv_bn(
        template,
        "conv1",
        block.inputs,
        block.width,
        after,
        3,
        block.stride,
        dilation=block.dilation,
        act=act,
    )


def _basic(template, block, before, after):
    """3x3, 3x3: the basic residual block."""
    yield from _plain(template, block, before, after, act=True)
    yield from _conv_bn(
        template,
        "conv2",
        block.width,
        block.width,
        after,
        3,
        dilation=block.dilation * block.nominal_stride // block.stride,
        act=False,
    )


_MAIN_PATHS = {
    "x": _bottleneck,
    "z": _bottleneck,
    "pre": _pre_activated,
    "v": _plain,
    "vr": _plain,
    "basic": _basic,
}


def main_layers(
    template: NetworkTemplate, block: Block, reduction: int
) -> Iterator[Layer]:
    """Yields the layers of a block's main path, named by their parts.

    `reduction` is the factor by which the image has shrunk in front of it.
    """
    after = reduction * block.stride
    return _MAIN_PATHS[template.block](template, block, reduction, after)


def shortcut_layers(
    template: NetworkTemplate, block: Block, reduction: int
) -> Iterator[Layer]:
    """Yields the layers of a projection, as `main_layers` does."""
    reduction *= block.stride
    stride = block.stride
    if template.projection == "pool" and stride > 1:
        yield _pool("shortcut_pool", block.inputs, reduction, stride, stride)
        stride = 1
    row = "shortcut", block.inputs, block.width, reduction, 1, stride
    if template.block == "pre":
        yield _conv(*row)
    else:
        yield from _conv_bn(template, *row, act=False)


def head_layers(
    template: NetworkTemplate, inputs: Width, classes: int, reduction: int
) -> Iterator[Layer]:
    """Yields the layers of a network's head, without classes no classifier."""
    if template.head_width:
        yield from _conv_bn(
            template, "head_conv", inputs, template.head_width, reduction
        )
        inputs = template.head_width
    if classes:
        yield _conv("head_fc", inputs, classes, 0, kind="dense")


def layers(
    config: RegNetConfig | AnyNetConfig,
    planned: Sequence[Stage[int]] | None = None,
    channels: int = 3,
    classes: int = 1000,
) -> Iterator[Layer]:
    """Yields all layers of a network, one row each.

    Args:
      config: a `RegNetConfig` or an `AnyNetConfig`.
      planned: its stages, such as `dilate` returns; None for those of
        `plan.stages`.
      channels: channels of the image.
      classes: outputs of the classifier, 0 for none.

    Yields:
      `Layer`s, from the stem to the head.

    Example:
    >>> config = AnyNetConfig((1,), (32,), strides=1)
    >>> [layer.name for layer in layers(config)][-3:]
    ['stage1_block1_conv3', 'stage1_block1_conv3_bn', 'head_fc']
    """
    stem = stem_layers(config, channels)
    yield from stem
    reduction, width = stem[-1].reduction, stem[-1].outputs
    if planned is None:
        planned = plan.stages(config)
    for number, stage in enumerate(planned, start=1):
        for index, block in enumerate(stage.blocks, start=1):
            yield from _block_layers(config, block, reduction, number, index)
            reduction *= block.stride
        width = stage.width
    yield from head_layers(config, width, classes, reduction)


def _block_layers(config, block, reduction, stage, number):
    rows = [*main_layers(config, block, reduction)]
    if block.projections:
        rows += shortcut_layers(config, block, reduction)
    for row in rows:
        name = f"stage{stage}_block{number}_{row.part}"
        yield row._replace(name=name, stage=stage, block=number)
