"""The native grouped convolution, and whether it works here.

The timings behind them are reproduced by
`python -m benchmarks run --suite=layers`.
"""

import contextlib
import functools
import os
from concurrent import futures

import keras
import numpy as np

from keras_regnet import onednn
from keras_regnet.layers import portable

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

# Largest error of the native kernel, relative to the largest value expected,
# with which the probe still trusts it: rounding, not a wrong result.
_PROBE_TOLERANCE = {"float16": 2e-2, "bfloat16": 5e-2}


def native_conv(
    inputs, kernel, *, groups, strides, padding, dilation_rate, data_format
):
    """Convolves by one `Conv2D`, which finds the groups from the shapes."""
    del groups
    return tf.nn.conv2d(
        inputs,
        kernel,
        strides=strides,
        padding=padding.upper(),
        data_format="NHWC" if data_format == "channels_last" else "NCHW",
        dilations=dilation_rate,
    )


def subsampled_conv(inputs, kernel, strides):
    """Convolves every n-th pixel with a 1x1 kernel, without strides."""
    return tf.nn.conv2d(
        inputs[:, :: strides[0], :: strides[1]], kernel, 1, "VALID"
    )


@functools.cache
def native_conv_works(dtype, padding, data_format, grouped, dilated):
    """Whether the native kernel and its gradient run and are right here.

    That depends on oneDNN, on how TensorFlow was built and on the CPU, none of
    which can be asked for: one tiny example is computed, once.
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
    with _silenced(), futures.ThreadPoolExecutor(max_workers=1) as executor:
        works = all(
            executor.submit(
                _native_matches_portable,
                dtype,
                {**arguments, "strides": (stride, stride)},
            ).result()
            for stride in ((1,) if dilated else (1, 2))
        )
    if not works and dtype == "float32":
        onednn.warn_if_left_off()
    return works


@contextlib.contextmanager
def _silenced():
    """Drops what the process writes to its standard error.

    Kernels that fail, as they may here, say so from C++: whoever builds a
    network would be asked to file a feature request with TensorFlow.
    """
    try:
        kept = os.dup(2)
    except OSError:  # There is none.
        yield
        return
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _native_matches_portable(dtype, arguments):
    try:
        native = _convolve_example(native_conv, dtype, arguments)
    except (tf.errors.OpError, NotImplementedError, ValueError):
        return False
    expected = _convolve_example(portable.portable_conv, dtype, arguments)
    tolerance = _PROBE_TOLERANCE.get(dtype, 1e-4)
    return all(
        np.max(np.abs(a - b)) <= tolerance * np.max(np.abs(b))
        for a, b in zip(native, expected, strict=True)
    )


def _convolve_example(convolve, dtype, arguments):
    """Returns output, input and kernel gradient of a small convolution."""
    channels = 8
    shape = (1, 7, 7, channels)
    if arguments["data_format"] == "channels_first":
        shape = (1, channels, 7, 7)
    # A probe must not use the user's random state.
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
