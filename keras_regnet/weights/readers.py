"""One reader for each kind of file that holds another project's tensors.

A reader is a function from a path to `Tensors`; what it reads is recognised
and filled like any other (`recognition`, `loading`).
"""

import os
from pathlib import Path

from keras_regnet import errors
from keras_regnet.weights import keras_h5
from keras_regnet.weights import safetensors_file
from keras_regnet.weights import torch_file
from keras_regnet.weights.tensors import Tensors

_READERS = {
    ".safetensors": safetensors_file.read,
    **dict.fromkeys(torch_file.SUFFIXES, torch_file.read),
    ".h5": keras_h5.read,
    ".keras": keras_h5.read,
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
