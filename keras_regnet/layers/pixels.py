"""The layer that begins an exported model: pixels less their mean."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

# What the pixels of int8 images lack to 0..255.
_INT8_OFFSET = 128


@keras.saving.register_keras_serializable(package="keras_regnet")
class Pixels(keras.layers.Layer):
    """Gives pixels of any type as float32, less the mean of each channel.

    Args:
        mean: Sequence of floats, one per channel, of pixels in 0..255; int8
            pixels are 128 less than these.
        **kwargs: Further arguments of `keras.layers.Layer`.

    Input shape:
      `(batch, height, width, channels)`.
    Output shape:
      that of the input.

    Example:
    >>> pixels = np.full((1, 2, 2, 1), 100, "uint8")
    >>> float(Pixels([30.0])(pixels)[0, 0, 0, 0])
    70.0
    """

    def __init__(self, mean: Iterable[float], **kwargs: Any) -> None:
        super().__init__(dtype="float32", autocast=False, **kwargs)
        self.mean = [float(value) for value in mean]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer."""
        return {"name": self.name, "mean": self.mean}

    def call(self, inputs: Any) -> Any:
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
