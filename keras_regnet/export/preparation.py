"""From a trained model to one that a converter takes: float32, fixed shapes."""

import numbers

import keras
import numpy as np

from keras_regnet import errors
from keras_regnet.export import folding

INPUTS = ("uint8", "float", "int8")
DYNAMIC = "dynamic"
INPUT_NAME = "images"

# What the pixels of int8 images lack to 0..255.
_INT8_OFFSET = 128

Size = int | tuple[int, int] | str | None


@keras.saving.register_keras_serializable(package="keras_regnet")
class Pixels(keras.layers.Layer):
    """Gives integer pixels as float32 in 0..255; int8 ones are 128 less."""

    def call(self, inputs):
        """Casts the pixels, of any shape."""
        is_signed = keras.backend.standardize_dtype(inputs.dtype) == "int8"
        pixels = keras.ops.cast(inputs, "float32")
        return pixels + _INT8_OFFSET if is_signed else pixels


def prepare(
    model: keras.Model,
    input: str = "float",  # noqa: A002 (the command line's name)
    batch: int | str = 1,
    image_size: Size = None,
) -> keras.Model:
    """Returns the model for inference that a converter reads.

    Batch norm is folded, all is computed in float32, the shapes are those
    asked for, and the input takes pixels in the type asked for.

    Args:
      model: a functional model from images, channels last, to one output.
      input: "uint8" (0..255), "int8" (-128..127: 128 less) or "float"
        (0..255).
      batch: images in a batch, or "dynamic".
      image_size: side of the images, (height, width), "dynamic", or None for
        the model's own.

    Returns:
      A functional model that shares no weights with `model`.

    Raises:
      ValueError: if an argument is none of those allowed.

    Example:
    >>> import keras_regnet
    >>> model = keras_regnet.RegNetX("200MF", input_shape=(None, None, 3))
    >>> prepare(model, "uint8", image_size=64).input.shape
    (1, 64, 64, 3)
    """
    if input not in INPUTS:
        raise errors.unknown_value("input", input, INPUTS)
    check_model(model)
    shape = _batch_shape(model, batch, image_size)
    network = _rebuilt(folding.fold_batch_norm(model), shape)
    if input == "float":
        return network
    images = keras.Input(batch_shape=shape, dtype=input, name=INPUT_NAME)
    pixels = Pixels(name="pixels", dtype="float32")(images)
    return keras.Model(images, network(pixels), name=model.name)


def check_model(model: keras.Model) -> None:
    """Raises if a model is not one from images to classes.

    Args:
      model: what is to be exported.

    Raises:
      ValueError: that says what is wrong with it.
    """
    if not hasattr(model, "inputs") or not hasattr(model, "outputs"):
        raise ValueError(
            "`model` must be a functional Keras model. "
            f"Received: model={model!r}"
        )
    shapes = [tuple(tensor.shape) for tensor in model.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or len(model.outputs) != 1:
        raise ValueError(
            "`model` must have one input (batch, height, width, channels) and "
            f"one output. Received: inputs {shapes}, {len(model.outputs)} "
            "outputs"
        )
    for layer in model.layers:
        if getattr(layer, "data_format", None) == "channels_first":
            raise ValueError(
                "`model` must have its channels last. Received a layer with "
                f"data_format='channels_first': {layer.name!r}"
            )


def _batch_shape(model, batch, image_size):
    _, *own, channels = model.input.shape
    size = _pair(image_size) or tuple(own)
    if batch == DYNAMIC:
        return (None, *size, channels)
    if not _is_positive(batch):
        raise ValueError(
            "`batch` must be an integer above 0 or 'dynamic'. "
            f"Received: batch={batch!r}"
        )
    return (int(batch), *size, channels)


def _pair(image_size):
    """Returns (height, width), or None for the model's own."""
    if image_size is None:
        return None
    if image_size == DYNAMIC:
        return (None, None)
    sides = image_size if isinstance(image_size, tuple | list) else [image_size]
    if len(sides) not in (1, 2) or not all(map(_is_positive, sides)):
        raise ValueError(
            "`image_size` must be an integer above 0, a pair of them, or "
            f"'dynamic'. Received: image_size={image_size!r}"
        )
    return int(sides[0]), int(sides[-1])


def _is_positive(value):
    is_whole = isinstance(value, numbers.Integral) and value is not True
    return is_whole and value > 0


def _rebuilt(model, shape):
    """Returns the model in float32, for images of another shape."""
    images = keras.Input(batch_shape=shape, dtype="float32", name=INPUT_NAME)

    def clone(layer):
        is_layer = isinstance(layer, keras.layers.Layer)
        if isinstance(layer, keras.layers.InputLayer) or not is_layer:
            return layer  # An operation has no state of its own.
        config = layer.get_config()
        config["dtype"] = "float32"
        return type(layer).from_config(config)

    try:
        rebuilt = keras.models.clone_model(
            model,
            input_tensors=keras.tree.map_structure(
                lambda _: images, model.input
            ),
            clone_function=clone,
        )
    except ValueError as error:
        raise ValueError(
            f"`model` {model.name!r} does not take images of shape "
            f"{shape[1:]}: {' '.join(str(error).split())}"
        ) from error
    for layer in rebuilt.layers:
        if layer.weights:
            source = model.get_layer(layer.name)
            layer.set_weights([np.asarray(w) for w in source.get_weights()])
    return keras.Model(images, rebuilt.outputs[0], name=model.name)
