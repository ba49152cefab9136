"""The names of every tensor, ours and each family's: one map for each.

A map is regular: it follows from the stages of the network and a table of the
names of the parts of a block (`families`). It serves loading and exporting.
No Keras here.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from keras_regnet import errors
from keras_regnet import plan
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.weights.families import FAMILIES
from keras_regnet.weights.families import Layout


class Source(NamedTuple):
    """Where the value of one variable comes from.

    Args:
      name: of the tensor in the file.
      transform: a key of `keras_regnet.weights.transforms.TRANSFORMS`.
    """

    name: str
    transform: str


class Layer(NamedTuple):
    """One layer that has weights.

    Args:
      name: of the Keras layer, such as "stage1_block2_conv1_bn".
      kind: "conv", "gate" (a convolution with bias), "norm" or "dense".
      part: its name within its block, stem or head, such as "conv1_bn".
      stage: number of its stage from 1, 0 for the stem and the head.
      block: number of its block from 1, 0 for the stem and the head.
    """

    name: str
    kind: str
    part: str
    stage: int = 0
    block: int = 0


_GATE = ("se_reduce", "se_expand")
_BOTTLENECK = (
    *("conv1", "conv1_bn", "conv2", "conv2_bn"),
    *_GATE,
    *("conv3", "conv3_bn"),
)
# The parts of each block's main path that have weights, in their order.
_MAIN_PATHS = {
    "x": _BOTTLENECK,
    "z": _BOTTLENECK,
    "pre": (
        *("norm1", "conv1", "norm2", "conv2"),
        *_GATE,
        *("norm3", "conv3"),
    ),
    "v": ("conv1", "conv1_bn"),
    "vr": ("conv1", "conv1_bn"),
    "basic": ("conv1", "conv1_bn", "conv2", "conv2_bn"),
}


def _kind(part):
    if part in _GATE:
        return "gate"
    is_norm = part.endswith("_bn") or part.startswith("norm")
    return "norm" if is_norm else "conv"


def _conv_bn(name):
    yield Layer(name, "conv", name)
    yield Layer(f"{name}_bn", "norm", f"{name}_bn")


def _block_parts(config, stage, inputs, first):
    gated = bool(config.se_ratio)
    parts = _MAIN_PATHS[config.block]
    yield from (part for part in parts if gated or part not in _GATE)
    stride = stage.nominal_stride if first else 1
    kind = plan.shortcut(config.block, inputs, stage.width, stride)
    if kind == "project":
        yield "shortcut"
        if config.block != "pre":
            yield "shortcut_bn"


def _block_layers(config, stage, inputs, place):
    prefix = "stage{}_block{}_".format(*place)
    for part in _block_parts(config, stage, inputs, first=place[1] == 1):
        yield Layer(prefix + part, _kind(part), part, *place)


def _stem_layers(config):
    for conv in plan.stem_convs(config):
        kept = 1 if conv.bare else 2
        yield from itertools.islice(_conv_bn(conv.name), kept)


def first_kernel(config: RegNetConfig | AnyNetConfig) -> str:
    """Returns the path of the kernel that sees the image.

    Args:
      config: the network.

    Returns:
      Our name of the variable.

    Example:
    >>> first_kernel(AnyNetConfig((1,), (32,)))
    'stem_conv/kernel'
    """
    return f"{plan.stem_convs(config)[0].name}/kernel"


def layers(
    config: RegNetConfig | AnyNetConfig, include_top: bool = True
) -> Iterator[Layer]:
    """Yields the layers of a network that have weights.

    Args:
      config: the network.
      include_top: whether the classifier is part of it.

    Yields:
      `Layer`s, from the stem to the head.

    Example:
    >>> config = AnyNetConfig((1,), (32,), strides=1)
    >>> [layer.name for layer in layers(config)][-3:]
    ['stage1_block1_conv3', 'stage1_block1_conv3_bn', 'head_fc']
    """
    yield from _stem_layers(config)
    inputs = config.stem_width
    for number, stage in enumerate(plan.stages(config), start=1):
        for block in range(1, stage.depth + 1):
            yield from _block_layers(config, stage, inputs, (number, block))
            inputs = stage.width
    if config.head_width:
        yield from _conv_bn("head_conv")
    if include_top:
        yield Layer("head_fc", "dense", "head_fc")


def _their_name(layout, layer, with_se):
    if not layer.stage:
        return layout.ends[layer.part]
    prefix = layout.block.format(
        stage=layer.stage,
        stage_0=layer.stage - 1,
        stage_2=layer.stage + 1,
        block=layer.block,
        block_0=layer.block - 1,
        letter="Y" if with_se else "X",
    )
    parts = layout.parts
    if with_se:
        parts = {**parts, **layout.parts_with_se}
    return prefix + parts[layer.part]


def layout_of(config: RegNetConfig | AnyNetConfig, family: str) -> Layout:
    """Returns the layout that a family has for a network.

    Args:
      config: the network.
      family: a key of `FAMILIES`.

    Returns:
      One of the family's layouts.

    Raises:
      ValueError: if there is no such family, or it has no such networks.
    """
    if family not in FAMILIES:
        raise errors.unknown_value("family", family, FAMILIES)
    layout = min(
        FAMILIES[family], key=lambda layout: len(_unlike(config, layout))
    )
    unlike = _unlike(config, layout)
    if unlike:
        values = ", ".join(f"{f}={getattr(config, f)!r}" for f in unlike)
        raise ValueError(
            f"The family {family!r} has no names for a network with {values}."
        )
    return layout


def _unlike(config, layout):
    """Returns the fields in which a network has no names in a layout."""
    fields = [
        field
        for field, values in layout.allowed.items()
        if getattr(config, field) not in values
    ]
    if config.head_width and "head_conv" not in layout.ends:
        fields.append("head_width")
    return fields


def mapping(
    config: RegNetConfig | AnyNetConfig,
    family: str,
    include_top: bool = True,
    channel_order: str | None = None,
) -> dict[str, Source]:
    """Returns where each variable of a network comes from in a file.

    Args:
      config: the network.
      family: a key of `FAMILIES`.
      include_top: whether the classifier is part of it.
      channel_order: of the stem's input in the file, "RGB" or "BGR"; None
        for the family's.

    Returns:
      A dict from the path of our variable, such as
      "stage1_block1_conv1/kernel", to its `Source`; both are unique.

    Raises:
      ValueError: if there is no such family, or it has no such networks.

    Example:
    >>> config = AnyNetConfig((1,), (32,), strides=1)
    >>> mapping(config, "timm")["stage1_block1_conv1/kernel"]
    Source(name='s1.b1.conv1.conv.weight', transform='conv')
    """
    layout = layout_of(config, family)
    return mapping_of_layout(config, layout, include_top, channel_order)


def mapping_of_layout(
    config: RegNetConfig | AnyNetConfig,
    layout: Layout,
    include_top: bool = True,
    channel_order: str | None = None,
) -> dict[str, Source]:
    """Returns the same, for a layout that is known.

    Args:
      config: the network, which has names in it.
      layout: of the file's names.
      include_top: whether the classifier is part of it.
      channel_order: as in `mapping`.

    Returns:
      What `mapping` returns.
    """
    order = channel_order or layout.channel_order
    first = first_kernel(config)
    sources = {}
    for layer in layers(config, include_top):
        name = _their_name(layout, layer, bool(config.se_ratio))
        for ours, (theirs, transform) in layout.variables[layer.kind].items():
            path = f"{layer.name}/{ours}"
            if path == first and order == "BGR":
                transform = f"bgr_{transform}"
            sources[path] = Source(
                f"{name}{layout.separator}{theirs}", transform
            )
    return sources
