"""What stands before and after the network in a model that Keras 2 saved.

A saved model describes its graph in JSON. Only chains are understood, flat or
with the network nested in them, which is what transfer learning makes: input,
augmentation, network, pool, dense layers. No Keras here.
"""

import dataclasses
import re
from typing import Any

_MODELS = ("Functional", "Model", "Sequential")
_OPERATIONS = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")
_OF_NETWORK = r"{model}_(?:prestem_|stem_|Stage_\d+_)"
_EXIT = re.compile(r"_Stage_(\d+)_[A-Z]Block_(\d+)_exit_relu$")


@dataclasses.dataclass(frozen=True)
class Chain:
    """A model as one row of layers, with the network in it.

    Args:
      input_shape: of one image, None for any size.
      before: descriptions of the layers between the input and the network.
      after: of those behind the network.
      rescales: whether the network divides its input by 255.
    """

    input_shape: tuple[int | None, ...]
    before: tuple[dict[str, Any], ...]
    after: tuple[dict[str, Any], ...]
    rescales: bool


def chain(config: dict[str, Any], model_name: str) -> Chain:
    """Returns a saved model as one row of layers."""
    member = re.compile(_OF_NETWORK.format(model=re.escape(model_name)))
    row = _row(config, member)
    names = [layer["config"]["name"] for layer in row]
    inside = [i for i, name in enumerate(names) if member.match(name)]
    inputs = [layer for layer in row if layer["class_name"] == "InputLayer"]
    if not inside or not inputs:
        raise ValueError(
            f"The saved model describes no network {model_name!r} behind an "
            "input layer."
        )
    before, after = row[: inside[0]], row[inside[-1] + 1 :]
    return Chain(
        input_shape=_input_shape(inputs[0]),
        before=_outside(before),
        after=_outside(after),
        rescales=f"{model_name}_prestem_rescaling" in names,
    )


def _input_shape(layer):
    config = layer["config"]
    shape = config.get("batch_input_shape") or config.get("batch_shape")
    return tuple(shape[1:])


def _outside(layers):
    """Returns the layers but for inputs, which nested models have too."""
    for layer in layers:
        if layer["class_name"] in _OPERATIONS:
            raise ValueError(
                "The saved model has the TensorFlow operation "
                f"{layer['config']['name']!r} outside the network, which "
                "cannot be rebuilt."
            )
    return tuple(x for x in layers if x["class_name"] != "InputLayer")


def _row(model, member):
    """Returns the layers of a model in the order in which they compute.

    Of the network itself only its first and last layers are in it.
    """
    layers = model["config"]["layers"]
    if model["class_name"] != "Sequential":
        layers = _follow(layers, member)
    row: list[dict[str, Any]] = []
    for layer in layers:
        nested = layer["class_name"] in _MODELS
        row += _row(layer, member) if nested else [layer]
    return row


def _follow(layers, member):
    """Walks along a functional graph, jumping over the network."""
    by_name = {layer["config"]["name"]: layer for layer in layers}
    sources = {
        name: _sources(layer.get("inbound_nodes", []), by_name)
        for name, layer in by_name.items()
    }
    exit_name = max(filter(_EXIT.search, by_name), key=_position, default=None)
    starts = [name for name, found in sources.items() if not found]
    if len(starts) != 1:
        raise ValueError(
            f"The saved model must have one input. Found: {starts}"
        )
    names = starts
    while True:
        if member.match(names[-1]) and names[-1] != exit_name:
            # Into the network; it ends at its last activation.
            names.append(exit_name)
        following = [n for n, found in sources.items() if names[-1] in found]
        if not following:
            return [by_name[name] for name in names]
        _check_no_branch(names[-1], following, sources)
        names.append(following[0])


def _position(name):
    match = _EXIT.search(name)
    return tuple(map(int, match.groups())) if match else ()


def _check_no_branch(name, following, sources):
    if len(following) > 1 or len(sources[following[0]]) > 1:
        raise ValueError(
            f"The saved model is not a chain of layers: it branches at "
            f"{name!r}, to or from {following}."
        )


def _sources(nodes, known):
    """Returns the names of the layers that a layer takes its input from.

    They stand in nested lists, each followed by the number of its node and
    of its output.
    """
    if isinstance(nodes, dict):
        return set().union(*(_sources(n, known) for n in nodes.values()))
    if not isinstance(nodes, list):
        return set()
    if len(nodes) >= 3 and isinstance(nodes[0], str) and nodes[0] in known:
        rest = nodes[3:]
        return {nodes[0]}.union(*(_sources(n, known) for n in rest))
    return set().union(*(_sources(n, known) for n in nodes))
