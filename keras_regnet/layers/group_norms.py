"""Norms that compute with each image alone, over groups of its channels.

Moments are taken in float32 at least: first of each channel over the pixels,
then of the groups. Where the features are reshaped into groups, as Keras does
it, TensorFlow transposes them for every moment, and LiteRT computes on tensors
of five axes.
"""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_regnet")
class GroupNormalization(keras.layers.GroupNormalization):
    """`keras.layers.GroupNormalization` by moments of channels.

    Weights, config and results are those of `keras.layers.GroupNormalization`,
    without a reshape of the features into groups. Other inputs than images
    take Keras's own form.

    Args:
      groups: Integer, the number of groups, a divisor of the channels.
      axis: Integer, the channel axis.
      **kwargs: Further arguments of `keras.layers.GroupNormalization`.

    Input shape:
      `(batch, height, width, channels)`, or with `axis=1` `(batch, channels,
      height, width)`.
    Output shape:
      that of the input.

    Raises:
      ValueError: If `groups` does not divide the channels.

    Example:
    >>> layer = GroupNormalization(groups=1)
    >>> x = ops.convert_to_tensor([[[[1.0, 3.0]]]])
    >>> ops.convert_to_numpy(ops.round(layer(x))).tolist()
    [[[[-1.0, 1.0]]]]

    Source: [Wu and He, 2018](https://arxiv.org/abs/1803.08494).
    """

    def call(self, inputs: Any) -> Any:
        """Normalizes `inputs`, each group of channels of each image alone."""
        if len(inputs.shape) != 4 or self.axis not in (-1, 1, 3):
            return super().call(inputs)
        x = _in_float32(inputs)
        centered, variance = _centered(x, self.groups, self.axis)
        scale = ops.rsqrt(variance + self.epsilon)
        gamma = self.gamma if self.scale else None
        outputs = centered * _per_channel(
            scale, gamma, self.groups, x, self.axis
        )
        if self.center:
            outputs = outputs + _over_image(self.beta, x, self.axis)
        return ops.cast(outputs, self.compute_dtype)


@keras.saving.register_keras_serializable(package="keras_regnet")
class EvoNormS0a(keras.layers.Layer):
    """EvoNorm-S0: a norm and an activation, found by evolution, in one.

    With `std` of each group of channels of each image, `x * sigmoid(v * x) /
    std * gamma + beta`; nothing is subtracted. Without activation, as behind
    the last convolution of a block, `x / std * gamma + beta`: what timm calls
    S0a. (The S0 of the paper leaves out the division there.)

    Args:
      groups: Integer, the number of groups, a divisor of the channels.
      axis: Integer, the channel axis: 1, 3 or -1.
      epsilon: Float, added to the variance.
      activates: Boolean, whether it is the activation, too.
      gamma_initializer: of the factors, `"ones"` by default.
      **kwargs: Further arguments of `keras.layers.Layer`.

    Input shape:
      `(batch, height, width, channels)`, or with `axis=1` `(batch, channels,
      height, width)`.
    Output shape:
      that of the input.

    Raises:
      ValueError: If `groups` does not divide the channels.

    Example:
    >>> layer = EvoNormS0a(groups=1, activates=False, epsilon=0.0)
    >>> x = ops.convert_to_tensor([[[[0.0, 2.0]]]])
    >>> ops.convert_to_numpy(layer(x)).tolist()
    [[[[0.0, 2.0]]]]

    Source: [Liu et al., 2020](https://arxiv.org/abs/2004.02967), table 2.
    """

    def __init__(
        self,
        groups: int,
        axis: int = -1,
        epsilon: float = 1e-3,
        activates: bool = True,
        gamma_initializer: str | keras.Initializer = "ones",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.groups = groups
        self.axis = axis
        self.epsilon = epsilon
        self.activates = activates
        self.gamma_initializer = keras.initializers.get(gamma_initializer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the weights: gamma, beta and, to activate, v."""
        channels = input_shape[self.axis]
        if len(input_shape) != 4 or channels is None or channels % self.groups:
            raise ValueError(
                "`groups` must divide the channels of images (rank four). "
                f"Received: groups={self.groups}, "
                f"input shape {tuple(input_shape)}, axis={self.axis}"
            )
        initializers = {"gamma": self.gamma_initializer, "beta": "zeros"}
        if self.activates:
            initializers["v"] = "ones"
        for name, initializer in initializers.items():
            variable = self.add_weight(
                shape=(channels,),
                name=name,
                initializer=initializer,
                autocast=False,
            )
            setattr(self, name, variable)

    def call(self, inputs: Any) -> Any:
        """Normalizes and activates `inputs`, of the shape given above."""
        x = _in_float32(inputs)
        _, variance = _centered(x, self.groups, self.axis)
        scale = ops.rsqrt(variance + self.epsilon)
        scale = _per_channel(scale, self.gamma, self.groups, x, self.axis)
        if self.activates:
            x = x * ops.sigmoid(x * _over_image(self.v, x, self.axis))
        outputs = x * scale + _over_image(self.beta, x, self.axis)
        return ops.cast(outputs, self.compute_dtype)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer."""
        return {
            **super().get_config(),
            "groups": self.groups,
            "axis": self.axis,
            "epsilon": self.epsilon,
            "activates": self.activates,
            "gamma_initializer": keras.initializers.serialize(
                self.gamma_initializer
            ),
        }


def _in_float32(inputs):
    return ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))


def _centered(x, groups, axis):
    """Returns images less the mean of their groups, and (b, groups, 1) squares.

    The squares are those of what is left: a difference of the mean square and
    the squared mean would lose digits.
    """
    mean = _group_mean(x, groups, axis)
    centered = x - _per_channel(mean, None, groups, x, axis)
    return centered, _group_mean(ops.square(centered), groups, axis)


def _group_mean(x, groups, axis):
    """Returns means of groups of channels, (batch, groups, 1)."""
    pixels = (2, 3) if axis == 1 else (1, 2)
    channels = ops.mean(x, pixels)
    in_groups = (-1, groups, x.shape[axis] // groups)
    return ops.mean(ops.reshape(channels, in_groups), -1, keepdims=True)


def _per_channel(values, factors, groups, x, axis):
    """Returns a group's value times each channel's factor, over images."""
    shape = (1, groups, x.shape[axis] // groups)
    if factors is None:
        factors = ops.ones(shape, values.dtype)
    factors = ops.cast(ops.reshape(factors, shape), values.dtype)
    return _over_image(values * factors, x, axis)


def _over_image(values, x, axis):
    """Returns values of channels in the shape that images are multiplied by."""
    channels = x.shape[axis]
    shape = (-1, channels, 1, 1) if axis == 1 else (-1, 1, 1, channels)
    return ops.cast(ops.reshape(values, shape), x.dtype)
