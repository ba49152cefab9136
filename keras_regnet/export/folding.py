"""Batch norm as a part of the convolutions before it: fewer operations."""

from collections import Counter
from typing import Any
from typing import NamedTuple

import keras
import numpy as np

from keras_regnet import layers

# Not what is derived from them, which may compute something else.
_CONVOLUTIONS = (keras.layers.Conv2D, layers.Conv2D)
_NORMS = (keras.layers.BatchNormalization, layers.BatchNormalization)


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Returns a model for inference, without batch norm behind convolutions.

    A batch norm at inference is a factor and an offset for each channel. Both
    become part of the convolution before it, of its kernel and its bias, in
    models within the model too. What stands elsewhere (behind a sum, say) or
    shares a convolution stays.

    Args:
      model: a functional model; it stays as it is and shares no weights.

    Returns:
      A functional model with the same names, network and pyramid, and the same
      outputs but for rounding, about 1e-6 of their range in float32. It is
      not for training: there the batch's own statistics would have been used.

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
    if not _is_functional(model):
        raise ValueError(
            "`model` must be a functional Keras model. (A sequential one is "
            "keras.Model(model.inputs, model.outputs).) "
            f"Received: model={model!r}"
        )
    convolution_of = _foldable(model)
    norm_of = {conv.name: norm for norm, conv in convolution_of.items()}
    renamed = {norm.name: conv.name for norm, conv in convolution_of.items()}

    def clone(layer):
        if _is_functional(layer):
            return fold_batch_norm(layer)
        config = layer.get_config()
        if layer.name in norm_of:
            config["use_bias"] = True
        return type(layer).from_config(config)

    def call(layer, *args, **kwargs):
        if layer.name in renamed:
            return keras.tree.flatten((args, kwargs))[0]
        return layer(*args, **kwargs)

    folded = keras.models.clone_model(
        model,
        input_tensors=_new_inputs(model),
        clone_function=clone,
        call_function=call,
    )
    for layer in folded.layers:
        source = model.get_layer(layer.name)
        if layer.name in norm_of:
            layer.set_weights(_fold(source, norm_of[layer.name]))
        elif not _is_functional(layer):
            layer.set_weights(source.get_weights())
    _copy_network(model, folded, renamed)
    return folded


def _is_functional(layer):
    return isinstance(layer, keras.Model) and hasattr(layer, "_nodes_by_depth")


class _Call(NamedTuple):
    """One call of a layer or an operation within a model."""

    operation: Any
    inputs: list
    outputs: list
    options: dict[str, Any]


def _calls(model):
    # No public view of the graph has the calls: a layer's `input` is that of
    # its first call anywhere, and what `keras.ops` makes is no layer.
    return [
        _Call(
            node.operation,
            node.input_tensors,
            node.outputs,
            node.arguments.kwargs,
        )
        for nodes in model._nodes_by_depth.values()
        for node in nodes
        if not node.is_input
    ]


def _foldable(model):
    """Returns batch norm layer -> the convolution that feeds it alone."""
    calls = _calls(model)
    times_called = Counter(id(call.operation) for call in calls)
    times_used = Counter(id(x) for call in calls for x in call.inputs)
    times_used.update(id(tensor) for tensor in model.outputs)
    single = [call for call in calls if times_called[id(call.operation)] == 1]
    convolutions = {
        id(call.outputs[0]): call.operation
        for call in single
        if type(call.operation) in _CONVOLUTIONS
        and call.operation.activation in (None, keras.activations.linear)
        and not getattr(call.operation, "lora_enabled", False)
        and times_used[id(call.outputs[0])] == 1
    }
    return {
        call.operation: convolutions[id(call.inputs[0])]
        for call in single
        if type(call.operation) in _NORMS
        and not call.options.get("training")
        and id(call.inputs[0]) in convolutions
        and _same_axis(call.operation, convolutions[id(call.inputs[0])])
    }


def _same_axis(norm, conv):
    axis = 1 if conv.data_format == "channels_first" else 3
    return norm.axis % 4 == axis


def _copy_network(model, folded, renamed):
    """Lets the folded network of a `RegNetModel` know what it is."""
    if getattr(model, "network", None) is None:
        return
    names = {id(layer.output): layer.name for layer in model.layers}
    pyramid = {}
    for level, tensor in model.pyramid_outputs.items():
        name = names[id(tensor)]
        pyramid[level] = folded.get_layer(renamed.get(name, name)).output
    folded.set_network(model.network, pyramid)


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
