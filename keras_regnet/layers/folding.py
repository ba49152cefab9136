"""Batch norm as a part of the convolution before it, at inference.

TensorFlow's graph rewriting computes convolution, bias, residual sum and ReLU
in one oneDNN kernel, but not if a batch norm stands in the bias's place. A
batch norm that uses its moving statistics is a factor and an offset for each
channel. It multiplies the kernel by the factor where that is cheaper than
another pass over the features, and adds the offset as a bias.

Only while a graph is traced: the convolution whose output then goes unused
falls out of the graph. (Run eagerly it would have been computed for nothing, as
it is where something else uses its output too.) And only where no gradient is
taken: there may be one for the output of the convolution, as Grad-CAM's.
`keras_regnet.export.fold_batch_norm` does the same to a model, once for all.
"""

import math
from collections.abc import Callable
from typing import Any

import keras

from keras_regnet.layers import tracing

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf


def attach(
    outputs: Any,
    kernel_shape: tuple[int, ...],
    channels_first: bool,
    scaled: Callable,
) -> None:
    """Attaches to a tensor how to compute it again with a scale and an offset.

    `scaled` is a function from (scale, offset), both (filters,), to
    `outputs * scale + offset`. Does nothing where the batch norm that may come
    next gains nothing by it.
    """
    if (
        keras.backend.backend() != "tensorflow"
        or tf.executing_eagerly()
        or tracing.records_gradients()
        or keras.backend.standardize_dtype(outputs.dtype) != "float32"
        or tracing.has_accelerator()
    ):
        return
    pixels = outputs.shape[2:] if channels_first else outputs.shape[1:3]
    # One image's features against the kernel: the batch may be unknown.
    if None not in pixels and math.prod(pixels) >= math.prod(kernel_shape[:3]):
        axis = 1 if channels_first else 3
        outputs._keras_regnet_scaled_convolution = axis, scaled


def scaled_convolution(tensor: Any, axis: int) -> Callable | None:
    """Returns the function attached to a tensor for an axis, or None."""
    nothing = None, None
    attached_axis, scaled = getattr(
        tensor, "_keras_regnet_scaled_convolution", nothing
    )
    return scaled if axis % 4 == attached_axis else None
