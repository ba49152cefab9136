"""Weights from a file that Keras saved, and the rules saved with them."""

import json
import math
import os
import zipfile
from pathlib import Path
from typing import NamedTuple

import h5py
import keras

from keras_regnet import config as config_lib
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig

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


def load(model: keras.Model, weights: str | os.PathLike) -> None:
    """Fills a built model from a file, or leaves it as it is.

    Args:
      model: the model to fill; its weights stay as they are on an error.
      weights: the path of a `.keras` or `.weights.h5` file.

    Raises:
      ValueError: if the file is damaged or holds another network.
    """
    path = Path(weights)
    fill = _fill_from_keras if path.suffix == ".keras" else _fill_from_h5
    before = model.get_weights()
    try:
        fill(model, path)
    except (OSError, KeyError, ValueError, TypeError) as error:
        model.set_weights(before)
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"The weights in {str(path)!r} do not fit the model "
            f"{model.name!r}: {reason}"
        ) from error


def _fill_from_keras(model, path):
    """Copies every variable by its name, which is fixed for our networks."""
    saved = keras.saving.load_model(path, compile=False)
    source = {variable.path: variable for variable in saved.weights}
    targets = {variable.path: variable for variable in model.weights}
    missing = sorted(targets.keys() - source.keys())
    left_over = sorted(source.keys() - targets.keys())
    if missing or left_over:
        raise ValueError(
            f"{_some(missing)} missing in the file; "
            f"{_some(left_over)} left over in it."
        )
    for name, target in targets.items():
        if target.shape != source[name].shape:
            raise ValueError(
                f"{name} has shape {tuple(source[name].shape)} in the file "
                f"and {tuple(target.shape)} in the model."
            )
    for name, target in targets.items():
        target.assign(source[name])


def _some(names, shown=3):
    listed = ", ".join(names[:shown]) or "none"
    more = len(names) - shown
    return f"{listed} and {more} more" if more > 0 else listed


def _fill_from_h5(model, path):
    """Lets Keras load by position, and refuses a file with left-overs."""
    in_file = []
    with h5py.File(path, "r") as file:
        file.visititems(
            lambda name, node: (
                in_file.append(name)
                if isinstance(node, h5py.Dataset) and "/vars/" in name
                else None
            )
        )
    if len(in_file) != len(model.weights):
        raise ValueError(
            f"the file holds {len(in_file)} tensors, the model "
            f"{len(model.weights)}."
        )
    model.load_weights(path)
