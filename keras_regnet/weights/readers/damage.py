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
    # The text of a KeyError is its key, with quotes.
    key = isinstance(error, KeyError) and len(error.args) == 1
    text = str(error.args[0] if key else error).strip()
    return text.split("\n")[0].rstrip(".") or type(error).__name__
