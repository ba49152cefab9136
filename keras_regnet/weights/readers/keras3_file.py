"""Weights from a file that Keras saved, and the rules saved with them.

Keras notes each layer's name beside its numbers, and our layers' names are
fixed: nothing goes by order, and no model is built from what a file says.
A whole model saved as `.h5` is laid out as Keras 2 did it, and names variables.
"""

import math
import os
import re
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from keras_regnet import config as config_lib
from keras_regnet import rows
from keras_regnet import safe_files
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.weights.readers import damage
from keras_regnet.weights.readers import hdf5
from keras_regnet.weights.readers import keras_archive
from keras_regnet.weights.readers.tensors import Tensors

SUFFIXES = (".keras", ".weights.h5")
# Of whole models; files of weights alone have another suffix in Keras 3.
_LEGACY_SUFFIX = ".h5"
_WHOLE = "model_weights"
# What Keras 3 numbers elsewhere.
_NUMBERS = {
    **{name: str(i) for i, name in enumerate(("kernel", "bias"))},
    **{
        name: str(i)
        for i, name in enumerate(
            ("gamma", "beta", "moving_mean", "moving_variance")
        )
    },
    # Of EvoNorm, behind gamma and beta.
    "v": "2",
}
# The group of a layer's variables; layers may lie in models in models.
_LAYER = re.compile(r"(layers/[^/]+/)+vars")


class SavedRules(NamedTuple):
    """What a saved model says of itself.

    Args:
      network: its configuration.
      mean: of each channel, in pixels; None if it does not normalize.
      std: likewise.
      record: JSON of its `ModelRecord`; None in files of older versions.
    """

    network: RegNetConfig | AnyNetConfig
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    record: str | None = None


def is_legacy(path: str | os.PathLike) -> bool:
    """Returns whether Keras 3 saved a whole model as `.h5`; not if damaged."""
    if Path(path).suffix != _LEGACY_SUFFIX:
        return False
    try:
        with hdf5.open_file(path) as file:
            return not hdf5.text(file, "keras_version").startswith("2.")
    except damage.ERRORS:
        return False


def is_renamed(path: str | os.PathLike) -> bool:
    """Returns whether a `.h5` was a `.weights.h5` of Keras 3."""
    if Path(path).suffix != _LEGACY_SUFFIX:
        return False
    try:
        with hdf5.open_file(path) as file:
            # Keras 2 does not note the names.
            return _WHOLE not in file and bool(_paths(file))
    except damage.ERRORS:
        return False


def saved_rules(path: str | os.PathLike) -> SavedRules | None:
    """Returns what a file tells besides the weights.

    None for weights alone, and for a model of the caller's around ours.
    """
    if not is_legacy(path) and Path(path).suffix != ".keras":
        return None
    try:
        model = _description(path)
        return _rules(model) if model.get("network") else None
    except damage.ERRORS as error:
        raise _damaged(path, error) from error


def _description(path):
    if Path(path).suffix == ".keras":
        return keras_archive.read_json(path, "config.json")["config"]
    with hdf5.open_file(path) as file:
        text = hdf5.text(file, "model_config")
    return safe_files.parse_json(text, "'model_config'")["config"]


def _rules(model):
    network = config_lib.from_json(model["network"])
    record = model.get("record")
    for layer in model["layers"]:
        if layer["name"] == rows.NORMALIZATION:
            mean = tuple(layer["config"]["mean"])
            std = tuple(map(math.sqrt, layer["config"]["variance"]))
            return SavedRules(network, mean, std, record)
    return SavedRules(network, None, None, record)


def read(path: str | os.PathLike) -> Tensors:
    """Returns the tensors of a file that Keras 3 saved."""
    path = Path(path)
    try:
        file = _open(path)
        paths = _paths(file)
        shapes = {
            name: file[location].shape for name, location in paths.items()
        }
    except damage.ERRORS as error:
        raise _damaged(path, error) from error
    return Tensors(shapes, lambda name: _array(file, path, paths[name]))


def _damaged(path, error):
    return ValueError(
        f"{str(path)!r} is not a file of Keras 3, or is damaged: "
        f"{damage.reason(error)}."
    )


def _open(path):
    if path.suffix != ".keras":
        return hdf5.open_file(path)
    return keras_archive.open_weights(path)


def _paths(file):
    """Returns where each tensor is; Keras keeps the layers' names beside."""
    paths = {}

    def visit(group_name, group):
        if not _LAYER.fullmatch(group_name):
            return
        for number in group:
            name = f"{hdf5.text(group, 'name')}/{number}"
            if name in paths:
                raise KeyError(f"of two networks: two tensors are {name!r}")
            paths[name] = group[number].name

    if _WHOLE in file:
        paths = _legacy_paths(file)
    else:
        file.visititems(visit)
    if not paths:
        raise KeyError("it holds no layers")
    return paths


def _legacy_paths(file):
    """Returns the same of a whole model, which has variables by name."""
    paths, others = {}, {}

    def visit(_, node):
        if not isinstance(node, h5py.Dataset):
            return
        *_, layer, variable = node.name.split("/")
        if variable not in _NUMBERS:
            others[layer] = variable
            return
        name = f"{layer}/{_NUMBERS[variable]}"
        if name in paths:
            raise KeyError(f"two tensors are named {name}")
        paths[name] = node.name

    file[_WHOLE].visititems(visit)
    for layer, variable in others.items():
        # An adapter, or the scale of a quantized kernel: the kernel alone is
        # not what the layer computes with.
        if f"{layer}/0" in paths:
            raise KeyError(f"the layer {layer!r} has a {variable!r} as well")
    return paths


def _array(file, path, location):
    try:
        dataset = file[location]
        array = np.asarray(dataset)
        if dataset.attrs.get("dtype") == "bfloat16":
            # To HDF5 two bytes without a meaning: the upper half of a float.
            upper = array.view("uint16").astype("uint32")
            array = (upper << 16).view("float32")
        return array
    except damage.ERRORS as error:
        raise ValueError(
            f"{str(path)!r} is damaged at {location!r}."
        ) from error
