"""From a trained model to one that a converter takes: float32, fixed shapes."""

import collections
import numbers

import keras
import numpy as np

from keras_regnet import errors
from keras_regnet.export import folding
from keras_regnet.export import grouping

_DTYPES = {"uint8": "uint8", "float": "float32", "int8": "int8"}
INPUTS = tuple(_DTYPES)
DYNAMIC = "dynamic"
INPUT_NAME = "images"
PIXELS = "pixels"

# What the pixels of int8 images lack to 0..255.
_INT8_OFFSET = 128

Size = int | tuple[int, int] | str | None


@keras.saving.register_keras_serializable(package="keras_regnet")
class Pixels(keras.layers.Layer):
    """Gives pixels of any type as float32, less the mean of each channel.

    Args:
        mean: Sequence of floats, one per channel, of pixels in 0..255; int8
            pixels are 128 less than these.
        **kwargs: Further arguments of `keras.layers.Layer`.

    Input shape: `(batch, height, width, channels)`.
    Output shape: that of the input.

    Example:
    >>> pixels = np.full((1, 2, 2, 1), 100, "uint8")
    >>> float(Pixels([30.0])(pixels)[0, 0, 0, 0])
    70.0
    """

    def __init__(self, mean, **kwargs):
        super().__init__(dtype="float32", autocast=False, **kwargs)
        self.mean = [float(value) for value in mean]

    def get_config(self):
        """Returns the arguments of the layer."""
        return {"name": self.name, "mean": self.mean}

    def call(self, inputs):
        """Returns the pixels as float32, less the mean."""
        is_signed = keras.backend.standardize_dtype(inputs.dtype) == "int8"
        mean = np.array(self.mean, "float32") - _INT8_OFFSET * is_signed
        pixels = keras.ops.cast(inputs, "float32")
        if not mean.any():
            return pixels
        batch, height, width, channels = pixels.shape
        if height is None or width is None:
            return pixels - mean
        # XNNPACK takes ten times as long for a constant of three values.
        rows = keras.ops.reshape(
            pixels, (batch or -1, height, width * channels)
        )
        rows = rows - np.tile(np.broadcast_to(mean, channels), width)
        return keras.ops.reshape(rows, (batch or -1, height, width, channels))


def prepare(
    model: keras.Model,
    input: str = "float",  # noqa: A002 (the command line's name)
    batch: int | str = 1,
    image_size: Size = None,
    group_width: int | None = None,
) -> keras.Model:
    """Returns the model for inference that a converter reads.

    All is computed in float32, and the shapes are those asked for. Batch norm
    is a part of the convolutions. So is the division of the images by their
    deviation: it leaves one operation before the first convolution, which
    quantisation rounds once.

    Args:
      model: a functional model from images, channels last, to one output.
      input: "uint8" (0..255), "int8" (-128..127: 128 less) or "float"
        (0..255).
      batch: images in a batch, or "dynamic".
      image_size: side of the images, (height, width), "dynamic", or None for
        the model's own.
      group_width: grouped convolutions get groups of up to so many channels,
        with zeros between what were groups; None: they stay. Same results.

    Returns:
      A functional model that shares no weights with `model`; its last layer
      is the network, a functional model itself.

    Raises:
      ValueError: if an argument is none of those allowed.

    Example:
    >>> import keras_regnet
    >>> model = keras_regnet.RegNetX("200MF", input_shape=(None, None, 3))
    >>> prepare(model, "uint8", image_size=64).input.shape
    (1, 64, 64, 3)
    """
    check_input(input)
    check_model(model)
    if group_width is not None and not _is_positive(group_width):
        raise ValueError(
            "`group_width` must be an integer above 0 or None. "
            f"Received: group_width={group_width!r}"
        )
    shape = _batch_shape(model, batch, image_size)
    folded = folding.fold_batch_norm(model)
    normalised = _normalised_conv(folded)
    mean = [0.0] * shape[-1]
    if normalised:
        mean = _per_channel(normalised[0].mean, shape[-1])
    images = keras.Input(
        batch_shape=shape, dtype=_DTYPES[input], name=INPUT_NAME
    )
    x = Pixels(mean, name=PIXELS)(images)
    network = _rebuilt(folded, x.shape, normalised, group_width or 0)
    given = keras.tree.map_structure(lambda _: x, network.input)
    return keras.Model(images, network(given), name=model.name)


def check_input(input: str) -> None:  # noqa: A002
    """Raises a ValueError if there is no such type of pixels.

    Args:
      input: "uint8", "float", "int8" or what the caller gave.
    """
    if input not in INPUTS:
        raise errors.unknown_value("input", input, INPUTS)


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
    _, *own, channels = model.inputs[0].shape
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


def _normalised_conv(model):
    """Returns the normalisation of the images and the one conv that reads it.

    None if there is no such pair.
    """
    readers = collections.defaultdict(list)
    for layer in model.layers:
        for tensor in keras.tree.flatten(layer.input):
            readers[id(tensor)].append(layer)
    first = readers[id(model.inputs[0])]
    norm = next((x for x in first if not _is_input(x)), None)
    if not isinstance(norm, keras.layers.Normalization) or norm.invert:
        return None
    reader = norm
    while reader is norm or isinstance(reader, keras.layers.ZeroPadding2D):
        if len(readers[id(reader.output)]) != 1:
            return None
        (reader,) = readers[id(reader.output)]
    is_conv = isinstance(reader, keras.layers.Conv2D) and reader.groups == 1
    return (norm, reader) if is_conv else None


def _is_input(layer):
    return isinstance(layer, keras.layers.InputLayer)


def _per_channel(values, channels):
    values = keras.ops.convert_to_numpy(values).astype("float64")
    return np.broadcast_to(values.reshape(-1), [channels])


def _rebuilt(model, shape, normalised, group_width):
    """Returns the model in float32 for images of a shape."""
    groups = _groups(model, group_width)
    images = keras.Input(batch_shape=shape, name=INPUT_NAME, dtype="float32")

    def clone(layer):
        is_layer = isinstance(layer, keras.layers.Layer)
        if _is_input(layer) or not is_layer:
            return layer  # An operation has no state of its own.
        config = layer.get_config()
        config["dtype"] = "float32"
        if layer.name in groups:
            config["groups"] = groups[layer.name]
        return type(layer).from_config(config)

    def call(layer, *args, **kwargs):
        if normalised and layer.name == normalised[0].name:
            return args[0]
        return layer(*args, **kwargs)

    try:
        network = keras.models.clone_model(
            model,
            input_tensors=keras.tree.map_structure(
                lambda _: images, model.input
            ),
            clone_function=clone,
            call_function=call,
        )
    except ValueError as error:
        raise ValueError(
            f"`model` {model.name!r} does not take images of shape "
            f"{tuple(shape[1:])}: {' '.join(str(error).split())}"
        ) from error
    for layer in network.layers:
        if layer.weights:
            values = model.get_layer(layer.name).get_weights()
            if normalised and layer.name == normalised[1].name:
                values[0] = _scaled(values[0], normalised[0])
            if layer.name in groups:
                values[0] = grouping.merged_kernel(
                    values[0],
                    model.get_layer(layer.name).groups,
                    groups[layer.name],
                )
            layer.set_weights([np.asarray(value) for value in values])
    return network


def _groups(model, group_width):
    """Returns grouped convolution -> the groups that it is to have."""
    return {
        layer.name: grouping.merged_groups(
            layer.groups, layer.kernel.shape[2], group_width
        )
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.groups > 1
    }


def _scaled(kernel, norm):
    """Returns a kernel for images that were not divided by the deviation."""
    variance = _per_channel(norm.variance, kernel.shape[2])
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    return kernel / deviation[:, None]
