"""Weights from a file that Keras saved, and the rules saved with them."""

import collections
import io
import json
import math
import os
import zipfile
from pathlib import Path
from typing import NamedTuple

import h5py
import keras
import numpy as np

from keras_regnet import config as config_lib
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.weights import keras_numbered
from keras_regnet.weights import loading
from keras_regnet.weights.names import Source
from keras_regnet.weights.tensors import Tensors

_HEAD = ("head_fc/kernel", "head_fc/bias")

SUFFIXES = (".keras", ".weights.h5")


class SavedRules(NamedTuple):
    """What a saved model says of itself.

    Args:
      network: its configuration.
      mean: of each channel, in pixels; None if it does not normalise.
      std: likewise.
    """

    network: RegNetConfig | AnyNetConfig
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None


def saved_rules(path: str | os.PathLike) -> SavedRules | None:
    """Returns what a file tells besides the weights.

    Args:
      path: of a `.keras` or `.weights.h5` file.

    Returns:
      The rules; None if the file tells none, or is none of one of our models
      (which `load` then says).
    """
    if Path(path).suffix != ".keras":
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            model = json.loads(archive.read("config.json"))["config"]
        network = config_lib.from_json(model["network"])
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError):
        return None
    for layer in model["layers"]:
        if layer["name"] == "normalise":
            mean = tuple(layer["config"]["mean"])
            std = tuple(map(math.sqrt, layer["config"]["variance"]))
            return SavedRules(network, mean, std)
    return SavedRules(network, None, None)


def tensors(
    path: str | os.PathLike, model: keras.Model | None = None
) -> Tensors:
    """Returns what one of our models saved, by the paths of its variables.

    Args:
      path: of a `.keras` or `.weights.h5` file.
      model: the network; a `.weights.h5` file has no names of its own.

    Returns:
      The tensors, each read when it is asked for. Of a `.weights.h5` file,
      those that the model has no place for come under their place.

    Raises:
      ValueError: if the file is damaged.
    """
    try:
        file, config = _open(path)
        if config is None:
            places = _places_in_model(file, model)
        else:
            places = keras_numbered.places(file, config)
    except (OSError, KeyError, TypeError, zipfile.BadZipFile) as error:
        reason = str(error).strip("'\"").split("\n")[0]
        raise ValueError(f"it is damaged: {reason}.") from error
    shapes = {name: file[place].shape for name, place in places.items()}
    return Tensors(shapes, lambda name: np.asarray(file[places[name]]))


def _open(path):
    """Returns the HDF5 file, and the model's description if there is one."""
    if Path(path).suffix != ".keras":
        return h5py.File(path, "r"), None
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
        weights = io.BytesIO(archive.read("model.weights.h5"))
    return h5py.File(weights, "r"), config


def _places_in_model(file, model):
    """Returns where a model's variables are; Keras numbers by class."""
    found = keras_numbered.variables(file)
    counts = collections.Counter()
    places = {}
    for layer in model.layers:
        kind = type(layer).__name__
        group = keras_numbered.group_name(kind, counts[kind])
        counts[kind] += 1
        for number, variable in enumerate(layer.weights):
            place = f"layers/{group}/vars/{number}"
            if place in found:
                places[variable.path] = place
    return places | {p: p for p in found if p not in places.values()}


def classes(path: str | os.PathLike) -> int:
    """Returns how many classes the classifier of a saved model has.

    Args:
      path: of a `.keras` or `.weights.h5` file of one of our models.

    Returns:
      The number; 0 if there is no classifier, or the file is damaged (which
      `load` then says).
    """
    try:
        file, _ = _open(path)
        return file["layers/dense/vars/1"].shape[0]
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile):
        return 0


def load(model: keras.Model, weights: str | os.PathLike) -> None:
    """Fills a built model from a file, or leaves it as it is.

    A classifier of another number of classes stays as it is.

    Args:
      model: the model to fill; its weights stay as they are on an error.
      weights: the path of a `.keras` or `.weights.h5` file.

    Raises:
      ValueError: if the file is damaged or holds another network.
    """
    path = Path(weights)
    before = model.get_weights()
    try:
        _fill(model, tensors(path, model))
    except (OSError, ValueError) as error:
        model.set_weights(before)
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"The weights in {str(path)!r} do not fit the model "
            f"{model.name!r}: {reason}"
        ) from error


def _fill(model, source):
    """Copies every variable by its name, which is fixed for our networks."""
    shapes = {v.path: tuple(v.shape) for v in model.weights}
    apart = set()
    if source.shapes.get(_HEAD[1]) != shapes.get(_HEAD[1]):
        # Of other classes, or not wanted; not if the model's has no source.
        apart = set(_HEAD) & source.shapes.keys()
    mapping = {path: Source(path, "same") for path in shapes}
    loading.fill(model, source, mapping, unfilled=apart, unused=apart)
