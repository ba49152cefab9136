"""Files that are damaged, or there to do damage: what the readers share."""

import pickle
import struct
import zipfile
import zlib

# What libraries raise for a damaged file: each other exceptions, h5py
# `RuntimeError`, PyTorch even `AssertionError`.
ERRORS = (
    AssertionError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def reason(error: BaseException) -> str:
    """Returns what such an exception says, in one line.

    Example:
    >>> reason(KeyError("no item.")), reason(EOFError())
    ('no item', 'EOFError')
    """
    text = str(error).strip().strip("'\"").split("\n")[0].rstrip(".")
    return text or type(error).__name__
