"""Keras layers whose stock form is slow or fails to train on a CPU.

Each layer has the weights, the config and the results of the Keras layer it
extends; only the operations it is computed with differ. What is chosen where,
and the timings behind it, is reproduced by `benchmarks/grouped_conv.py`.
"""

import contextlib
import contextvars
import functools
import sys
from concurrent import futures

import keras
import numpy as np
from keras import ops

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
elif keras.backend.backend() == "jax":
    import jax

_register = keras.saving.register_keras_serializable(package="keras_regnet")

# Input channels that one dense convolution of the portable form covers. Wider
# bundles multiply more zeros, narrower ones run more and smaller kernels; 32
# was the fastest of 16 to 128 on the RegNet shapes.
_BUNDLE_WIDTH = 32

# Largest error of the native kernel, relative to the largest value expected,
# with which the probe still trusts it: rounding, not a wrong result.
_PROBE_TOLERANCE = {"float16": 2e-2, "bfloat16": 5e-2}

# Strided 1x1 convolutions of fewer channels crash in oneDNN, see `_may_crash`.
_SAFE_CHANNELS = 16

_FORM = contextvars.ContextVar("keras_regnet_form", default="auto")


@contextlib.contextmanager
def _form(name):
    token = _FORM.set(name)
    try:
        yield
    finally:
        _FORM.reset(token)


def portable_ops():
    """Makes layers trace only operations that every TensorFlow build runs.

    A grouped convolution that oneDNN computes on this machine fails on a
    server that runs with `TF_ENABLE_ONEDNN_OPTS=0`. Within this context,
    which holds for the current thread, the layers of this module trace plain
    NHWC convolutions and elementwise operations instead; no function is
    compiled by XLA. A function traced before keeps what it was traced with.
    Other backends than TensorFlow are not affected.

    Returns:
        A context manager.

    Example:
    >>> layer = GroupedConv2D(4, 3, groups=2)
    >>> with portable_ops():
    ...     y = layer(np.ones((1, 5, 5, 4), "float32"))
    >>> tuple(y.shape)
    (1, 3, 3, 4)
    """
    return _form("portable")


def native_ops():
    """Makes layers trace one grouped `Conv2D` operation, whatever runs here.

    For converters (LiteRT, ONNX), which read the graph and do not run it:
    the operation is traced even where this machine has no kernel for it.
    Other backends than TensorFlow are not affected.

    Returns:
        A context manager, which holds for the current thread.

    Example:
    >>> layer = GroupedConv2D(4, 3, groups=2)
    >>> layer.build((None, 5, 5, 4))
    >>> with native_ops():
    ...     y = layer(keras.KerasTensor((1, 5, 5, 4)))
    >>> y.shape
    (1, 3, 3, 4)
    """
    return _form("native")


@_register
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`, fast and trainable on CPUs with any groups.

    Weights, config and results are those of `keras.layers.Conv2D`. Keras's
    TensorFlow backend compiles a grouped convolution with XLA, whose gradient
    on a CPU is 10 to 100 times slower than oneDNN's; JAX has the same
    weakness. On CPUs this layer uses the native kernel where a probe has seen
    it work, else dense convolutions over bundles of groups. With an
    accelerator in sight, and on the PyTorch backend, it is the stock layer.

    Args:
        filters: Integer, the number of output channels, divisible by
            `groups`.
        kernel_size: Integer or pair of integers.
        **kwargs: Further arguments of `keras.layers.Conv2D`: `strides`,
            `padding`, `data_format`, `dilation_rate`, `groups`, `activation`,
            `use_bias` and so on.

    Input shape: `(batch, height, width, channels)`, or `(batch, channels,
        height, width)` with `data_format="channels_first"`.
    Output shape: `(batch, new_height, new_width, filters)`, or the same with
        the channels first.

    Raises:
        ValueError: If `filters` or the input channels are not divisible by
            `groups`, or `strides` and `dilation_rate` both exceed one.

    Example:
    >>> layer = GroupedConv2D(8, 3, strides=2, padding="same", groups=4)
    >>> tuple(layer(np.ones((2, 6, 6, 16), "float32")).shape)
    (2, 3, 3, 8)
    >>> tuple(layer.kernel.shape)
    (3, 3, 4, 8)

    Source: [Xie et al., 2017](https://arxiv.org/abs/1611.05431), section 3.
    """

    def convolution_op(self, inputs, kernel):
        """Convolves `inputs` with `kernel`, without bias and activation.

        Args:
            inputs: Float tensor `(batch, height, width, channels)`, or with
                the channels first.
            kernel: Float tensor `(kernel_height, kernel_width,
                channels // groups, filters)`.

        Returns:
            Float tensor `(batch, new_height, new_width, filters)`, or with
            the channels first.
        """
        form = self._choose_form(inputs)
        if form == "stock" and self._may_crash(inputs):
            return _subsampled_conv(inputs, kernel, self.strides)
        if form == "stock":
            return super().convolution_op(inputs, kernel)
        convolve = _native_conv if form == "native" else _portable_conv
        return convolve(
            ops.convert_to_tensor(inputs),
            ops.convert_to_tensor(kernel),
            groups=self.groups,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )

    def call(self, inputs):
        """Convolves `inputs`, adds the bias and applies the activation.

        Args:
            inputs: Float tensor `(batch, height, width, channels)`, or with
                the channels first.

        Returns:
            Float tensor `(batch, new_height, new_width, filters)`, or with
            the channels first.
        """
        if not (self.use_bias and self._misplaces_bias()):
            return super().call(inputs)
        outputs = self.convolution_op(inputs, self.kernel)
        bias = ops.cast(self.bias, outputs.dtype)
        outputs = tf.nn.bias_add(outputs, bias, data_format="NCHW")
        if self.activation is None:
            return outputs
        return self.activation(outputs)

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
        if _FORM.get() != "auto":
            return "stock" if self._is_plain() else _FORM.get()
        if self._is_plain() or _sees_accelerator():
            return "stock"
        if _traces_for_xla():
            return "portable" if self.groups > 1 else "stock"
        works = _native_conv_works(
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


def _native_conv(
    inputs, kernel, *, groups, strides, padding, dilation_rate, data_format
):
    """One `Conv2D` operation; it finds the groups from the shapes."""
    del groups
    return tf.nn.conv2d(
        inputs,
        kernel,
        strides=strides,
        padding=padding.upper(),
        data_format="NHWC" if data_format == "channels_last" else "NCHW",
        dilations=dilation_rate,
    )


def _subsampled_conv(inputs, kernel, strides):
    """A 1x1 convolution with strides, as one without on every n-th pixel."""
    return tf.nn.conv2d(
        inputs[:, :: strides[0], :: strides[1]], kernel, 1, "VALID"
    )


def _portable_conv(
    inputs, kernel, *, groups, strides, padding, dilation_rate, data_format
):
    """The same from ungrouped NHWC convolutions, which run everywhere."""
    if data_format == "channels_first":
        outputs = _portable_conv(
            ops.transpose(inputs, (0, 2, 3, 1)),
            kernel,
            groups=groups,
            strides=strides,
            padding=padding,
            dilation_rate=dilation_rate,
            data_format="channels_last",
        )
        return ops.transpose(outputs, (0, 3, 1, 2))
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    if dtype in ("float16", "bfloat16"):
        # The CPU kernels of these types were up to 30 times slower in the
        # gradient than two casts and the float32 kernels.
        inputs = ops.cast(inputs, "float32")
        kernel = ops.cast(kernel, "float32")
    if max(dilation_rate) > 1 and _lacks_dilated_gradient():
        outputs = tf.nn.with_space_to_batch(
            inputs,
            dilation_rate,
            padding.upper(),
            lambda x, *_: _bundled_conv(x, kernel, groups, (1, 1), "valid"),
            filter_shape=kernel.shape[:2],
        )
    else:
        outputs = _bundled_conv(
            inputs, kernel, groups, strides, padding, dilation_rate
        )
    return ops.cast(outputs, dtype)


def _bundled_conv(
    inputs, kernel, groups, strides, padding, dilation_rate=(1, 1)
):
    """Sums nothing but zeros across groups: dense kernels, zero off-block.

    Args:
        inputs: Float tensor `(batch, height, width, channels)`.
        kernel: Float tensor `(kernel_height, kernel_width,
            channels // groups, filters)`.
        groups: Integer.
        strides: Pair of integers.
        padding: `"valid"` or `"same"`.
        dilation_rate: Pair of integers.

    Returns:
        Float tensor `(batch, new_height, new_width, filters)`.
    """
    width_in, filters = kernel.shape[2:]
    width_out = filters // groups
    per_bundle = max(1, min(groups, _BUNDLE_WIDTH // width_in))
    if per_bundle > 1:
        mask = _block_mask(groups, per_bundle, width_in, width_out)
        mask = ops.cast(ops.convert_to_tensor(mask), kernel.dtype)
        kernel = ops.tile(kernel, (1, 1, per_bundle, 1)) * mask
    outputs = []
    for start in range(0, groups, per_bundle):
        stop = min(start + per_bundle, groups)
        outputs.append(
            ops.conv(
                inputs[..., start * width_in : stop * width_in],
                kernel[
                    :,
                    :,
                    : (stop - start) * width_in,
                    start * width_out : stop * width_out,
                ],
                strides=strides,
                padding=padding,
                data_format="channels_last",
                dilation_rate=dilation_rate,
            )
        )
    return ops.concatenate(outputs, -1) if len(outputs) > 1 else outputs[0]


def _block_mask(groups, per_bundle, width_in, width_out):
    """Ones where a bundle's row and a filter are of one group, else zeros.

    Args:
        groups: Integer.
        per_bundle: Integer, groups in one bundle.
        width_in: Integer, input channels per group.
        width_out: Integer, filters per group.

    Returns:
        Float array `(per_bundle * width_in, groups * width_out)`.
    """
    row_group = np.repeat(np.arange(per_bundle), width_in)
    filter_group = np.repeat(np.arange(groups) % per_bundle, width_out)
    return (row_group[:, None] == filter_group).astype("float32")


def _sees_accelerator():
    return any(
        device.device_type != "CPU"
        for device in tf.config.list_logical_devices()
    )


def _traces_for_xla():
    """Whether the function being traced is compiled (`jit_compile=True`)."""
    graph = tf.compat.v1.get_default_graph()
    while graph is not None:
        # No public API tells this; `tf.function` itself asks the same way.
        context = graph._get_control_flow_context()
        while context is not None:
            if context.IsXLAContext():
                return True
            context = context.outer_context
        graph = getattr(graph, "outer_graph", None)
    return False


def _lacks_dilated_gradient():
    return keras.backend.backend() == "tensorflow" and not _traces_for_xla()


@functools.cache
def _native_conv_works(dtype, padding, data_format, grouped, dilated):
    """Whether the native kernel and its gradient run and are right here.

    What runs depends on oneDNN, on how TensorFlow was built and on the CPU,
    none of which can be asked for: one tiny example is computed, once.

    Args:
        dtype: Name of the type of inputs and kernel.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`.
        grouped: Whether there is more than one group.
        dilated: Whether a dilation rate exceeds one.

    Returns:
        A boolean.
    """
    arguments = {
        "groups": 2 if grouped else 1,
        "padding": padding,
        "dilation_rate": (2, 2) if dilated else (1, 1),
        "data_format": data_format,
    }
    # A thread of its own runs eagerly, whatever graph, gradient tape or
    # distribution strategy the caller is tracing in. (`tf.init_scope` would
    # leave the graph, but it also stops every tape from recording.)
    with futures.ThreadPoolExecutor(max_workers=1) as executor:
        return all(
            executor.submit(
                _native_matches_portable,
                dtype,
                {**arguments, "strides": (stride, stride)},
            ).result()
            for stride in ((1,) if dilated else (1, 2))
        )


def _native_matches_portable(dtype, arguments):
    try:
        native = _convolve_example(_native_conv, dtype, arguments)
    except (tf.errors.OpError, NotImplementedError, ValueError):
        return False
    portable = _convolve_example(_portable_conv, dtype, arguments)
    tolerance = _PROBE_TOLERANCE.get(dtype, 1e-4)
    return all(
        np.max(np.abs(a - b)) <= tolerance * np.max(np.abs(b))
        for a, b in zip(native, portable, strict=True)
    )


def _convolve_example(convolve, dtype, arguments):
    """Returns output, input and kernel gradient of a small convolution."""
    channels = 8
    shape = (1, 7, 7, channels)
    if arguments["data_format"] == "channels_first":
        shape = (1, channels, 7, 7)
    # A probe must not draw from the user's random state.
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=shape)
    kernel = rng.normal(size=(3, 3, channels // arguments["groups"], channels))
    with tf.GradientTape() as tape:
        inputs = tf.constant(inputs, dtype)
        kernel = tf.constant(kernel, dtype)
        tape.watch((inputs, kernel))
        outputs = convolve(inputs, kernel, **arguments)
        loss = tf.reduce_sum(tf.square(outputs))
    gradients = tape.gradient(loss, (inputs, kernel))
    return [
        tf.cast(tensor, "float64").numpy() for tensor in (outputs, *gradients)
    ]


@_register
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` by TensorFlow's fused operation.

    Weights, config, results and moving statistics are those of
    `keras.layers.BatchNormalization`. The fused operation is used for
    images (rank four) with scale and offset, when nothing is masked,
    synchronized or compiled by XLA; Keras's own formula otherwise and on
    other backends. Rematerialization does not update the moving statistics a
    second time.

    Args:
        axis: Integer, the channel axis.
        momentum: Float, the share of the old moving statistics that stays.
        **kwargs: Further arguments of `keras.layers.BatchNormalization`.

    Input shape: any, the fused operation from `(batch, height, width,
        channels)` or `(batch, channels, height, width)`.
    Output shape: that of the input.

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

    def call(self, inputs, training=None, mask=None):
        """Normalizes `inputs` per channel.

        Args:
            inputs: Float tensor `(batch, height, width, channels)` or any
                other shape that Keras's layer takes.
            training: Boolean, whether the batch's own statistics are used.
            mask: Boolean tensor `(batch, height, width)` of the positions
                that count, or `None`.

        Returns:
            Float tensor of the shape of `inputs`.
        """
        if training and is_recomputing():
            # The first pass has updated the moving statistics; what this one
            # assigns is kept by the scope and dropped with it.
            with keras.StatelessScope():
                return self._normalize(inputs, training, mask)
        return self._normalize(inputs, training, mask)

    def rematerialized_call(self, layer_call, *args, **kwargs):
        """Returns `layer_call` as it is: computing it twice updates twice."""
        del args, kwargs
        return layer_call

    def _normalize(self, inputs, training, mask):
        if mask is not None or not self._is_fusible(inputs):
            return super().call(inputs, training=training, mask=mask)
        if training and self.trainable:
            return self._fused_training_call(inputs)
        return self._fused_inference_call(inputs)

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
            and not _traces_for_xla()
        )

    def _fused_training_call(self, inputs):
        outputs, mean, variance = self._fused_op(inputs, is_training=True)
        self._update_moving_statistics(
            mean, variance * _bias_correction(inputs, mean)
        )
        return outputs

    def _fused_inference_call(self, inputs):
        outputs, _, _ = self._fused_op(
            inputs,
            is_training=False,
            mean=ops.cast(self.moving_mean, "float32"),
            variance=ops.cast(self.moving_variance, "float32"),
        )
        return outputs

    def _fused_op(self, inputs, is_training, mean=(), variance=()):
        """Returns outputs, batch mean and unbiased batch variance."""
        # Not `tf.compat.v1.nn.fused_batch_norm`: it raises an epsilon below
        # 1.001e-5, and published RegNets have 1e-5.
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=ops.cast(self.gamma, "float32"),
            offset=ops.cast(self.beta, "float32"),
            mean=mean,
            variance=variance,
            epsilon=self.epsilon,
            exponential_avg_factor=1.0,
            data_format="NCHW" if self.axis == 1 else "NHWC",
            is_training=is_training,
        )
        return ops.cast(outputs, self.compute_dtype), mean, variance

    def _update_moving_statistics(self, mean, variance):
        for moving, batch in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            old = ops.cast(moving, "float32")
            moving.assign(old * self.momentum + batch * (1.0 - self.momentum))


@_register
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

    Input shape: any, the fused operation from `(batch, height, width,
        channels)` or `(batch, channels, height, width)`.
    Output shape: that of the input.

    Example:
    >>> layer = Normalization(mean=[1.0, 2.0], variance=[4.0, 4.0])
    >>> float(layer(np.full((1, 3, 3, 2), 5.0, "float32"))[0, 0, 0, 1])
    1.5
    """

    def call(self, inputs):
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
            and not _traces_for_xla()
        )


def _bias_correction(inputs, mean):
    """(n - 1) / n: the fused variance is unbiased, Keras keeps the biased.

    Args:
        inputs: Float tensor, rank four.
        mean: Float tensor `(channels,)`.

    Returns:
        Float32 scalar; zero for n = 1, where both variances are zero.
    """
    count = tf.cast(tf.size(inputs) // tf.size(mean), "float32")
    return (count - 1.0) / count


def is_recomputing() -> bool:
    """Whether `tf.recompute_grad` repeats a forward pass for its gradient.

    TensorFlow does not say so to what it calls, so the calling frames are
    asked. Costs microseconds, and only while tracing.

    Returns:
        A boolean.
    """
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "inner_recompute_grad":
            return True
        frame = frame.f_back
    return False


@_register
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

    Input shape: `(batch, height, width, channels)`, or `(batch, channels,
        height, width)` with `data_format="channels_first"`.
    Output shape: the same with height and width divided by `strides`,
        rounded up.

    Raises:
        ValueError: If a `pool_size` is even.

    Example:
    >>> layer = PaddedMaxPooling2D()
    >>> tuple(layer(np.ones((2, 8, 7, 4), "float32")).shape)
    (2, 4, 4, 4)

    Source: `torch.nn.MaxPool2d(3, 2, 1)` in the stem of He et al., 2016.
    """

    def __init__(self, pool_size=3, strides=2, data_format=None, **kwargs):
        super().__init__(
            pool_size, strides=strides, data_format=data_format, **kwargs
        )
        if not all(size % 2 for size in self.pool_size):
            raise ValueError(
                "`pool_size` must be odd, to pad both sides alike. "
                f"Received: pool_size={pool_size}"
            )

    def call(self, inputs):
        """Pools `inputs`, of the shape given above."""
        # The lowest finite value, not -inf: int8 conversion scales by the
        # range of a tensor. Rounded up to what bfloat16 holds.
        lowest = -65504.0 if self.compute_dtype == "float16" else -3.38e38
        return super().call(
            ops.pad(inputs, self._paddings(), constant_values=lowest)
        )

    def compute_output_shape(self, input_shape):
        """Returns the shape of the output for that of the input."""
        padded = tuple(
            size if size is None else size + sum(pads)
            for size, pads in zip(input_shape, self._paddings(), strict=True)
        )
        return super().compute_output_shape(padded)

    def get_config(self):
        """Returns the arguments of the constructor."""
        config = super().get_config()
        del config["padding"]
        return config

    def _paddings(self):
        spatial = tuple(((n - 1) // 2,) * 2 for n in self.pool_size)
        if self.data_format == "channels_first":
            return ((0, 0), (0, 0), *spatial)
        return ((0, 0), *spatial, (0, 0))
