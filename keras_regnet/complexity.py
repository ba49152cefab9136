"""Exact multiply-adds, parameters and activations of a network.

Two independent counts: from a configuration (no Keras, fast enough for a
sampler) and from a built Keras model (walking its graph). What is counted is
the reference's: convolutions and dense layers, their biases included; batch
norm has two parameters a channel and is otherwise free; activations are the
outputs of convolutions, dense layers and pools with a window. No Keras here:
a model is walked through its public attributes.
"""

import dataclasses
import math
import numbers
from collections.abc import Iterator
from typing import Any

from keras_regnet import plan
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import NetworkTemplate
from keras_regnet.config import RegNetConfig


@dataclasses.dataclass(frozen=True)
class Complexity:
    """What one image costs.

    Args:
      flops: multiply-adds.
      params: trainable parameters.
      activations: elements in the outputs of convolutions, dense layers and
        pools with a window (of a stem or a shortcut, not the head's).
    """

    flops: int = 0
    params: int = 0
    activations: int = 0

    def __add__(self, other: "Complexity") -> "Complexity":
        return Complexity(
            self.flops + other.flops,
            self.params + other.params,
            self.activations + other.activations,
        )

    def __mul__(self, times: int) -> "Complexity":
        return Complexity(
            self.flops * times, self.params * times, self.activations * times
        )


def complexity(
    config_or_model: RegNetConfig | AnyNetConfig | Any,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    *,
    classes: int = 1000,
    include_top: bool = True,
) -> Complexity:
    """Returns the exact complexity of a network at a resolution.

    Args:
      config_or_model: a configuration, or a built functional Keras model.
      input_shape: (height, width, channels) of one image, in pixels, also
        for a model in "channels_first" or built for another size.
      classes: number of classes; a model has its own.
      include_top: whether a configuration's classifier is counted.

    Returns:
      A `Complexity` of integers.

    Raises:
      ValueError: if `input_shape` is not three integers above 0, or has not
        as many channels as the model's input.

    Source:
      Paper, section 2 (footnote 3) and 3.1, counted as its authors' code
      does; the two counts of this module agree on every published variant.

    Example:
    >>> from keras_regnet.variants import get_config
    >>> complexity(get_config("RegNetX-200MF"))
    Complexity(flops=199040872, params=2684792, activations=2164056)
    """
    check_input_shape(input_shape)
    if not isinstance(classes, numbers.Integral) or classes < 1:
        raise ValueError(
            "`classes` must be an integer above 0. "
            f"Received: classes={classes!r}"
        )
    if isinstance(config_or_model, NetworkTemplate):
        classes = classes if include_top else 0
        return _of_config(config_or_model, tuple(input_shape), classes)
    if len(getattr(config_or_model, "inputs", None) or ()) != 1:
        raise ValueError(
            "`config_or_model` must be a RegNetConfig, an AnyNetConfig or a "
            "built functional model with one input. Received: "
            f"config_or_model={config_or_model!r}"
        )
    return sum(_of_layers(config_or_model, input_shape), Complexity())


def check_input_shape(input_shape: tuple[int, int, int]) -> None:
    """Raises unless a shape is (height, width, channels).

    Args:
      input_shape: what was given.

    Raises:
      ValueError: if it is not three integers above 0.
    """
    is_shape = isinstance(input_shape, tuple | list) and len(input_shape) == 3
    valid = is_shape and all(
        isinstance(size, numbers.Integral) and size > 0 for size in input_shape
    )
    if not valid:
        raise ValueError(
            "`input_shape` must be (height, width, channels), three integers "
            f"above 0. Received: input_shape={input_shape}"
        )


# --- From a configuration ---------------------------------------------------


def _shrink(size, stride):
    """Height and width after a layer that is padded to keep them."""
    return (size[0] - 1) // stride + 1, (size[1] - 1) // stride + 1


def _conv(size, kernel, inputs, outputs, groups=1, bias=False):
    """A convolution whose output has height and width `size`."""
    positions = size[0] * size[1]
    params = kernel * kernel * inputs * outputs // groups + outputs * bias
    return Complexity(params * positions, params, outputs * positions)


def _batch_norm(width):
    return Complexity(params=2 * width)


def _conv_bn(size, kernel, inputs, outputs, groups=1):
    return _conv(size, kernel, inputs, outputs, groups) + _batch_norm(outputs)


def _pool(size, width):
    return Complexity(activations=width * size[0] * size[1])


def _squeeze_excite(width, squeeze):
    pixel = (1, 1)
    down = _conv(pixel, 1, width, squeeze, bias=True)
    return down + _conv(pixel, 1, squeeze, width, bias=True)


def squeeze_width(config: NetworkTemplate, inputs: int, inner: int) -> int:
    """Returns the inner width of squeeze-and-excitation, 0 for none.

    Args:
      config: has the ratio, and says of which width it is.
      inputs: channels of the *block's* input.
      inner: channels of its 3x3 convolution.

    Returns:
      The nearest integer, at least 1 unless the ratio is 0; of the inner
      width the nearest multiple of 8, halves up, at least 8.
    """
    if not config.se_ratio:
        return 0
    if config.se_from == "input":
        return max(1, round(inputs * config.se_ratio))
    return max(8, int(inner * config.se_ratio + 4) // 8 * 8)


def _bottleneck(config, size, inputs, stage, first):
    after = _shrink(size, stage.stride if first else 1)
    inner, groups = stage.inner_of(first)
    total = _conv_bn(size, 1, inputs, inner)
    total += _conv_bn(after, 3, inner, inner, groups)
    squeeze = squeeze_width(config, inputs, inner)
    if squeeze:
        total += _squeeze_excite(inner, squeeze)
    total += _conv(after, 1, inner, stage.width)
    # Two norms follow the first convolutions; the third is before the block
    # or behind it.
    return total + _batch_norm(inputs if config.block == "pre" else stage.width)


def _plain(convolutions):
    def count(config, size, inputs, stage, first):
        del config
        after = _shrink(size, stage.stride if first else 1)
        first = _conv_bn(after, 3, inputs, stage.width)
        other = _conv_bn(after, 3, stage.width, stage.width)
        return first + other * (convolutions - 1)

    return count


_MAIN_PATHS = {
    "x": _bottleneck,
    "z": _bottleneck,
    "pre": _bottleneck,
    "v": _plain(1),
    "vr": _plain(1),
    "basic": _plain(2),
}


def _block(config, size, inputs, stage, first):
    total = _MAIN_PATHS[config.block](config, size, inputs, stage, first)
    stride = stage.stride if first else 1
    if plan.shortcut(config.block, inputs, stage.width, stride) == "project":
        total += _projection(
            config, _shrink(size, stride), inputs, stage, stride
        )
    return total


def _projection(config, after, inputs, stage, stride):
    total = _conv(after, 1, inputs, stage.width)
    if config.block != "pre":
        total += _batch_norm(stage.width)
    if config.projection == "pool" and stride > 1:
        total += _pool(after, inputs)
    return total


def _stem(config, size, channels):
    """Returns the stem's complexity and the size after it."""
    total = Complexity()
    for conv in plan.stem_convs(config):
        size = _shrink(size, conv.stride)
        apply = _conv if conv.bare else _conv_bn
        total += apply(size, conv.kernel, channels, conv.width)
        channels = conv.width
    if config.stem == "resnet":
        size = _shrink(size, 2)
        total += _pool(size, config.stem_width)
    return total, size


def _head(config, size, width, classes):
    total = Complexity()
    if config.head_width:
        total += _conv_bn(size, 1, width, config.head_width)
        width = config.head_width
    if classes:
        total += _conv((1, 1), 1, width, classes, bias=True)
    return total


def _of_config(config, input_shape, classes):
    total, size = _stem(config, input_shape[:2], input_shape[2])
    width = config.stem_width
    for stage in plan.stages(config):
        total += _block(config, size, width, stage, first=True)
        size, width = _shrink(size, stage.stride), stage.width
        rest = _block(config, size, width, stage, first=False)
        total += rest * (stage.depth - 1)
    return total + _head(config, size, width, classes)


# --- From a built model -----------------------------------------------------

# Operations of `keras.ops`, which are no layers, that multiply and add.
_PRODUCTS = (
    "Conv",
    "ConvTranspose",
    "DepthwiseConv",
    "Dot",
    "DotProductAttention",
    "Einsum",
    "Inner",
    "Matmul",
    "SeparableConv",
    "Tensordot",
    "Vdot",
)


def _of_layers(model, input_shape) -> Iterator[Complexity]:
    """Yields the complexity of each layer that runs when the model is called.

    The shapes are propagated by the layers (and by operations of
    `keras.ops`, which cost nothing) themselves, so nothing here
    repeats what the configuration's count assumes about sizes.
    """
    (model_input,) = model.inputs
    shape = _model_shape(model_input, input_shape, _data_format(model))
    shapes = {id(model_input): shape}
    for operation in model.operations:
        _check_countable(operation)
        outputs = _as_list(operation.output)
        if id(outputs[0]) in shapes:
            continue
        if not hasattr(operation, "weights"):
            # Of `keras.ops`, not a layer.
            found = _operation_shapes(operation, shapes)
            shapes.update(zip(map(id, outputs), found, strict=True))
            continue
        inputs = [shapes[id(tensor)] for tensor in _as_list(operation.input)]
        given = inputs if len(inputs) > 1 else inputs[0]
        shape = operation.compute_output_shape(given)
        shapes[id(outputs[0])] = shape
        yield _of_layer(operation, shape)


def _operation_shapes(operation, shapes):
    """Returns the shapes of the outputs of a call of `keras.ops`."""
    # No public view of the call has the arguments that are no tensors.
    (node,) = operation._inbound_nodes
    given = {
        id(tensor): type(tensor)(shapes[id(tensor)], tensor.dtype)
        for tensor in node.input_tensors
    }
    arguments, options = node.arguments.fill_in(given)
    spec = operation.compute_output_spec(*arguments, **options)
    return [tensor.shape for tensor in _as_list(spec)]


def _check_countable(layer):
    """Raises for what the rules below would count wrongly."""
    if hasattr(layer, "layers"):
        raise ValueError(
            "A model inside a model is not counted: build one functional "
            f"graph. Received: layer {layer.name!r}"
        )
    kind = type(layer).__name__
    if not hasattr(layer, "weights") and kind in _PRODUCTS:
        raise ValueError(
            "Products by `keras.ops` are not counted: use a layer. "
            f"Received: operation {layer.name!r} of type {kind}"
        )
    if "Transpose" in kind or "Separable" in kind:
        raise ValueError(
            "Transposed and separable convolutions are not counted. "
            f"Received: layer {layer.name!r} of type {kind}"
        )


def _as_list(tensors):
    return list(tensors) if isinstance(tensors, list | tuple) else [tensors]


def _data_format(model):
    formats = [getattr(layer, "data_format", None) for layer in model.layers]
    return next(filter(None, formats), "channels_last")


def _model_shape(model_input, input_shape, data_format):
    height, width, channels = input_shape
    shape = (1, height, width, channels)
    if data_format == "channels_first":
        shape = (1, channels, height, width)
    axis = 1 if data_format == "channels_first" else 3
    if model_input.shape[axis] != channels:
        raise ValueError(
            "`input_shape` must have as many channels as the model's input, "
            f"{model_input.shape[axis]}. Received: input_shape={input_shape}"
        )
    return shape


def _of_layer(layer, output_shape):
    elements = math.prod(output_shape)
    kernel = getattr(layer, "kernel", None)
    if kernel is not None:
        params = math.prod(kernel.shape)
        channels = output_shape[_channel_axis(layer)]
        if layer.bias is not None:
            params += channels
        return Complexity(params * (elements // channels), params, elements)
    if hasattr(layer, "pool_size"):
        return Complexity(activations=elements)
    params = [math.prod(w.shape) for w in layer.weights if _is_parameter(w)]
    return Complexity(params=sum(params))


def _channel_axis(layer):
    return 1 if getattr(layer, "data_format", "") == "channels_first" else -1


def _is_parameter(weight):
    """Whether training would change it (in a frozen layer, too)."""
    return not weight.name.startswith("moving_") and "seed" not in weight.name
