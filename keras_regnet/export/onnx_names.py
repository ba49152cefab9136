"""Names of an ONNX file that do not change from one process to the next."""

import re

import onnx

# What tf2onnx appends to names, counting in no fixed order.
_COUNTER = re.compile(r"__\d+$")


def canonical(contents: bytes) -> bytes:
    """Returns an ONNX file with names that follow from the order of its nodes.

    Nodes keep their names but for tf2onnx's counters; a result or constant has
    the name of the node that gives it or is the first to use it.

    Args:
      contents: of the file, whose graph has no graphs inside.

    Returns:
      The file: inputs and outputs have their names still.
    """
    model = onnx.load_model_from_string(contents)
    graph = model.graph
    # The name of TensorFlow's function, with a counter.
    graph.ClearField("doc_string")
    _name_dimensions(graph)
    if any(attribute.HasField("g") for attribute in _attributes(graph)):
        # Names inside refer to names outside.
        return model.SerializeToString(deterministic=True)
    names = {end.name: end.name for end in (*graph.input, *graph.output)}
    nodes: set[str] = set()
    for node in graph.node:
        node.name = _unique(_COUNTER.sub("", node.name), nodes)
        _name_ends(node, names)
    for described in (*graph.initializer, *graph.value_info):
        described.name = names.get(described.name, described.name)
    order = {name: index for index, name in enumerate(names.values())}
    constants = sorted(
        graph.initializer, key=lambda constant: order.get(constant.name, -1)
    )
    del graph.initializer[:]
    graph.initializer.extend(constants)
    return model.SerializeToString(deterministic=True)


def _name_dimensions(graph):
    """Renames the dimensions that are left open, which tf2onnx counts."""
    names: dict[str, str] = {}
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.HasField("dim_param"):
                dimension.dim_param = names.setdefault(
                    dimension.dim_param, f"dimension_{len(names)}"
                )


def _attributes(graph):
    return [each for node in graph.node for each in node.attribute]


def _unique(name, taken):
    """Returns a name that is not taken, and takes it."""
    unique, count = name, 1
    while unique in taken:
        count += 1
        unique = f"{name}_{count}"
    taken.add(unique)
    return unique


def _name_ends(node, names):
    """Renames what a node takes and gives; `names` is from old to new."""
    for index, name in enumerate(node.input):
        # An empty name is an input left out.
        if name:
            node.input[index] = names.setdefault(
                name, f"{node.name}/input_{index}"
            )
    for index, name in enumerate(node.output):
        node.output[index] = names.setdefault(
            name, f"{node.name}/output_{index}"
        )
