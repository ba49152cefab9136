"""Pooling that pads as PyTorch does."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_regnet")
class PaddedMaxPooling2D(keras.layers.MaxPooling2D):
    """Max pooling with the same padding on every side, as PyTorch pads.

    `padding="same"` of Keras pads an even-sized image on the right and at the
    bottom only; weights of the PyTorch family expect both sides.

    Args:
      pool_size: Odd integer or pair of odd integers; each side is padded by
        `(pool_size - 1) // 2`. Defaults to `3`.
      strides: Integer or pair of integers. Defaults to `2`.
      data_format: `"channels_last"`, `"channels_first"` or `None` for the
        one of the Keras configuration.
      **kwargs: `name` and `dtype`.

    Input shape:
      `(batch, height, width, channels)`, or `(batch, channels,
      height, width)` with `data_format="channels_first"`.
    Output shape:
      the same with height and width divided by `strides`,
      rounded up.

    Raises:
      ValueError: If a `pool_size` is even.

    Example:
    >>> layer = PaddedMaxPooling2D()
    >>> tuple(layer(ops.ones((2, 8, 7, 4))).shape)
    (2, 4, 4, 4)

    Source: `torch.nn.MaxPool2d(3, 2, 1)` in the stem of He et al., 2016.
    """

    def __init__(
        self,
        pool_size: int | tuple[int, int] = 3,
        strides: int | tuple[int, int] = 2,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            pool_size, strides=strides, data_format=data_format, **kwargs
        )
        if not all(size % 2 for size in self.pool_size):
            raise ValueError(
                "`pool_size` must be odd, to pad both sides alike. "
                f"Received: pool_size={pool_size}"
            )

    def call(self, inputs: Any) -> Any:
        """Pools `inputs`, of the shape given above."""
        # The lowest finite value, not -inf: int8 conversion scales by the
        # range of a tensor. Rounded up to what bfloat16 holds.
        lowest = -65504.0 if self.compute_dtype == "float16" else -3.38e38
        return super().call(
            ops.pad(inputs, self._paddings(), constant_values=lowest)
        )

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns the shape of the output for that of the input."""
        padded = tuple(
            size if size is None else size + sum(pads)
            for size, pads in zip(input_shape, self._paddings(), strict=True)
        )
        return super().compute_output_shape(padded)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        config = super().get_config()
        del config["padding"]
        return config

    def _paddings(self):
        spatial = tuple(((n - 1) // 2,) * 2 for n in self.pool_size)
        if self.data_format == "channels_first":
            return ((0, 0), (0, 0), *spatial)
        return ((0, 0), *spatial, (0, 0))
