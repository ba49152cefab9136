"""The parts of a `.keras` file, a zip archive of JSON and HDF5.

Read one by one here; `check` comes before Keras opens a file as a model.
"""

import io
import os
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

import h5py

from keras_regnet import safe_files
from keras_regnet.weights.readers import hdf5

_CONFIG = "config.json"
_WEIGHTS = "model.weights.h5"
# Arguments of layers that are a number of outputs.
_OUTPUTS = ("filters", "units")


def read_json(path: str | os.PathLike, name: str) -> Any:
    """Returns what one of the JSON files in an archive says."""
    with safe_files.open_zip(path) as archive:
        return safe_files.parse_json(
            safe_files.read_entry(archive, name), repr(name)
        )


def open_weights(path: str | os.PathLike) -> h5py.File:
    """Returns the open file of weights in an archive."""
    with safe_files.open_zip(path) as archive:
        weights = safe_files.read_entry(archive, _WEIGHTS)
    return hdf5.open_file(io.BytesIO(weights))


def check(path: str | os.PathLike) -> None:
    """Raises unless Keras may open a file as a model.

    Keras builds the model before it looks at the weights: no layer may have
    more outputs than a stored array is long.

    Raises:
      OSError: if there is no such file.
      ValueError: if an archive, a description or weights are not plain ones.
    """
    config = read_json(path, _CONFIG)
    with open_weights(path) as file:
        check_outputs(config, _shapes(file))


def check_outputs(description: Any, shapes: Iterable[tuple[int, ...]]) -> None:
    """Raises if a layer has more outputs than the longest axis of an array."""
    longest = max((n for shape in shapes for n in shape), default=0)
    for name, argument, number in _outputs(description):
        if isinstance(number, int | float) and number > longest:
            raise ValueError(
                f"the layer {name!r} has {argument}={number!r}, and the "
                f"longest axis of a stored array is {longest}"
            )


def _shapes(file: h5py.File) -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = []

    def visit(_, node):
        if isinstance(node, h5py.Dataset):
            shapes.append(node.shape)

    file.visititems(visit)
    return shapes


def _outputs(node: Any) -> Iterator[tuple[Any, str, Any]]:
    """Yields name, argument and value of every number of outputs."""
    if isinstance(node, list):
        for inner in node:
            yield from _outputs(inner)
    if isinstance(node, dict):
        for argument in _OUTPUTS:
            if argument in node:
                yield node.get("name"), argument, node[argument]
        for inner in node.values():
            yield from _outputs(inner)
