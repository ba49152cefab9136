"""Batch norm as a part of the convolutions before it: fewer operations."""

from collections import Counter

import keras
import numpy as np


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Returns a model for inference, without batch norm behind convolutions.

    A batch norm at inference is a factor and an offset for each channel. Both
    become part of the convolution before it, of its kernel and its bias. What
    stands elsewhere (behind a sum, say) stays.

    Args:
      model: a functional model; it stays as it is and shares no weights.

    Returns:
      A functional model with the same names and the same outputs but for
      rounding, about 1e-6 of their range in float32. It is not for training:
      there the batch's own statistics would have been used.

    Raises:
      ValueError: if the model is not functional.

    Source:
      arXiv 1712.05877, section 3.2.

    Example:
    >>> import keras_regnet
    >>> model = keras_regnet.RegNetX("200MF", input_shape=(32, 32, 3))
    >>> len(model.layers) - len(fold_batch_norm(model).layers)
    44
    """
    if not hasattr(model, "inputs") or not hasattr(model, "outputs"):
        raise ValueError(
            "`model` must be a functional Keras model. "
            f"Received: model={model!r}"
        )
    convolution_of = _foldable(model)
    norm_of = {conv.name: norm for norm, conv in convolution_of.items()}
    norm_names = {norm.name for norm in convolution_of}

    def clone(layer):
        config = layer.get_config()
        if layer.name in norm_of:
            config["use_bias"] = True
        return type(layer).from_config(config)

    def call(layer, *args, **kwargs):
        if layer.name in norm_names:
            return args[0]
        return layer(*args, **kwargs)

    folded = keras.models.clone_model(
        model,
        input_tensors=_new_inputs(model),
        clone_function=clone,
        call_function=call,
    )
    for layer in folded.layers:
        source = model.get_layer(layer.name)
        values = source.get_weights()
        if layer.name in norm_of:
            values = _fold(source, norm_of[layer.name])
        layer.set_weights(values)
    return folded


def _foldable(model):
    """Returns batch norm layer -> the convolution that feeds it alone."""
    used = Counter(
        id(tensor) for layer in model.layers for tensor in _inputs(layer)
    )
    used.update(id(tensor) for tensor in model.outputs)
    convolutions = {
        id(layer.output): layer
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
        and layer.activation in (None, keras.activations.linear)
        and used[id(layer.output)] == 1
    }
    return {
        layer: convolutions[id(layer.input)]
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
        and id(layer.input) in convolutions
    }


def _new_inputs(model):
    names = {
        id(layer.output): layer.name
        for layer in model.layers
        if isinstance(layer, keras.layers.InputLayer)
    }
    return keras.tree.map_structure(
        lambda tensor: keras.Input(
            batch_shape=tensor.shape, dtype=tensor.dtype, name=names[id(tensor)]
        ),
        model.input,
    )


def _inputs(layer):
    return keras.tree.flatten(layer.input)


def _fold(conv, norm):
    """Returns kernel and bias that do what both layers do."""
    array = keras.ops.convert_to_numpy
    deviation = np.sqrt(
        array(norm.moving_variance).astype("float64") + norm.epsilon
    )
    scale = (array(norm.gamma) if norm.scale else 1.0) / deviation
    offset = array(norm.beta) if norm.center else 0.0
    bias = array(conv.bias) if conv.use_bias else 0.0
    return [
        array(conv.kernel) * scale,
        (bias - array(norm.moving_mean)) * scale + offset,
    ]
