"""One reader for each kind of file that holds another project's tensors.

A reader is a function from a path to `Tensors`; what it reads is recognised
and filled like any other (`recognition`, `loading`).
"""

import os
from pathlib import Path

from keras_regnet import errors
from keras_regnet.weights import kecam_file
from keras_regnet.weights import keras_h5
from keras_regnet.weights import kimm_file
from keras_regnet.weights import safetensors_file
from keras_regnet.weights import torch_file
from keras_regnet.weights.tensors import Tensors


def _read_keras(path):
    if kimm_file.is_of_kimm(path):
        return kimm_file.read(path)
    if kecam_file.is_of_kecam(path):
        return kecam_file.read(path)
    return keras_h5.read(path)


_READERS = {
    ".safetensors": safetensors_file.read,
    **dict.fromkeys(torch_file.SUFFIXES, torch_file.read),
    ".h5": _read_keras,
    ".keras": _read_keras,
}
SUFFIXES = tuple(_READERS)


def read(path: str | os.PathLike) -> Tensors:
    """Returns the tensors of a file, each read when it is asked for.

    Args:
      path: its suffix says what it is.

    Returns:
      The tensors, under the file's own names.

    Raises:
      ImportError: if what reads such files is not installed.
      ValueError: if the suffix is unknown, or the file is damaged or unsafe.
    """
    suffix = Path(path).suffix
    if suffix not in _READERS:
        raise errors.unknown_value("suffix", suffix, SUFFIXES)
    return _READERS[suffix](path)


def is_ours(path: str | os.PathLike) -> bool:
    """Returns whether a file of Keras is to be read as one of our models.

    Args:
      path: of a `.keras` or `.weights.h5` file.

    Returns:
      False for the files of Keras 2, of kecam and of kimm, which `read`
      reads.
    """
    return not (keras_h5.is_of_keras_2(path) or kimm_file.is_of_kimm(path))
