"""Files that Keras 2 wrote, and what it computed from them.

`oracles/make_keras_h5.py` made them.
"""

import pathlib
import tempfile
import zipfile

import h5py
import numpy as np

import keras_regnet
from keras_regnet.weights import mapping
from tests.support import paths

_DATA = paths.DATA
WHOLE = ("whole_x", "one_dense", "two_dense", "sequential", "numbered_whole")
CLASSES = {"weights_y": 5, "numbered_weights": 5, "whole_x": 7, "one_dense": 3}
_SUFFIXES = {"numbered_weights": ".weights.h5", "numbered_whole": ".keras"}
_WITH_SE = ("weights_y", "two_dense", *_SUFFIXES)


def file_name(name):
    """Returns the name of a file; Keras 2 chose the format by its suffix."""
    return name + _SUFFIXES.get(name, ".h5")


def unpack(test):
    """Returns a folder with the files, which the test removes.

    Args:
      test: the test case or class that uses them.
    """
    folder = tempfile.TemporaryDirectory()
    test.addClassCleanup(folder.cleanup)
    with zipfile.ZipFile(_DATA / "keras_h5.zip") as archive:
        archive.extractall(folder.name)
    return pathlib.Path(folder.name)


def expected():
    """Returns the images, and each file's outputs by its name."""
    with np.load(_DATA / "keras_h5_outputs.npz") as file:
        return dict(file)


def config(name):
    """Returns the network that a file holds."""
    return keras_regnet.AnyNetConfig(
        depths=(1, 2, 1, 1),
        widths=(32, 16, 16, 24),
        group_widths=8,
        se_ratio=0.25 if name in _WITH_SE else 0.0,
    )


def write(model, path, model_name):
    """Writes the weights of one of our models as Keras 2 would.

    Args:
      model: the model.
      path: of the `.h5` file.
      model_name: what the names of the layers begin with.
    """
    sources = mapping.of_format(model.network, "keras_applications")
    layers = {}
    for variable in model.weights:
        layer, kind = sources[variable.path].name.rsplit("/", 1)
        layer = (
            "1head_dense" if layer == "head_dense" else f"{model_name}_{layer}"
        )
        layers.setdefault(layer, {})[f"{layer}/{kind}:0"] = variable
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = list(layers)
        for layer, variables in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = list(variables)
            for name, variable in variables.items():
                group[name] = np.asarray(variable)
