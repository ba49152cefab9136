"""Batch norm as a part of the convolution before it, at inference.

TensorFlow's graph rewriting computes convolution, bias, residual sum and ReLU
in one oneDNN kernel, but not if a batch norm stands in the bias's place. A
batch norm that uses its moving statistics is a factor and an offset for each
channel: the factor becomes a part of the kernel where that is cheaper than
another pass over the features, and the offset a bias.

Only where it is asked for: within `folded_norms`, which the package opens
around what it traces itself and nobody takes a gradient of (predict, evaluate,
exports). Elsewhere, as for Grad-CAM, there is a convolution and a batch norm.
`keras_regnet.export.fold_batch_norm` does the same to a model, once for all.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import keras
from keras import ops

from keras_regnet.layers import forms
from keras_regnet.layers import tracing
from keras_regnet.layers.convolution import Conv2D
from keras_regnet.layers.graph import Graph
from keras_regnet.layers.normalization import BatchNormalization

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

# Not what is derived from them, which may compute something else.
CONVOLUTIONS = (keras.layers.Conv2D, Conv2D)
_NORMS = (keras.layers.BatchNormalization, BatchNormalization)


def folded_norms() -> AbstractContextManager[None]:
    """Lets networks of this package trace batch norm within convolutions.

    For functions that are traced for inference and of which no gradient is
    taken; within `predict` it is so anyway. Holds for the current thread.
    Does nothing eagerly, with an accelerator, under XLA, in other types than
    float32 and on other backends than TensorFlow.

    Returns:
      A context manager.

    Example:
    >>> import keras_regnet
    >>> import tensorflow as tf
    >>> model = keras_regnet.RegNetX("200MF", input_shape=(32, 32, 3))
    >>> @tf.function
    ... def forward(images):
    ...     with folded_norms():
    ...         return model(images, training=False)
    >>> forward(tf.zeros((1, 32, 32, 3))).shape
    TensorShape([1, 1000])
    """
    return forms.inference()


def is_active() -> bool:
    """Whether a network that is traced now is to fold its batch norms."""
    return (
        forms.is_inference()
        and keras.backend.backend() == "tensorflow"
        and not tf.executing_eagerly()
        and not tracing.traces_for_xla()
        and not tracing.has_accelerator()
    )


def foldable(
    model: keras.Model,
) -> list[tuple[keras.layers.Layer, keras.layers.Layer]]:
    """Returns each convolution whose only reader is a batch norm, with it."""
    graph = Graph(model)
    pairs = []
    for call in graph.single:
        conv = call.operation
        if not _takes_a_factor(conv):
            continue
        reader = graph.only_reader(call.outputs[0])
        if reader is not None and _is_norm_of(reader, conv):
            pairs.append((conv, reader.operation))
    return pairs


def _takes_a_factor(conv):
    return (
        type(conv) in CONVOLUTIONS
        and conv.activation in (None, keras.activations.linear)
        and not conv.lora_enabled
        and conv.quantization_mode is None
    )


def _is_norm_of(call, conv):
    norm = call.operation
    axis = 1 if conv.data_format == "channels_first" else 3
    return type(norm) in _NORMS and norm.axis % 4 == axis


def joined_calls(model: keras.Model) -> Callable[[Any], Any]:
    """Returns what calls an operation of a model with its batch norm folded.

    A convolution computes what its batch norm would, which passes it on.
    """
    norms = {
        id(conv): norm
        for conv, norm in foldable(model)
        if type(conv) is Conv2D
        and type(norm) is BatchNormalization
        # What `evaluate` adds to the loss for the outputs of each.
        and conv.activity_regularizer is None
        and norm.activity_regularizer is None
    }
    folded = {id(norm) for norm in norms.values()}

    def call_of(operation):
        if id(operation) in folded:
            return _first
        if id(operation) not in norms:
            return operation
        norm = norms[id(operation)]
        return lambda inputs: _convolve_and_normalize(operation, norm, inputs)

    return call_of


def _first(inputs, **kwargs):
    del kwargs
    return inputs


def _convolve_and_normalize(conv, norm, inputs):
    if not _pays(conv, norm, inputs):
        return norm(conv(inputs), training=False)
    scale, offset = norm.scale_and_offset()
    if conv.use_bias:
        offset = offset + conv.bias * scale
    kernel = ops.multiply(conv.kernel, scale)
    return conv.convolve_and_add(inputs, kernel, offset)


def _pays(conv, norm, inputs):
    """Whether to multiply the kernel is less than to pass over the features.

    One image's features: the batch may be unknown.
    """
    dtypes = {conv.compute_dtype, norm.compute_dtype, conv.variable_dtype}
    dtypes.add(keras.backend.standardize_dtype(inputs.dtype))
    channels_first = conv.data_format == "channels_first"
    shape = conv.compute_output_shape(tuple(inputs.shape))
    pixels = shape[2:] if channels_first else shape[1:3]
    return (
        dtypes == {"float32"}
        and norm.scale
        and norm.center
        and None not in pixels
        and math.prod(pixels) >= math.prod(conv.kernel.shape[:3])
    )
