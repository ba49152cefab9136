"""The operations that compute a grouped convolution, and which work here.

The timings behind them are reproduced by `benchmarks/grouped_conv.py`.
"""

import contextlib
import functools
import os
from concurrent import futures

import keras
import numpy as np
from keras import ops

from keras_regnet.layers import tracing

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

# Input channels of the merged groups of one dense convolution. Wider
# ones multiply more zeros, narrower ones run more and smaller kernels; 32
# was the fastest of 16 to 128 on the RegNet shapes.
_MERGED_WIDTH = 32

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


def portable_conv(
    inputs, kernel, *, groups, strides, padding, dilation_rate, data_format
):
    """Convolves by ungrouped NHWC convolutions, which run everywhere."""
    if data_format == "channels_first":
        outputs = portable_conv(
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
            lambda x, *_: _merged_conv(x, kernel, groups, (1, 1), "valid"),
            filter_shape=kernel.shape[:2],
        )
    else:
        outputs = _merged_conv(
            inputs, kernel, groups, strides, padding, dilation_rate
        )
    return ops.cast(outputs, dtype)


def _merged_conv(
    inputs, kernel, groups, strides, padding, dilation_rate=(1, 1)
):
    """Convolves merged groups by dense kernels that are zero across groups."""
    width_in, filters = kernel.shape[2:]
    width_out = filters // groups
    per_merged = max(1, min(groups, _MERGED_WIDTH // width_in))
    if per_merged > 1:
        mask = _block_mask(groups, per_merged, width_in, width_out)
        mask = ops.cast(ops.convert_to_tensor(mask), kernel.dtype)
        kernel = ops.tile(kernel, (1, 1, per_merged, 1)) * mask
    outputs = []
    for start in range(0, groups, per_merged):
        stop = min(start + per_merged, groups)
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


def _block_mask(groups, per_merged, width_in, width_out):
    """Returns 1 where an input and a filter are of one group, else 0.

    Of shape (per_merged * width_in, groups * width_out).
    """
    row_group = np.repeat(np.arange(per_merged), width_in)
    filter_group = np.repeat(np.arange(groups) % per_merged, width_out)
    return (row_group[:, None] == filter_group).astype("float32")


def _lacks_dilated_gradient():
    return (
        keras.backend.backend() == "tensorflow" and not tracing.traces_for_xla()
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
        return all(
            executor.submit(
                _native_matches_portable,
                dtype,
                {**arguments, "strides": (stride, stride)},
            ).result()
            for stride in ((1,) if dilated else (1, 2))
        )


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
    portable = _convolve_example(portable_conv, dtype, arguments)
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
