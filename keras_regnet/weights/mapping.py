"""The names of every tensor, ours and each format's: one map for each.

A map is regular: it follows from the stages of the network and a table of the
names of the parts of a block (`formats`). It serves loading and exporting.
No Keras here.
"""

from collections.abc import Iterator
from typing import NamedTuple

from keras_regnet import errors
from keras_regnet import rows
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.weights.formats import FORMATS
from keras_regnet.weights.formats import Layout
from keras_regnet.weights.formats import VARIABLES


class Source(NamedTuple):
    """Where the value of one variable comes from.

    Args:
      name: of the tensor in the file.
      transform: a key of `keras_regnet.weights.transforms.TRANSFORMS`.
    """

    name: str
    transform: str


def first_kernel(config: RegNetConfig | AnyNetConfig) -> str:
    """Returns the path of the kernel that sees the image.

    Example:
    >>> first_kernel(AnyNetConfig((1,), (32,)))
    'stem_conv/kernel'
    """
    return f"{rows.stem_layers(config)[0].name}/kernel"


def layers(
    config: RegNetConfig | AnyNetConfig, include_top: bool = True
) -> Iterator[rows.Layer]:
    """Yields the rows of the layers that have weights, from the stem on."""
    for layer in rows.layers(config, classes=int(include_top)):
        if layer.kind != "pool":
            yield layer


def shapes(
    config: RegNetConfig | AnyNetConfig, classes: int
) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each variable in Keras's order of axes, by path.

    Example:
    >>> config = AnyNetConfig((1,), (32,), strides=1, stem_width=8)
    >>> shapes(config, 10)["stage1_block1_conv1/kernel"]
    (1, 1, 8, 32)
    """
    return {
        f"{layer.name}/{variable}": _shape(layer, variable)
        for layer in rows.layers(config, classes=classes)
        for variable in VARIABLES.get(layer.kind, ())
    }


def _shape(layer, variable):
    if variable != "kernel":
        return (layer.outputs,)
    if layer.kind == "dense":
        return (layer.inputs, layer.outputs)
    return (layer.kernel, layer.kernel, layer.group_width, layer.outputs)


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


def layout_of(config: RegNetConfig | AnyNetConfig, file_format: str) -> Layout:
    """Returns the layout of a format (a key of `FORMATS`) for a network."""
    if file_format not in FORMATS:
        raise errors.unknown_value("file_format", file_format, FORMATS)
    layout = min(
        FORMATS[file_format], key=lambda layout: len(_unlike(config, layout))
    )
    unlike = _unlike(config, layout)
    if unlike:
        values = ", ".join(f"{f}={getattr(config, f)!r}" for f in unlike)
        raise ValueError(
            f"The format {file_format!r} has no names for a network with "
            f"{values}."
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


def of_format(
    config: RegNetConfig | AnyNetConfig,
    file_format: str,
    include_top: bool = True,
    channel_order: str | None = None,
) -> dict[str, Source]:
    """Returns where each variable of a network comes from in a file.

    The dict has the path of our variable, such as
    "stage1_block1_conv1/kernel", and its `Source`; both are unique. The
    `channel_order` of the stem's input, "RGB" or "BGR", is the format's unless
    it is given.

    Example:
    >>> config = AnyNetConfig((1,), (32,), strides=1)
    >>> of_format(config, "timm")["stage1_block1_conv1/kernel"]
    Source(name='s1.b1.conv1.conv.weight', transform='conv')
    """
    layout = layout_of(config, file_format)
    return of_layout(config, layout, include_top, channel_order)


def of_layout(
    config: RegNetConfig | AnyNetConfig,
    layout: Layout,
    include_top: bool = True,
    channel_order: str | None = None,
) -> dict[str, Source]:
    """Returns the same, for a layout that is known."""
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
