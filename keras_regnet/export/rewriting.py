"""A functional model once more, with changes: how all exports clone a graph.

Rewrites note their changes, layer by layer, in a `Changes`; then the graph is
cloned once. Models within the model are rewritten in the same way.
"""

import collections
import dataclasses
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_regnet import layers

# Not what is derived from them, which may compute something else.
_CONVOLUTIONS = (keras.layers.Conv2D, layers.Conv2D)
_NORMS = (keras.layers.BatchNormalization, layers.BatchNormalization)


@dataclasses.dataclass
class Changes:
    """How the clone of a model differs from it, by the names of its layers.

    Args:
      omitted: layer that is left out -> the layer that takes its place.
      options: layer -> arguments of its constructor that are replaced.
      weights: layer -> its weights in the clone, if not those of the model.
      nested: model within the model -> its own changes.
    """

    omitted: dict[str, str] = dataclasses.field(default_factory=dict)
    options: dict[str, dict[str, Any]] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(dict)
    )
    weights: dict[str, list[np.ndarray]] = dataclasses.field(
        default_factory=dict
    )
    nested: dict[str, "Changes"] = dataclasses.field(default_factory=dict)

    def weights_of(self, layer: keras.layers.Layer) -> list[np.ndarray]:
        """Returns the weights of a layer of the model in the clone."""
        return self.weights.get(layer.name) or layer.get_weights()


Rewrite = Callable[[keras.Model, Changes], None]


def functional(model: Any) -> keras.Model:
    """Returns a model as a functional one.

    Raises:
      ValueError: if it is neither functional nor a built `Sequential`.
    """
    if isinstance(model, keras.Sequential) and model.built:
        return keras.Model(model.inputs, model.outputs, name=model.name)
    if not _is_functional(model):
        raise ValueError(
            "`model` must be a functional Keras model, or a Sequential one "
            f"whose input shape is known. Received: model={model!r}"
        )
    return model


def _is_functional(layer):
    return isinstance(layer, keras.Model) and hasattr(layer, "_nodes_by_depth")


def plan(model: keras.Model, rewrites: Sequence[Rewrite]) -> Changes:
    """Returns the changes of all rewrites, in their order."""
    changes = Changes()
    for rewrite in rewrites:
        rewrite(model, changes)
    changes.nested = {
        layer.name: plan(layer, rewrites)
        for layer in model.layers
        if _is_functional(layer)
    }
    return changes


def clone(
    model: keras.Model, changes: Changes, inputs: Any = None
) -> keras.Model:
    """Returns a changed model, which shares no weights with the original.

    Args:
      model: a functional model.
      changes: what `plan` returned.
      inputs: tensors, in the structure of the model's; None for new ones.
    """

    def clone_operation(operation):
        if operation.name in changes.nested:
            return clone(operation, changes.nested[operation.name])
        if not isinstance(operation, keras.layers.Layer):
            return operation  # Without a state of its own.
        options = changes.options.get(operation.name, {})
        return type(operation).from_config(
            {**operation.get_config(), **options}
        )

    def call(operation, *args, **kwargs):
        if operation.name in changes.omitted:
            return keras.tree.flatten((args, kwargs))[0]
        return operation(*args, **kwargs)

    cloned = keras.models.clone_model(
        model,
        input_tensors=_new_inputs(model) if inputs is None else inputs,
        clone_function=clone_operation,
        call_function=call,
    )
    for layer in cloned.layers:
        if layer.weights and layer.name not in changes.nested:
            source = model.get_layer(layer.name)
            layer.set_weights(changes.weights_of(source))
        if isinstance(layer, keras.layers.Normalization):
            # What it computes with is derived from its weights.
            layer.finalize_state()
    _copy_network(model, cloned, changes)
    return cloned


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


def _copy_network(model, cloned, changes):
    """Lets the clone of a `RegNetModel` know its network and its pyramid."""
    if getattr(model, "network", None) is None:
        return
    names = {id(layer.output): layer.name for layer in model.layers}
    pyramid = {}
    for level, tensor in model.pyramid_outputs.items():
        name = names[id(tensor)]
        name = changes.omitted.get(name, name)
        pyramid[level] = cloned.get_layer(name).output
    cloned.set_network(model.network, pyramid)


class _Call:
    """One call of a layer or an operation within a model."""

    def __init__(self, node):
        self.operation = node.operation
        self.inputs = node.input_tensors
        self.outputs = node.outputs
        self.options = node.arguments.kwargs


class _Graph:
    """The calls of a model's layers, and who reads a tensor.

    No public view of the graph has them: a layer's `input` is that of its
    first call anywhere, and what `keras.ops` makes is not a layer.
    """

    def __init__(self, model):
        calls = [
            _Call(node)
            for nodes in model._nodes_by_depth.values()
            for node in nodes
            if not node.is_input
        ]
        times = collections.Counter(id(call.operation) for call in calls)
        self.single = [call for call in calls if times[id(call.operation)] == 1]
        self._uses = collections.Counter(id(x) for x in model.outputs)
        self._uses.update(id(x) for call in calls for x in call.inputs)
        self._reader = {id(x): call for call in self.single
                        for x in call.inputs}  # fmt: skip

    def only_reader(self, tensor):
        """Returns the call that alone uses a tensor, None if there are more.

        Nor if the layer that is called is called elsewhere, too.
        """
        is_only = self._uses[id(tensor)] == 1
        return self._reader.get(id(tensor)) if is_only else None


def fold_norms(model: keras.Model, changes: Changes) -> None:
    """Makes batch norm a part of the convolution that feeds it alone.

    At inference it is a factor and an offset for each channel. What stands
    elsewhere, or shares a convolution, stays. (arXiv 1712.05877, section 3.2)
    """
    graph = _Graph(model)
    for call in graph.single:
        conv = call.operation
        if not _takes_a_factor(conv):
            continue
        reader = graph.only_reader(call.outputs[0])
        if reader is None or not _is_norm_of(reader, conv):
            continue
        norm = reader.operation
        changes.omitted[norm.name] = conv.name
        changes.options[conv.name]["use_bias"] = True
        changes.weights[conv.name] = _folded(conv, norm)


def _takes_a_factor(conv):
    return (
        type(conv) in _CONVOLUTIONS
        and conv.activation in (None, keras.activations.linear)
        and not getattr(conv, "lora_enabled", False)
    )


def _is_norm_of(call, conv):
    norm = call.operation
    axis = 1 if getattr(conv, "data_format", "") == "channels_first" else 3
    return (
        type(norm) in _NORMS
        and not call.options.get("training")
        and norm.axis % 4 == axis
    )


def _folded(conv, norm):
    """Returns kernel and bias that do what both layers do."""
    array = keras.ops.convert_to_numpy
    deviation = np.sqrt(
        array(norm.moving_variance).astype("float64") + norm.epsilon
    )
    scale = (array(norm.gamma) if norm.scale else 1.0) / deviation
    offset = array(norm.beta) if norm.center else 0.0
    bias = array(conv.bias) if conv.use_bias else 0.0
    kernel = array(conv.kernel) * scale
    bias = (bias - array(norm.moving_mean)) * scale + offset
    return [kernel.astype("float32"), bias.astype("float32")]


def in_float32(model: keras.Model, changes: Changes) -> None:
    """Computes everything in float32."""
    for layer in model.layers:
        changes.options[layer.name]["dtype"] = "float32"


def in_bfloat16(model: keras.Model, changes: Changes) -> None:
    """Computes in bfloat16, but for normalization and the last layer."""
    for layer in model.layers[:-1]:
        if not isinstance(layer, keras.layers.Normalization):
            changes.options[layer.name]["dtype"] = "mixed_bfloat16"


def merge_groups(largest: int) -> Rewrite:
    """Returns a rewrite to grouped convolutions with fewer and wider groups.

    There are zeros between what were groups: the same results for more
    multiplications. It pays where the processor multiplies tiles that are
    wider than a group, as x86 with AMX does in int8.

    Args:
      largest: channels that a merged group may have.
    """

    def rewrite(model, changes):
        for layer in model.layers:
            if not isinstance(layer, keras.layers.Conv2D) or layer.groups == 1:
                continue
            kernel, *bias = changes.weights_of(layer)
            left = merged_groups(layer.groups, kernel.shape[2], largest)
            merged = merged_kernel(kernel, layer.groups, left)
            changes.options[layer.name]["groups"] = left
            changes.weights[layer.name] = [merged, *bias]

    return rewrite


def merged_groups(groups: int, width: int, largest: int) -> int:
    """Returns how many groups of a width are left when neighbors are merged.

    Example:
    >>> merged_groups(10, 16, 64)  # 3 and 4 do not divide 10
    5
    """
    merged = next(
        count
        for count in range(max(1, min(groups, largest // width)), 0, -1)
        if groups % count == 0
    )
    return groups // merged


def merged_kernel(kernel: np.ndarray, groups: int, left: int) -> np.ndarray:
    """Returns the kernel of the same convolution in fewer groups.

    Args:
      kernel: (height, width, channels of a group, filters).
      groups: groups of the convolution.
      left: groups that it is to have, a divisor.

    Example:
    >>> kernel = np.ones((1, 1, 1, 2))
    >>> merged_kernel(kernel, 2, 1)[0, 0].tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    height, width, channels, filters = kernel.shape
    merged = groups // left
    filter_group = np.arange(filters) // (filters // groups) % merged
    is_own = np.arange(merged)[:, None, None] == filter_group
    wide = kernel[:, :, None] * is_own
    return wide.reshape(height, width, merged * channels, filters).astype(
        kernel.dtype
    )


def join_normalization(model: keras.Model, changes: Changes) -> np.ndarray:
    """Makes the images' deviation a part of the first convolution.

    Returns:
      The mean of each channel, which the caller subtracts from the images in
      the normalization's place; zeros if it stays, since other layers than
      one convolution read it.
    """
    channels = model.inputs[0].shape[-1]
    graph = _Graph(model)
    first = graph.only_reader(model.inputs[0])
    norm = first and first.operation
    if not isinstance(norm, keras.layers.Normalization) or norm.invert:
        return np.zeros(channels)
    reader = graph.only_reader(first.outputs[0])
    while reader and isinstance(reader.operation, keras.layers.ZeroPadding2D):
        reader = graph.only_reader(reader.outputs[0])
    conv = reader and reader.operation
    if not isinstance(conv, keras.layers.Conv2D) or conv.groups > 1:
        return np.zeros(channels)
    kernel, *bias = changes.weights_of(conv)
    variance = _per_channel(norm.variance, channels)
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    changes.omitted[norm.name] = model.layers[0].name
    changes.weights[conv.name] = [kernel / deviation[:, None], *bias]
    return _per_channel(norm.mean, channels)


def _per_channel(values, channels):
    values = keras.ops.convert_to_numpy(values).astype("float64")
    return np.broadcast_to(values.reshape(-1), [channels])
