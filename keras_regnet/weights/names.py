"""The names of every tensor, ours and each family's: one map for each.

A map is regular: it follows from the stages of the network and a table of the
names of the parts of a block. It serves loading and exporting. No Keras here.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from collections.abc import Mapping
from typing import NamedTuple

from keras_regnet import errors
from keras_regnet import plan
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig


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


# The variables of a layer, and what PyTorch calls them and how it lays out.
_TORCH_VARIABLES = {
    "conv": {"kernel": ("weight", "conv")},
    "gate": {"kernel": ("weight", "conv"), "bias": ("bias", "same")},
    "norm": {
        "gamma": ("weight", "same"),
        "beta": ("bias", "same"),
        "moving_mean": ("running_mean", "same"),
        "moving_variance": ("running_var", "same"),
    },
    "dense": {"kernel": ("weight", "dense"), "bias": ("bias", "same")},
}

_KERAS_VARIABLES = {
    kind: {variable: (variable, "same") for variable in variables}
    for kind, variables in _TORCH_VARIABLES.items()
}
# How many batches PyTorch's batch norm has seen.
_COUNTERS = r"\bnum_batches_tracked$"


@dataclasses.dataclass(frozen=True)
class Family:
    """How one family of files names its tensors.

    Args:
      ends: the names of the layers of stem and head, by ours.
      block: the beginning of the names within a block, with the fields
        {stage}, {block} (from 1), {stage_0}, {block_0} (from 0), {stage_2}
        (from 2) and {letter} (X or Y).
      parts: the names within a block, by ours.
      parts_with_se: those that differ where there is squeeze-and-excitation.
      parts_with_pool: those that differ where shortcuts pool.
      variables: the names of a layer's variables and their transforms.
      blocks: the blocks of `keras_regnet.config` that the family has.
      stems: likewise, the stems.
      channel_order: of the stem's input, unless a record says otherwise.
      separator: between the name of a layer and that of its variable.
      dropped: a regular expression, found in the names of tensors that
        hold nothing a network computes with.
    """

    ends: Mapping[str, str]
    block: str
    parts: Mapping[str, str]
    parts_with_se: Mapping[str, str] = dataclasses.field(default_factory=dict)
    parts_with_pool: Mapping[str, str] = dataclasses.field(default_factory=dict)
    variables: Mapping[str, Mapping[str, tuple[str, str]]] = dataclasses.field(
        default_factory=lambda: _TORCH_VARIABLES
    )
    blocks: tuple[str, ...] = ("x",)
    stems: tuple[str, ...] = ("simple",)
    channel_order: str = "RGB"
    separator: str = "."
    dropped: str = _COUNTERS


_CLASSY_PARTS = {
    "conv1": "f.a.0",
    "conv1_bn": "f.a.1",
    "conv2": "f.b.0",
    "conv2_bn": "f.b.1",
    "se_reduce": "f.se.excitation.0",
    "se_expand": "f.se.excitation.2",
    "conv3": "f.c",
    "conv3_bn": "f.final_bn",
    "shortcut": "proj",
    "shortcut_bn": "bn",
}

FAMILIES = {
    "timm": Family(
        ends={
            "stem_conv": "stem.conv",
            "stem_conv_bn": "stem.bn",
            "head_conv": "final_conv.conv",
            "head_conv_bn": "final_conv.bn",
            "head_fc": "head.fc",
        },
        block="s{stage}.b{block}.",
        parts={
            "conv1": "conv1.conv",
            "conv1_bn": "conv1.bn",
            "conv2": "conv2.conv",
            "conv2_bn": "conv2.bn",
            "se_reduce": "se.fc1",
            "se_expand": "se.fc2",
            "conv3": "conv3.conv",
            "conv3_bn": "conv3.bn",
            "shortcut": "downsample.conv",
            "shortcut_bn": "downsample.bn",
        },
        blocks=("x", "z"),
    ),
    "timm_preact": Family(
        ends={"stem_conv": "stem", "head_fc": "head.fc"},
        block="s{stage}.b{block}.",
        parts={
            "norm1": "norm1",
            "conv1": "conv1",
            "norm2": "norm2",
            "conv2": "conv2",
            "se_reduce": "se.fc1",
            "se_expand": "se.fc2",
            "norm3": "norm3",
            "conv3": "conv3",
            "shortcut": "downsample",
        },
        parts_with_pool={"shortcut": "downsample.1"},
        blocks=("pre",),
    ),
    "byobnet": Family(
        ends={
            "stem_conv": "stem.conv",
            "stem_conv_bn": "stem.bn",
            "stem_conv1": "stem.conv1.conv",
            "stem_conv1_bn": "stem.conv1.bn",
            "stem_conv2": "stem.conv2.conv",
            "stem_conv2_bn": "stem.conv2.bn",
            "stem_conv3": "stem.conv3.conv",
            "stem_conv3_bn": "stem.conv3.bn",
            "head_conv": "final_conv.conv",
            "head_conv_bn": "final_conv.bn",
            "head_fc": "head.fc",
        },
        block="stages.{stage_0}.{block_0}.",
        parts={
            "conv1": "conv1_1x1.conv",
            "conv1_bn": "conv1_1x1.bn",
            "conv2": "conv2_kxk.conv",
            "conv2_bn": "conv2_kxk.bn",
            "se_reduce": "attn.fc1",
            "se_expand": "attn.fc2",
            "conv3": "conv3_1x1.conv",
            "conv3_bn": "conv3_1x1.bn",
        },
        blocks=("z",),
        stems=("simple", "tiered"),
    ),
    "torchvision": Family(
        ends={
            "stem_conv": "stem.0",
            "stem_conv_bn": "stem.1",
            "head_fc": "fc",
        },
        block="trunk_output.block{stage}.block{stage}-{block_0}.",
        parts={
            "conv1": "f.a.0",
            "conv1_bn": "f.a.1",
            "conv2": "f.b.0",
            "conv2_bn": "f.b.1",
            "se_reduce": "f.se.fc1",
            "se_expand": "f.se.fc2",
            "conv3": "f.c.0",
            "conv3_bn": "f.c.1",
            "shortcut": "proj.0",
            "shortcut_bn": "proj.1",
        },
    ),
    "pycls": Family(
        ends={
            "stem_conv": "stem.conv",
            "stem_conv_bn": "stem.bn",
            "head_conv": "head.conv",
            "head_conv_bn": "head.bn",
            "head_fc": "head.fc",
        },
        block="s{stage}.b{block}.",
        parts={
            "conv1": "f.a",
            "conv1_bn": "f.a_bn",
            "conv2": "f.b",
            "conv2_bn": "f.b_bn",
            "se_reduce": "f.se.f_ex.0",
            "se_expand": "f.se.f_ex.2",
            "conv3": "f.c",
            "conv3_bn": "f.c_bn",
            "shortcut": "proj",
            "shortcut_bn": "bn",
        },
        blocks=("x", "z"),
        stems=("simple", "cifar", "resnet"),
        channel_order="BGR",
    ),
    "classy": Family(
        ends={
            "stem_conv": "_feature_blocks.conv1.stem.0",
            "stem_conv_bn": "_feature_blocks.conv1.stem.1",
            "head_fc": "0.clf.0",
        },
        block="_feature_blocks.res{stage_2}.block{stage}-{block_0}.",
        parts=_CLASSY_PARTS,
        # What self-supervised training puts behind the body.
        dropped=rf"{_COUNTERS}|\bprojection_head\b|\bprototypes\d*\b",
    ),
    "swag": Family(
        ends={
            "stem_conv": "stem.stem.0",
            "stem_conv_bn": "stem.stem.1",
            "head_fc": "head.fc",
        },
        block="trunk_output.block{stage}.block{stage}-{block_0}.",
        parts=_CLASSY_PARTS,
    ),
    "transformers": Family(
        ends={
            "stem_conv": "regnet.embedder.embedder.convolution",
            "stem_conv_bn": "regnet.embedder.embedder.normalization",
            "head_fc": "classifier.1",
        },
        block="regnet.encoder.stages.{stage_0}.layers.{block_0}.",
        parts={
            "conv1": "layer.0.convolution",
            "conv1_bn": "layer.0.normalization",
            "conv2": "layer.1.convolution",
            "conv2_bn": "layer.1.normalization",
            "se_reduce": "layer.2.attention.0",
            "se_expand": "layer.2.attention.2",
            "conv3": "layer.2.convolution",
            "conv3_bn": "layer.2.normalization",
            "shortcut": "shortcut.convolution",
            "shortcut_bn": "shortcut.normalization",
        },
        parts_with_se={
            "conv3": "layer.3.convolution",
            "conv3_bn": "layer.3.normalization",
        },
    ),
    # As `keras_h5` reads them: without the name of the model, which begins
    # every name in the file.
    "keras_applications": Family(
        ends={
            "stem_conv": "stem_conv",
            "stem_conv_bn": "stem_bn",
            "head_fc": "head_dense",
        },
        block="Stage_{stage_0}_{letter}Block_{block_0}_",
        parts={
            "conv1": "conv_1x1_1",
            "conv1_bn": "conv_1x1_1_bn",
            "conv2": "conv_3x3",
            "conv2_bn": "conv_3x3_bn",
            "se_reduce": "squeeze_and_excite_squeeze",
            "se_expand": "squeeze_and_excite_excite",
            "conv3": "conv_1x1_2",
            "conv3_bn": "conv_1x1_2_bn",
            "shortcut": "skip_1x1",
            "shortcut_bn": "skip_bn",
        },
        variables=_KERAS_VARIABLES,
        separator="/",
    ),
}

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


def _their_name(family, layer, config):
    if not layer.stage:
        return family.ends[layer.part]
    prefix = family.block.format(
        stage=layer.stage,
        stage_0=layer.stage - 1,
        stage_2=layer.stage + 1,
        block=layer.block,
        block_0=layer.block - 1,
        letter="Y" if config.se_ratio else "X",
    )
    parts = dict(family.parts)
    if config.se_ratio:
        parts |= family.parts_with_se
    if config.projection == "pool":
        parts |= family.parts_with_pool
    return prefix + parts[layer.part]


def _check_expressible(config, name):
    family = FAMILIES[name]
    unlike = {
        "block": config.block not in family.blocks,
        "stem": config.stem not in family.stems,
        "head_width": config.head_width and "head_conv" not in family.ends,
    }
    for field, is_unlike in unlike.items():
        if is_unlike:
            raise ValueError(
                f"The family {name!r} has no names for a network with "
                f"{field}={getattr(config, field)!r}."
            )


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
    if family not in FAMILIES:
        raise errors.unknown_value("family", family, FAMILIES)
    _check_expressible(config, family)
    layout = FAMILIES[family]
    order = channel_order or layout.channel_order
    first_conv = plan.stem_convs(config)[0].name
    sources = {}
    for layer in layers(config, include_top):
        name = _their_name(layout, layer, config)
        for ours, (theirs, transform) in layout.variables[layer.kind].items():
            if layer.name == first_conv and order == "BGR":
                transform = f"bgr_{transform}"
            sources[f"{layer.name}/{ours}"] = Source(
                f"{name}{layout.separator}{theirs}", transform
            )
    return sources
