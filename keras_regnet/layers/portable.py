"""Grouped convolution by operations that every TensorFlow build runs.

Without oneDNN TensorFlow's CPUs convolve in groups, but have no gradient for
it. That is computed from dense convolutions over merged groups, whose kernels
are zero across groups. The timings behind the choices are reproduced by
`python -m benchmarks run --suite=layers`.
"""

import functools
import math
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_regnet.layers import forms
from keras_regnet.layers import tracing

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

# Input channels of the merged groups of one dense convolution. Wider
# ones multiply more zeros, narrower ones run more and smaller kernels; 32
# was the fastest of 16 to 128 on the RegNet shapes.
_MERGED_WIDTH = 32

# Channels of a group from which on TensorFlow's own loop over groups nearly
# keeps up with merged groups; of 8 it takes half as long again. From the second
# number on it is as fast.
_MIN_LOOP_WIDTH = 16
_MIN_EQUAL_WIDTH = 64

# Pixels of a batch from which on the few percent between are more than it takes
# to merge the kernels.
_MIN_MERGED_PIXELS = 14 * 14


def portable_conv(
    inputs, kernel, *, groups, strides, padding, dilation_rate, data_format
):
    """Convolves by NHWC operations that run, and train, everywhere."""
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
    outputs = _conv(inputs, kernel, groups, strides, padding, dilation_rate)
    return ops.cast(outputs, dtype)


def _conv(inputs, kernel, groups, strides, padding, dilation_rate):
    if keras.backend.backend() != "tensorflow" or tracing.traces_for_xla():
        merge = _merge_of(kernel, groups)
        options = {"strides": strides, "padding": padding}
        return _merged_conv(
            inputs, kernel, merge, **options, dilation_rate=dilation_rate
        )
    padding = padding.upper()
    if max(dilation_rate) == 1:
        return _undilated_conv(inputs, kernel, groups, strides, padding)
    # A dilated convolution has no gradient without oneDNN.
    return tf.nn.with_space_to_batch(
        inputs,
        dilation_rate,
        padding,
        lambda x, *_: _undilated_conv(x, kernel, groups, (1, 1), "VALID"),
        filter_shape=kernel.shape[:2],
    )


def _undilated_conv(inputs, kernel, groups, strides, padding):
    """Convolves in TensorFlow; what is computed depends on the groups."""
    if groups == 1:
        return tf.nn.conv2d(inputs, kernel, strides, padding)
    height, width, width_in, filters = kernel.shape
    if width_in == 1 and strides[0] == strides[1]:
        shape = (height, width, groups, filters // groups)
        kernel = tf.reshape(kernel, shape)
        strides = (1, *strides, 1)
        return tf.nn.depthwise_conv2d(inputs, kernel, strides, padding)
    # Whoever loads what is stored in this form may take a gradient of it.
    is_stored = forms.current() == "portable" and width_in >= _MIN_LOOP_WIDTH
    if forms.is_inference() and not is_stored:
        return _forward(inputs, kernel, groups, strides, padding)
    return _differentiable_conv(inputs, kernel, groups, strides, padding)


def _merges_forward(inputs, kernel):
    """Whether merged groups are computed, and not TensorFlow's loop."""
    width_in = kernel.shape[2]
    if width_in < _MIN_LOOP_WIDTH:
        return True
    # The loop is one operation: oneDNN may be where a stored one runs, and a
    # training step is traced, with its gradients, in half the time.
    if forms.current() == "portable" or not forms.is_inference():
        return False
    pixels = math.prod(size or 1 for size in inputs.shape[:3])
    return width_in < _MIN_EQUAL_WIDTH and pixels >= _MIN_MERGED_PIXELS


def _forward(inputs, kernel, groups, strides, padding):
    if _merges_forward(inputs, kernel):
        merge = _merge_of(kernel, groups)
        return _merged_conv(inputs, kernel, merge, strides, padding.lower())
    outputs = tf.nn.conv2d(inputs, kernel, strides, padding)
    # TensorFlow rewrites a convolution and the bias or batch norm behind it as
    # one operation, which without oneDNN refuses groups. This stands between.
    return tf.ensure_shape(outputs, outputs.shape)


def _differentiable_conv(inputs, kernel, groups, strides, padding):
    """Convolves; its gradient is that of merged groups."""
    merge = _merge_of(kernel, groups)

    @tf.custom_gradient
    def convolve(inputs, kernel):
        def gradient(upstream):
            return _gradient(upstream, inputs, kernel, merge, strides, padding)

        return _forward(inputs, kernel, groups, strides, padding), gradient

    # The values: TensorFlow lets no such function read a variable.
    return convolve(tf.convert_to_tensor(inputs), tf.convert_to_tensor(kernel))


def _gradient(upstream, inputs, kernel, merge, strides, padding):
    """Returns the gradients of inputs and kernel.

    Split and concatenated, whose gradients would be slices, which TensorFlow
    differentiates by writing zeros of the whole around each.
    """
    inputs = _split(inputs, merge.widths_in)
    upstream = _split(upstream, merge.widths_out)
    kernels = _merged_kernels(kernel, merge)
    # All but the last are of one shape: two constants of each serve all.
    shapes = [
        (tf.shape(inputs[i]), tf.constant(kernels[i].shape.as_list()))
        for i in (0, -1)
    ]
    shapes = [shapes[0]] * (len(inputs) - 1) + [shapes[1]]
    options = {"strides": [1, *strides, 1], "padding": padding}
    of_inputs, of_kernels = [], []
    for x, dy, dense, (size, kernel_size) in zip(
        inputs, upstream, kernels, shapes, strict=True
    ):
        of_inputs.append(
            tf.raw_ops.Conv2DBackpropInput(
                input_sizes=size, filter=dense, out_backprop=dy, **options
            )
        )
        of_kernels.append(
            tf.raw_ops.Conv2DBackpropFilter(
                input=x, filter_sizes=kernel_size, out_backprop=dy, **options
            )
        )
    return _concatenate(of_inputs), _unmerged(of_kernels, kernel.shape, merge)


class _Merge(NamedTuple):
    """Groups merged into dense convolutions.

    The last has fewer groups where their number is not a multiple.
    """

    per_merged: int  # Groups of each dense convolution but the last.
    widths_in: tuple[int, ...]  # Input channels of each.
    widths_out: tuple[int, ...]  # Filters of each.


def _merge_of(kernel, groups):
    width_in, filters = kernel.shape[2:]
    per_merged = max(1, min(groups, _MERGED_WIDTH // width_in))
    counts = [
        min(per_merged, groups - start)
        for start in range(0, groups, per_merged)
    ]
    return _Merge(
        per_merged,
        tuple(count * width_in for count in counts),
        tuple(count * (filters // groups) for count in counts),
    )


def _merged_conv(inputs, kernel, merge, strides, padding, dilation_rate=(1, 1)):
    """Convolves merged groups by dense kernels that are zero across groups."""
    outputs = [
        ops.conv(
            x,
            dense,
            strides=strides,
            padding=padding,
            data_format="channels_last",
            dilation_rate=dilation_rate,
        )
        for x, dense in zip(
            _split(inputs, merge.widths_in),
            _merged_kernels(kernel, merge),
            strict=True,
        )
    ]
    return _concatenate(outputs)


def _merged_kernels(kernel, merge):
    """Returns the dense kernel of each merged convolution."""
    height, width, width_in, filters = kernel.shape
    if merge.per_merged > 1:
        mask = _block_mask(merge, filters)
        mask = ops.cast(ops.convert_to_tensor(mask), kernel.dtype)
        kernel = ops.reshape(kernel, (height, width, 1, width_in, filters))
        kernel = ops.reshape(
            kernel * mask,
            (height, width, merge.per_merged * width_in, filters),
        )
    *kernels, last = _split(kernel, merge.widths_out)
    if merge.widths_in[-1] < kernel.shape[2]:
        last = last[:, :, : merge.widths_in[-1]]
    return [*kernels, last]


def _unmerged(kernels, shape, merge):
    """Returns the gradient of a kernel from those of the dense kernels."""
    height, width, width_in, filters = shape
    missing = merge.per_merged * width_in - merge.widths_in[-1]
    if missing:
        kernels[-1] = tf.pad(
            kernels[-1], ((0, 0), (0, 0), (0, missing), (0, 0))
        )
    dense = _concatenate(kernels)
    if merge.per_merged == 1:
        return dense
    mask = tf.cast(_block_mask(merge, filters), dense.dtype)
    dense = tf.reshape(
        dense, (height, width, merge.per_merged, width_in, filters)
    )
    return tf.reduce_sum(dense * mask, axis=2)


@functools.cache
def _block_mask(merge, filters):
    """Returns 1 where an input and a filter are of one group, else 0.

    Of shape (per_merged, 1, filters): a group has one number for all of its
    input channels.
    """
    width_out = merge.widths_out[0] // merge.per_merged
    group = np.arange(filters) // width_out % merge.per_merged
    mask = np.arange(merge.per_merged)[:, None] == group
    return mask[:, None].astype("float32")


def _split(values, widths):
    """Splits the last axis into parts of these widths."""
    if len(widths) == 1:
        return [values]
    if keras.backend.backend() == "tensorflow":
        # Keras's takes the widths from a slice for each.
        return tf.split(values, widths, axis=-1)
    return ops.split(values, np.cumsum(widths[:-1]).tolist(), axis=-1)


def _concatenate(parts):
    return ops.concatenate(parts, -1) if len(parts) > 1 else parts[0]
