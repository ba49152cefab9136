"""Exact multiply-adds, parameters and activations of a network.

Two independent counts: from the rows of a configuration (no Keras, and of
many networks at once for a sampler) and from a built Keras model (walking its
graph). As in the reference, convolutions and dense layers are counted, with
their biases; a norm has its parameters (two a channel, three of EvoNorm with
its activation) and is otherwise free; activations are the outputs of
convolutions, dense layers and pools with a window. No Keras here: a model is
walked through its public attributes.
"""

import dataclasses
import functools
import itertools
import math
import numbers
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

from keras_regnet import plan
from keras_regnet import rows
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import NetworkTemplate
from keras_regnet.config import RegNetConfig
from keras_regnet.widths import Width


@dataclasses.dataclass(frozen=True)
class Complexity:
    """The complexity of a network, for one image.

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
        stages = plan.stages(config_or_model)
        return of_stages(config_or_model, stages, input_shape, classes)
    if len(getattr(config_or_model, "inputs", None) or ()) != 1:
        raise ValueError(
            "`config_or_model` must be a RegNetConfig, an AnyNetConfig or a "
            "built functional model with one input. Received: "
            f"config_or_model={config_or_model!r}"
        )
    return sum(_of_layers(config_or_model, input_shape), Complexity())


def check_input_shape(input_shape: tuple[int, int, int]) -> None:
    """Raises unless a shape is (height, width, channels), above 0."""
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


def of_stages(
    template: NetworkTemplate,
    stages: Iterable[plan.Stage[Any]],
    input_shape: tuple[Width, Width, int],
    classes: int,
) -> Complexity:
    """Returns the sum over the layers of a network, or of many networks.

    Widths of the stages, height and width of the images may be arrays; then
    the counts are arrays.
    """
    height, width, channels = input_shape

    @functools.cache
    def pixels(reduction):
        if not reduction:
            return 1
        # Padding keeps the size: what a stride leaves is rounded up.
        return -(-height // reduction) * -(-width // reduction)

    stem = rows.stem_layers(template, channels)
    total = _sum(stem, pixels)
    outputs, reduction = stem[-1].outputs, stem[-1].reduction
    for stage in stages:
        total += _of_block(template, stage.first, reduction, pixels)
        outputs, reduction = stage.width, reduction * stage.stride
        rest = _of_block(template, stage.rest, reduction, pixels)
        total += rest * (stage.depth - 1)
    head = rows.head_layers(template, outputs, classes, reduction)
    return total + _sum(head, pixels)


def _of_block(template, block, reduction, pixels):
    layers = rows.main_layers(template, block, reduction)
    shortcut = rows.shortcut_layers(template, block, reduction)
    if isinstance(block.projections, int):
        shortcuts = [shortcut] * block.projections
        return _sum(itertools.chain(layers, *shortcuts), pixels)
    # Only some of many networks have a projection there.
    return _sum(layers, pixels) + _sum(shortcut, pixels) * block.projections


def _sum(layers, pixels):
    # Summed for each size of the image, then multiplied by its pixels: with
    # arrays every operation costs.
    params = 0
    products: dict[int, Any] = {}
    outputs: dict[int, Any] = {}
    for layer in layers:
        if layer.norm_parameters:
            params = params + layer.norm_parameters * layer.outputs
            continue
        reduction = layer.reduction
        outputs[reduction] = outputs.get(reduction, 0) + layer.outputs
        if layer.kind == "pool":
            continue
        weights = layer.group_width * layer.outputs
        if layer.kernel > 1:
            weights = weights * layer.kernel**2
        if layer.has_bias:
            weights = weights + layer.outputs
        products[reduction] = products.get(reduction, 0) + weights
    for weights in products.values():
        params = params + weights
    return Complexity(
        _at_pixels(products, pixels), params, _at_pixels(outputs, pixels)
    )


def _at_pixels(counts, pixels):
    return sum(count * pixels(reduction) for reduction, count in counts.items())


# --- From a built model -----------------------------------------------------

# Operations of `keras.ops`, which are not layers, that multiply and add.
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


def _of_layers(model: Any, input_shape: Any) -> Iterator[Complexity]:
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
            computed = _operation_shapes(operation, shapes)
            shapes.update(zip(map(id, outputs), computed, strict=True))
            continue
        inputs = [shapes[id(tensor)] for tensor in _as_list(operation.input)]
        given = inputs if len(inputs) > 1 else inputs[0]
        shape = operation.compute_output_shape(given)
        shapes[id(outputs[0])] = shape
        yield _of_layer(operation, shape)


def _operation_shapes(operation, shapes):
    """Returns the shapes of the outputs of a call of `keras.ops`."""
    # No public view of the call has the arguments that are not tensors.
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
