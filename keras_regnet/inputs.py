"""The input of a network: a new one, or the caller's tensor."""

import numbers
from typing import Any

import keras

MIN_IMAGE_SIZE = 32
_DEFAULT_IMAGE_SIZE = 224
# Orders of an image's axes, with the place of the channels among them.
_ORDERS = {
    "channels_last": ("(height, width, channels)", 2),
    "channels_first": ("(channels, height, width)", 0),
}


def network_input(
    input_tensor: keras.KerasTensor | None,
    input_shape: tuple[int | None, ...] | None,
    include_top: bool,
) -> tuple[keras.KerasTensor | list[keras.KerasTensor], keras.KerasTensor]:
    """Returns the model's inputs and the tensor that the network starts from.

    They differ where the caller's tensor is the output of other layers. Without
    a shape, a new input is 224 pixels high and wide, or of any size without the
    top.
    """
    data_format = keras.config.image_data_format()
    if input_tensor is not None:
        return _inputs_of(input_tensor, input_shape, data_format)
    if input_shape is None:
        size = _DEFAULT_IMAGE_SIZE if include_top else None
        sizes = [size, size]
        sizes.insert(_ORDERS[data_format][1], 3)
        input_shape = tuple(sizes)
    _check_shape(input_shape, "input_shape", data_format)
    inputs = keras.Input(tuple(input_shape), name="images")
    return inputs, inputs


def _inputs_of(input_tensor, input_shape, data_format):
    if not keras.backend.is_keras_tensor(input_tensor):
        raise ValueError(
            "`input_tensor` must be a Keras tensor, such as keras.Input() "
            f"returns. Received: input_tensor={input_tensor!r}"
        )
    shape = tuple(input_tensor.shape[1:])
    _check_shape(shape, "input_tensor", data_format)
    if input_shape is not None and tuple(input_shape) != shape:
        raise ValueError(
            "`input_shape` must be that of `input_tensor`, or None. "
            f"Received: input_shape={input_shape} for a tensor of {shape}"
        )
    sources = keras.utils.get_source_inputs(input_tensor)
    return (sources[0] if len(sources) == 1 else sources), input_tensor


def _check_shape(shape: Any, argument: str, data_format: str) -> None:
    order, channel_index = _ORDERS[data_format]
    sizes = list(shape) if isinstance(shape, tuple | list) else []
    channels = sizes.pop(channel_index) if len(sizes) == 3 else None
    valid = _is_at_least(1, channels) and all(
        size is None or _is_at_least(MIN_IMAGE_SIZE, size) for size in sizes
    )
    if not valid:
        raise ValueError(
            f"`{argument}` must be {order} with a height and width of at "
            f"least {MIN_IMAGE_SIZE} or None, and 1 or more channels. "
            f"Received: {argument}={shape}"
        )


def _is_at_least(minimum: int, value: Any) -> bool:
    return isinstance(value, numbers.Integral) and int(value) >= minimum
