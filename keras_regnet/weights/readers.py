"""One reader for each kind of file that holds another project's tensors.

A reader is a module with `read(path) -> Tensors`; what it reads is recognised
and loaded like any other (`recognition`, `loading`).
"""

import importlib
import os
from pathlib import Path

from keras_regnet import errors
from keras_regnet.weights.tensors import Tensors

_READERS = {
    ".safetensors": "safetensors_file",
    ".pth": "torch_file",
    ".pt": "torch_file",
    ".pyth": "torch_file",
    ".bin": "torch_file",
    ".torch": "torch_file",
    ".h5": "h5_file",
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
    # Not at the top: each needs a library that only its files need.
    reader = importlib.import_module(f"keras_regnet.weights.{_READERS[suffix]}")
    return reader.read(path)
