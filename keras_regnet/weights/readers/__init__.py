"""One reader for each kind of file that holds another project's tensors.

A reader is a function from a path to `Tensors`; `detect` tells what the tensors
are, and `assign` gives them to a model.
"""

import os
from pathlib import Path

from keras_regnet import errors
from keras_regnet.weights.readers import kecam_file
from keras_regnet.weights.readers import keras2_file
from keras_regnet.weights.readers import keras3_file
from keras_regnet.weights.readers import kimm_file
from keras_regnet.weights.readers import safetensors_file
from keras_regnet.weights.readers import torch_file
from keras_regnet.weights.readers.tensors import Tensors


def _read_keras(path):
    if kimm_file.is_of_kimm(path):
        return kimm_file.read(path)
    if kecam_file.is_of_kecam(path):
        return kecam_file.read(path)
    return keras2_file.read(path)


_READERS = {
    ".safetensors": safetensors_file.read,
    **dict.fromkeys(torch_file.SUFFIXES, torch_file.read),
    ".h5": _read_keras,
    ".keras": _read_keras,
}
SUFFIXES = tuple(_READERS)


def read(path: str | os.PathLike) -> Tensors:
    """Returns the tensors of a file, each read on access."""
    suffix = Path(path).suffix
    if suffix not in _READERS:
        raise errors.unknown_value("suffix", suffix, SUFFIXES)
    return _READERS[suffix](path)


def is_ours(path: str | os.PathLike) -> bool:
    """Returns whether a file is to be read as one that Keras 3 saved of ours.

    Those of Keras 2, of kecam and of kimm are not.
    """
    if not Path(path).name.endswith(keras3_file.SUFFIXES):
        return keras3_file.is_legacy(path) or keras3_file.is_renamed(path)
    return not (keras2_file.is_of_keras_2(path) or kimm_file.is_of_kimm(path))
