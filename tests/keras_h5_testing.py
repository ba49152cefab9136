"""Files that Keras 2 wrote, and what it computed from them.

`oracles/make_keras_h5.py` made them.
"""

import pathlib
import tempfile
import zipfile

import numpy as np

import keras_regnet

_DATA = pathlib.Path(__file__).parent / "data"
WHOLE = ("whole_x", "one_dense", "two_dense", "sequential")
CLASSES = {"weights_y": 5, "whole_x": 7, "one_dense": 3}


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
        se_ratio=0.25 if name in ("weights_y", "two_dense") else 0.0,
    )
