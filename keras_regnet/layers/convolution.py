"""Convolution in groups that is fast and trains on CPUs."""

from typing import Any

import keras
from keras import ops

from keras_regnet.layers import forms
from keras_regnet.layers import kernels
from keras_regnet.layers import portable
from keras_regnet.layers import tracing

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
elif keras.backend.backend() == "jax":
    import jax

# Strided 1x1 convolutions of fewer channels crash in oneDNN, see `_may_crash`.
_SAFE_CHANNELS = 16


@keras.saving.register_keras_serializable(package="keras_regnet")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`, fast and trainable on CPUs with any groups.

    Weights, config and results are those of `keras.layers.Conv2D`. Keras's
    TensorFlow backend compiles a grouped convolution with XLA, whose gradient
    on a CPU is 10 to 100 times slower than oneDNN's; JAX has the same
    weakness. On CPUs this layer uses the native kernel where a probe has seen
    it work, else operations that run and train everywhere. With an
    accelerator, and on the PyTorch backend, it is the stock layer.

    Args:
      filters: Integer, the number of output channels, divisible by
        `groups`.
      kernel_size: Integer or pair of integers.
      **kwargs: Further arguments of `keras.layers.Conv2D`: `strides`,
        `padding`, `data_format`, `dilation_rate`, `groups`, `activation`,
        `use_bias` and so on.

    Input shape:
      `(batch, height, width, channels)`, or `(batch, channels,
      height, width)` with `data_format="channels_first"`.
    Output shape:
      `(batch, new_height, new_width, filters)`, or the same with
      the channels first.

    Raises:
      ValueError: If `filters` or the input channels are not divisible by
        `groups`, or `strides` and `dilation_rate` both exceed one.

    Example:
    >>> layer = GroupedConv2D(8, 3, strides=2, padding="same", groups=4)
    >>> tuple(layer(ops.ones((2, 6, 6, 16))).shape)
    (2, 3, 3, 8)
    >>> tuple(layer.kernel.shape)
    (3, 3, 4, 8)

    Source: [Xie et al., 2017](https://arxiv.org/abs/1611.05431), section 3.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolves `inputs` with `kernel`, without bias and activation."""
        form = self._choose_form(inputs)
        if form == "stock" and self._may_crash(inputs):
            return kernels.subsampled_conv(inputs, kernel, self.strides)
        if form == "stock":
            return super().convolution_op(inputs, kernel)
        convolve = (
            kernels.native_conv if form == "native" else portable.portable_conv
        )
        return convolve(
            ops.convert_to_tensor(inputs),
            ops.convert_to_tensor(kernel),
            groups=self.groups,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )

    def call(self, inputs: Any) -> Any:
        """Convolves `inputs`, adds the bias and applies the activation."""
        if self.use_bias and self._misplaces_bias():
            bias = ops.cast(self.bias, self.compute_dtype)
            outputs = self.convolve_and_add(inputs, self.kernel, bias)
            return self.activation(outputs) if self.activation else outputs
        return super().call(inputs)

    def convolve_and_add(self, inputs: Any, kernel: Any, bias: Any) -> Any:
        """Convolves `inputs` with a kernel and adds a bias; TensorFlow only."""
        outputs = self.convolution_op(inputs, kernel)
        channels_first = self.data_format == "channels_first"
        return tf.nn.bias_add(
            outputs, bias, data_format="NCHW" if channels_first else "NHWC"
        )

    def _misplaces_bias(self):
        # Keras 3.15's `ops.add` on TensorFlow takes a `(1, n, 1, 1)` bias for
        # one of the last axis where an image happens to be n pixels wide.
        return (
            keras.backend.backend() == "tensorflow"
            and self.data_format == "channels_first"
        )

    def _choose_form(self, inputs):
        """Returns "stock", "native" or "portable"."""
        backend = keras.backend.backend()
        if backend == "jax":
            return "portable" if self._is_slow_in_jax() else "stock"
        if backend != "tensorflow":
            return "stock"
        if forms.current() != "auto":
            return "stock" if self._is_plain() else forms.current()
        if self._is_plain() or tracing.has_accelerator():
            return "stock"
        if tracing.traces_for_xla():
            return "portable" if self.groups > 1 else "stock"
        works = kernels.native_conv_works(
            keras.backend.standardize_dtype(inputs.dtype),
            self.padding,
            self.data_format,
            self.groups > 1,
            max(self.dilation_rate) > 1,
        )
        return "native" if works else "portable"

    def _is_plain(self):
        """Whether every TensorFlow build runs and trains the stock form."""
        return (
            self.groups == 1
            and self.data_format == "channels_last"
            and max(self.dilation_rate) == 1
        )

    def _may_crash(self, inputs):
        """Whether oneDNN may write out of bounds in the kernel's gradient.

        TensorFlow 2.21 did, and took the process with it, for 1x1 kernels
        with strides, fewer than 16 channels and an odd batch.
        """
        return (
            keras.backend.backend() == "tensorflow"
            and self.kernel_size == (1, 1)
            and max(self.strides) > 1
            and self.data_format == "channels_last"
            and inputs.shape[-1] < _SAFE_CHANNELS
        )

    def _is_slow_in_jax(self):
        return self.groups > 1 and jax.default_backend() == "cpu"


# Keras names a layer's group in a weight file after the class, so the class is
# called as Keras's: the weight files of both are then interchangeable. The rest
# of the package uses the name that tells them apart.
GroupedConv2D = Conv2D
