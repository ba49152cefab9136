"""From a user's model to a flat graph of layers that all exports can read.

Models within the model give way to their layers, adapters (LoRA) become part
of their kernels, and what does nothing at inference (augmentation, dropout)
is left out.
"""

import copy
import inspect
from typing import Any

import keras
import numpy as np

from keras_regnet.export import rewriting

# Packages whose layers are left out if they do nothing at inference.
_KNOWN = ("keras", "keras_regnet")
# Sides of the probes where a layer takes any: `Resizing(8, 8)` passes on one.
_PROBE_SIDES = (8, 11)


def flat(model: Any) -> keras.Model:
    """Returns a model as a flat functional one; itself if it is that already.

    Args:
      model: a functional or a `Sequential` model; it stays as it is.

    Returns:
      A model without models inside, with the same outputs at inference.

    Raises:
      ValueError: if the model is of another kind, or has a layer that cannot
        be exported, by its name.
    """
    model = rewriting.functional(model)
    for operation in _operations(model):
        _check_not_quantized(operation)
    if not any(_gives_way(*call) for call in _calls(model)):
        return model
    cloning = _Cloning({operation.name for operation in model.operations})
    cloned = keras.models.clone_model(
        model,
        input_tensors=rewriting.new_inputs(model),
        clone_function=lambda operation: operation,
        call_function=cloning.call,
    )
    cloning.set_weights()
    rewriting.copy_network(model, cloned)
    return cloned


def _calls(model):
    """Yields each operation with what it is given; Keras's nodes."""
    for nodes in model._nodes_by_depth.values():
        for node in nodes:
            if not node.is_input:
                yield node.operation, node.input_tensors


def _operations(model):
    """Returns the operations of a model and of all models in it."""
    for operation in model.operations:
        inner = _graph(operation)
        yield from [operation] if inner is None else _operations(inner)


def _graph(operation):
    """Returns an operation as a functional model, None if it is not one."""
    if isinstance(operation, keras.Sequential):
        return rewriting.functional(operation)
    return operation if rewriting.is_functional(operation) else None


def _check_not_quantized(layer):
    if getattr(layer, "quantization_mode", None) is not None:
        raise ValueError(
            "`model` must have float weights: an export quantizes by itself. "
            f"Received: layer {layer.name!r} with "
            f"quantization_mode={layer.quantization_mode!r}; export the model "
            "as it was before `quantize`"
        )


def _gives_way(operation, given):
    return (
        _graph(operation) is not None
        or getattr(operation, "lora_enabled", False)
        or _does_nothing(operation, given)
    )


def _does_nothing(operation, given):
    """Whether a layer is for training, and passes on its input at inference.

    Measured, as there is no property that says so, of Keras's layers and ours.
    A user's may do nothing but to some numbers.
    """
    if type(operation).__module__.partition(".")[0] not in _KNOWN:
        return False
    if not isinstance(operation, keras.layers.Layer) or operation.weights:
        return False
    if "training" not in inspect.signature(operation.call).parameters:
        return False
    if len(given) != 1:
        return False
    shape = given[0].shape[1:]
    return all(_passes_on(operation, shape, side) for side in _PROBE_SIDES)


def _passes_on(layer, shape, side):
    shape = [1, *(own or side for own in shape)]
    # Numbers that all floating point types have, of both signs.
    rng = np.random.default_rng(side)
    probe = rng.integers(-128, 128, shape).astype("float32")
    outputs = layer(probe, training=False)
    return keras.ops.is_tensor(outputs) and np.array_equal(
        keras.ops.convert_to_numpy(keras.ops.cast(outputs, "float32")), probe
    )


class _Cloning:
    """Calls clones of layers; a layer that is called twice has one."""

    def __init__(self, names: set[str]):
        self._names = names
        # By the identity of the layer: the layer and its clone.
        self._clones: dict[int, tuple[Any, Any]] = {}

    def call(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls what takes the place of an operation of the model itself."""
        return self._call("", operation, *args, **kwargs)

    def set_weights(self) -> None:
        """Gives the clones the weights of their layers, adapters merged."""
        for layer, clone in self._clones.values():
            if not isinstance(layer, keras.layers.Layer):
                continue
            try:
                clone.set_weights(_merged_weights(layer))
            except ValueError as error:
                raise _not_clonable(layer, error) from error
            rewriting.finalize(clone)

    def _call(self, prefix, operation, *args, **kwargs):
        graph = _graph(operation)
        if graph is not None:
            return self._run(graph, operation.name, *args, **kwargs)
        # Whatever `training` a call was noted with: at inference it is False.
        given = [
            x
            for x in keras.tree.flatten((args, kwargs))
            if isinstance(x, keras.KerasTensor)
        ]
        if _does_nothing(operation, given):
            (x,) = given
            # It made floats of whole numbers, with which others would count.
            is_float = keras.backend.is_float_dtype(x.dtype)
            return x if is_float else keras.ops.cast(x, "float32")
        if id(operation) not in self._clones:
            clone = _clone(operation, self._name(prefix, operation))
            self._clones[id(operation)] = operation, clone
        return self._clones[id(operation)][1](*args, **kwargs)

    def _run(self, graph, name, inputs, training=None, mask=None):
        """Calls the layers of a model within the model."""
        del training
        if mask is not None:
            raise ValueError(
                "`model` must have no masks. "
                f"Received: {name!r} called with mask={mask!r}"
            )
        given = [
            _fitting(x, expected, name)
            for x, expected in zip(
                keras.tree.flatten(inputs), graph.inputs, strict=True
            )
        ]
        return graph._run_through_graph(
            given, call_fn=lambda *a, **k: self._call(f"{name}_", *a, **k)
        )

    def _name(self, prefix, layer):
        """Returns a name, longer if the model has it already."""
        name = layer.name
        while prefix and name in self._names:
            name = prefix + name
        self._names.add(name)
        return name


def _fitting(x, expected, name):
    """Returns a tensor in the type that a model within the model takes."""
    if len(x.shape) != len(expected.shape):
        raise ValueError(
            f"`model` must give {name!r} a tensor of its input's rank "
            f"{len(expected.shape)}. Received: shape {tuple(x.shape)}"
        )
    if x.dtype == expected.dtype:
        return x
    return keras.ops.cast(x, expected.dtype)


def _clone(layer, name):
    """Returns an operation of the same kind, a layer without adapters."""
    if not isinstance(layer, keras.layers.Layer):
        # All its state is what it was made with.
        clone = copy.copy(layer)
        clone._inbound_nodes, clone._outbound_nodes = [], []
        clone.name = name
        return clone
    try:
        config = {**layer.get_config(), "name": name}
        if getattr(layer, "lora_enabled", False):
            config["lora_rank"] = None
        return type(layer).from_config(config)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise _not_clonable(layer, error) from error


def _not_clonable(layer, error):
    reason = " ".join(str(error).split())
    return ValueError(
        f"`model` must have layers that can be copied by their configuration. "
        f"Received: {type(layer).__name__} {layer.name!r} ({reason})"
    )


def _merged_weights(layer):
    """Returns the weights of a layer as if it had been trained whole."""
    if not getattr(layer, "lora_enabled", False):
        return layer.get_weights()
    # Keras's property adds the product of the adapter's two matrices.
    name = "embeddings" if hasattr(layer, "embeddings") else "kernel"
    own = [getattr(layer, name)]
    if getattr(layer, "bias", None) is not None:
        own.append(layer.bias)
    return [keras.ops.convert_to_numpy(weight) for weight in own]
