"""Files that are damaged, or there to do damage: what the readers share."""

import pickle
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
    zipfile.BadZipFile,
    zlib.error,
)


# Numbers that were trained hardly shrink; zeros do, by up to a thousand.
_MAX_RATIO = 100
_SMALL = 2**20


def read_entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """Returns a file in an archive, unless it is there to fill the memory."""
    entry = archive.getinfo(name)
    if entry.file_size > _SMALL + _MAX_RATIO * entry.compress_size:
        raise ValueError(
            f"{name!r} of {entry.compress_size} bytes would unpack to "
            f"{entry.file_size}"
        )
    return archive.read(entry)


def reason(error: BaseException) -> str:
    """Returns what such an exception says, in one line.

    Example:
    >>> reason(KeyError("no item.")), reason(EOFError())
    ('no item', 'EOFError')
    """
    text = str(error).strip().strip("'\"").split("\n")[0].rstrip(".")
    return text or type(error).__name__
