"""Clones a functional model with changes: how all exports rebuild a graph.

Rewrites (see `rewrites`) note their changes in a `Changes`, layer by layer;
then the graph is cloned once. It is a flat one, see `flattening`.
"""

import collections
import dataclasses
import types
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np


@dataclasses.dataclass
class Changes:
    """How the clone of a model differs from it, by the names of its layers.

    Args:
      omitted: layer that is left out -> the layer that takes its place.
      options: layer -> arguments of its constructor that are replaced.
      weights: layer -> its weights in the clone, if not those of the model.
      first: layer that the clone has before all others, None for none.
    """

    omitted: dict[str, str] = dataclasses.field(default_factory=dict)
    options: dict[str, dict[str, Any]] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(dict)
    )
    weights: dict[str, list[np.ndarray]] = dataclasses.field(
        default_factory=dict
    )
    first: keras.layers.Layer | None = None

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
    if not is_functional(model):
        raise ValueError(
            "`model` must be a functional Keras model, or a Sequential one "
            f"whose input shape is known. Received: model={model!r}"
        )
    return model


def is_functional(layer: Any) -> bool:
    """Returns whether a layer is a functional model."""
    return isinstance(layer, keras.Model) and hasattr(layer, "_nodes_by_depth")


def plan(model: keras.Model, rewrites: Sequence[Rewrite]) -> Changes:
    """Returns the changes of all rewrites, in their order."""
    changes = Changes()
    for rewrite in rewrites:
        rewrite(model, changes)
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
    inputs = new_inputs(model) if inputs is None else inputs
    given = {id(x): x for x in keras.tree.flatten(inputs)}
    if changes.first is not None:
        given = {key: changes.first(x) for key, x in given.items()}

    def clone_operation(operation):
        if not isinstance(operation, keras.layers.Layer):
            return operation  # Without a state of its own.
        options = changes.options.get(operation.name, {})
        return type(operation).from_config(
            {**operation.get_config(), **options}
        )

    def call(operation, *args, **kwargs):
        args = keras.tree.map_structure(lambda x: given.get(id(x), x), args)
        if operation.name in changes.omitted:
            return keras.tree.flatten((args, kwargs))[0]
        return operation(*args, **kwargs)

    cloned = keras.models.clone_model(
        model,
        input_tensors=inputs,
        clone_function=clone_operation,
        call_function=call,
    )
    for layer in cloned.layers:
        if layer.weights and layer is not changes.first:
            source = model.get_layer(layer.name)
            layer.set_weights(changes.weights_of(source))
        finalize(layer)
    copy_network(model, cloned, changes.omitted)
    return cloned


def finalize(layer: keras.layers.Layer) -> None:
    """Derives what a normalization computes with from its weights, as arrays.

    A converter takes a tensor for an input of the model.
    """
    if isinstance(layer, keras.layers.Normalization):
        layer.finalize_state()
        layer.mean = keras.ops.convert_to_numpy(layer.mean)
        layer.variance = keras.ops.convert_to_numpy(layer.variance)


def new_inputs(model: keras.Model) -> Any:
    """Returns new inputs of the same names, in the model's structure."""
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


def copy_network(
    model: keras.Model,
    cloned: keras.Model,
    omitted: Mapping[str, str] = types.MappingProxyType({}),
) -> None:
    """Lets the clone of a `RegNetModel` know what the model knows."""
    if getattr(model, "network", None) is None:
        return
    names = {id(layer.output): layer.name for layer in model.layers}
    pyramid = {}
    for level, tensor in model.pyramid_outputs.items():
        name = names[id(tensor)]
        name = omitted.get(name, name)
        pyramid[level] = cloned.get_layer(name).output
    cloned.set_network(model.network, pyramid)
    cloned.set_record(model.record)
