"""Batch norm and normalization of images by TensorFlow's fused operation."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_regnet import onednn
from keras_regnet.layers import forms
from keras_regnet.layers import tracing

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf


@keras.saving.register_keras_serializable(package="keras_regnet")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` by TensorFlow's fused operation.

    Weights, config, results and moving statistics are those of
    `keras.layers.BatchNormalization`. The fused operation is used for
    images (rank four) with scale and offset, when nothing is masked,
    synchronized or compiled by XLA; Keras's own formula otherwise and on
    other backends. When synchronized, the variance over replicas is taken
    around the mean; Keras's difference of two large numbers spoils gradients
    in float32. `keras.RematScope` does not update the moving statistics a
    second time; `tf.recompute_grad` around the layer does, as with Keras's.

    Args:
      axis: Integer, the channel axis.
      momentum: Float, the fraction of the old moving statistics that stays.
      **kwargs: Further arguments of `keras.layers.BatchNormalization`.

    Input shape:
      any, the fused operation from `(batch, height, width,
      channels)` or `(batch, channels, height, width)`.
    Output shape:
      that of the input.

    Raises:
      ValueError: If `synchronized` is set on another backend than
        TensorFlow.

    Example:
    >>> layer = BatchNormalization()
    >>> y = layer(np.ones((2, 4, 4, 3), "float32"), training=True)
    >>> float(np.abs(y).max())
    0.0

    Source: [Ioffe and Szegedy, 2015](https://arxiv.org/abs/1502.03167).
    """

    def call(
        self, inputs: Any, training: bool | None = None, mask: Any = None
    ) -> Any:
        """Normalizes `inputs` per channel; `mask` marks pixels that count."""
        if training and self.trainable and self._is_synchronizable(mask):
            # Only TensorFlow synchronizes.
            context = tf.distribute.get_replica_context()
            if context is not None:
                return self._synchronized_call(inputs, context)
        if mask is not None or not self._is_fusible(inputs):
            return super().call(inputs, training=training, mask=mask)
        if training and self.trainable:
            return self._fused_training_call(inputs)
        return self._fused_inference_call(inputs)

    def rematerialized_call(
        self, layer_call: Callable, *args: Any, **kwargs: Any
    ) -> Callable:
        """Returns `layer_call` as it is: computing it twice updates twice."""
        del args, kwargs
        return layer_call

    def _synchronized_call(self, inputs, context):
        outputs, mean, variance = _synchronized(
            ops.cast(
                inputs, keras.backend.result_type(inputs.dtype, "float32")
            ),
            self.gamma if self.scale else ops.ones_like(self.moving_variance),
            self.beta if self.center else ops.zeros_like(self.moving_mean),
            self._reduction_axes,
            self.epsilon,
            context,
        )
        self._update_moving_statistics(mean, variance)
        return ops.cast(outputs, self.compute_dtype)

    def scale_and_offset(self) -> tuple[Any, Any]:
        """Returns what inference does, of shape (channels,) each."""
        deviation = ops.sqrt(self.moving_variance + self.epsilon)
        scale = self.gamma / deviation
        return scale, self.beta - self.moving_mean * scale

    def _is_synchronizable(self, mask):
        return self.synchronized and not self.renorm and mask is None

    def _is_fusible(self, inputs):
        """Whether the fused operation computes this call, on TensorFlow."""
        return (
            keras.backend.backend() == "tensorflow"
            and len(inputs.shape) == 4
            and self.axis in (-1, 1, 3)
            and self.scale
            and self.center
            and not self.synchronized
            and not self.renorm
            and keras.backend.standardize_dtype(inputs.dtype)
            in ("float16", "bfloat16", "float32")
            and not tracing.traces_for_xla()
            and not self._is_misread(inputs)
        )

    def _is_misread(self, inputs):
        """Whether TensorFlow would rewrite the fused operation wrongly.

        TensorFlow 2.21 joins it to a convolution before it without a look at
        which axis each takes for the channels.
        """
        operation = getattr(inputs, "op", None)  # Eager tensors have none.
        if operation is None or operation.type != "Conv2D":
            return False
        channels_first = operation.get_attr("data_format") == b"NCHW"
        return channels_first != (self.axis == 1)

    def _fused_training_call(self, inputs):
        """Normalizes by the batch; the operation moves the statistics, too."""
        # Without a part of the old, it wants none.
        old = self._moving_statistics() if self.momentum else ((), ())
        outputs, mean, variance = self._fused_op(
            inputs, old, is_training=True, factor=1.0 - self.momentum
        )
        self.moving_mean.assign(mean)
        # It has moved towards the unbiased variance, and Keras keeps the
        # biased, which is as many times smaller.
        ratio = _bias_correction(inputs, mean)
        variance *= ratio
        if self.momentum:
            variance += old[1] * (self.momentum * (1.0 - ratio))
        self.moving_variance.assign(variance)
        return outputs

    def _moving_statistics(self):
        return (
            ops.cast(self.moving_mean, "float32"),
            ops.cast(self.moving_variance, "float32"),
        )

    def _fused_inference_call(self, inputs):
        outputs, _, _ = self._fused_op(
            inputs, self._moving_statistics(), is_training=False
        )
        return outputs

    def _fused_op(self, inputs, statistics, is_training, factor=1.0):
        """Returns outputs, and mean and variance moved by a factor."""
        channels_first = self.axis == 1
        transposes = channels_first and _is_slow_with_channels_first()
        if transposes:
            inputs = tf.transpose(inputs, (0, 2, 3, 1))
        # Not `tf.compat.v1.nn.fused_batch_norm`: it raises an epsilon below
        # 1.001e-5, and published RegNets have 1e-5.
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=ops.cast(self.gamma, "float32"),
            offset=ops.cast(self.beta, "float32"),
            mean=statistics[0],
            variance=statistics[1],
            epsilon=self.epsilon,
            exponential_avg_factor=factor,
            data_format=(
                "NCHW" if channels_first and not transposes else "NHWC"
            ),
            is_training=is_training,
        )
        if transposes:
            outputs = tf.transpose(outputs, (0, 3, 1, 2))
        return ops.cast(outputs, self.compute_dtype), mean, variance

    def _update_moving_statistics(self, mean, variance):
        for moving, batch in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            old = ops.cast(moving, batch.dtype)
            moving.assign(old * self.momentum + batch * (1.0 - self.momentum))


@keras.saving.register_keras_serializable(package="keras_regnet")
class Normalization(keras.layers.Normalization):
    """`keras.layers.Normalization` by TensorFlow's fused operation.

    Config and results are those of `keras.layers.Normalization`. Its two
    elementwise operations broadcast three numbers over an image, which a CPU
    does slowly. The fused batch norm computes the same in one pass.

    Args:
      axis: Integer, the channel axis.
      mean: Sequence of floats, one per channel.
      variance: Sequence of floats, one per channel.
      **kwargs: Further arguments of `keras.layers.Normalization`.

    Input shape:
      any, the fused operation from `(batch, height, width,
      channels)` or `(batch, channels, height, width)`.
    Output shape:
      that of the input.

    Example:
    >>> layer = Normalization(mean=[1.0, 2.0], variance=[4.0, 4.0])
    >>> float(layer(np.full((1, 3, 3, 2), 5.0, "float32"))[0, 0, 0, 1])
    1.5
    """

    mean: Any
    variance: Any

    def build(self, input_shape: Any) -> None:
        """Makes mean and variance of the shape of the inputs."""
        super().build(input_shape)
        self._hold_arrays()

    def finalize_state(self) -> None:
        """Takes over what `adapt` has found."""
        super().finalize_state()
        self._hold_arrays()

    def _hold_arrays(self):
        """Holds NumPy's arrays in place of TensorFlow's tensors.

        A traced function captures a tensor, and a converter takes what is
        captured for an input of the model; an array becomes a constant.
        """
        if keras.backend.backend() != "tensorflow" or self.mean is None:
            return
        arrays = [tf.get_static_value(t) for t in (self.mean, self.variance)]
        if arrays[0] is not None and arrays[1] is not None:
            self.mean, self.variance = arrays

    def call(self, inputs: Any) -> Any:
        """Normalizes `inputs`, of the shape given above."""
        if not self._is_fusible(inputs):
            return super().call(inputs)
        mean = ops.reshape(self.mean, (-1,))
        outputs, *_ = tf.raw_ops.FusedBatchNormV3(
            x=ops.cast(inputs, self.compute_dtype),
            scale=ops.ones_like(mean),
            offset=ops.zeros_like(mean),
            mean=mean,
            variance=ops.reshape(self.variance, (-1,)),
            epsilon=0.0,
            data_format="NCHW" if self.axis == (1,) else "NHWC",
            is_training=False,
        )
        return outputs

    def _is_fusible(self, inputs):
        """Whether the fused operation computes this call, on TensorFlow."""
        return (
            keras.backend.backend() == "tensorflow"
            and len(inputs.shape) == 4
            and self.axis in ((1,), (3,), (-1,))
            and not self.invert
            and self.input_mean is not None
            # Zero variance is for Keras's formula, which has an epsilon.
            and np.min(self.input_variance) > 0
            and self.compute_dtype == "float32"
            and not tracing.traces_for_xla()
        )


def _is_slow_with_channels_first():
    """Whether TensorFlow's own kernel computes the fused operation, on a CPU.

    With channels first it takes ten times as long. The transpositions around it
    meet those of the portable convolutions, which TensorFlow then drops.
    """
    if forms.current() != "auto":
        return forms.current() == "portable"
    return onednn.is_on() is False and not tracing.has_accelerator()


def _synchronized(inputs, gamma, beta, axes, epsilon, context):
    """Batch norm over the images of all replicas.

    Keras takes the variance as E[x^2] - E[x]^2, and leaves the gradient to
    the parts of its formula. Both are differences of large numbers where a
    channel hardly varies, of which float32 keeps little: replicas drifted
    from a single device. Here all is computed around the mean, forwards and
    backwards, and a step sends three messages in place of five.
    """
    shape = [1 if axis in axes else -1 for axis in range(len(inputs.shape))]

    def broadcast(values):
        return tf.reshape(values, shape)

    @tf.custom_gradient
    def normalized(inputs, gamma, beta):
        total = _sum(inputs, axes)
        count = tf.cast(tf.size(inputs) // tf.size(total), inputs.dtype)
        # One message for both.
        sums = context.all_reduce("SUM", tf.concat([total, [count]], axis=0))
        total, count = sums[:-1], sums[-1]
        mean = tf.math.divide_no_nan(total, count)
        centered = inputs - broadcast(mean)
        squares = context.all_reduce("SUM", _sum(tf.square(centered), axes))
        variance = tf.math.divide_no_nan(squares, count)
        scale = tf.math.rsqrt(variance + epsilon)
        unit = centered * broadcast(scale)

        def gradient(upstream, *_):
            """Of the outputs: the statistics train nothing by themselves."""
            of_beta = _sum(upstream, axes)
            of_gamma = _sum(upstream * unit, axes)
            means = tf.math.divide_no_nan(
                context.all_reduce("SUM", tf.concat([of_beta, of_gamma], 0)),
                count,
            )
            of_mean, of_scale = (broadcast(m) for m in tf.split(means, 2))
            of_inputs = upstream - of_mean - unit * of_scale
            return of_inputs * broadcast(scale * gamma), of_gamma, of_beta

        outputs = unit * broadcast(gamma) + broadcast(beta)
        return (outputs, mean, variance), gradient

    return normalized(
        inputs, ops.cast(gamma, inputs.dtype), ops.cast(beta, inputs.dtype)
    )


def _sum(values, axes):
    """Returns the sums over axes, one axis after the other.

    In one go, TensorFlow adds number after number: of 32,768 of them, float32
    leaves the mean with an error thirty times as large.
    """
    for axis in sorted(axes, reverse=True):
        values = tf.reduce_sum(values, axis)
    return values


def _bias_correction(inputs, mean):
    """(n - 1) / n: the fused variance is unbiased, Keras keeps the biased.

    Zero for n = 1, where both variances are zero.
    """
    if inputs.shape.is_fully_defined() and inputs.shape.num_elements():
        count = inputs.shape.num_elements() / mean.shape.num_elements()
    else:
        count = tf.cast(tf.size(inputs) // tf.size(mean), "float32")
    return (count - 1.0) / count
