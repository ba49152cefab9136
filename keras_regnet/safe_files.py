"""Files of strangers: how much of them is read, and what is refused.

JSON, zip archives, NumPy's arrays and gzip in front of what parses them: a
small file may describe any amount of memory. Refusals are ValueErrors of one
line. No Keras here; `keras_regnet.weights.readers.hdf5` does the same for HDF5.
"""

import functools
import io
import json
import math
import os
import stat
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from pathlib import PurePosixPath
from typing import Any

import numpy as np

# Models, runs and sweeps describe themselves in a megabyte at most; parsed,
# JSON takes up to thirty times its size.
MAX_JSON_BYTES = 4 * 2**20
_MAX_JSON_DEPTH = 64
_MAX_ENTRIES = 10_000
# Numbers that were trained hardly shrink, and text not by more than this;
# zeros do, by up to a thousand.
_MAX_RATIO = 50
SMALL = 2**20
# Labels may be sorted, and masks empty.
_SMALL_ARRAYS = 64 * 2**20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_ARRAY_KINDS = "biufcSUV"
# What zipfile and NumPy raise for damage, beside ValueError.
_DAMAGE = (
    EOFError,
    KeyError,
    MemoryError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def parse_json(text: str | bytes, name: str) -> Any:
    """Returns what JSON says, unless it is absurdly long or deep.

    Args:
      text: the JSON.
      name: of the file, for errors.

    Raises:
      ValueError: naming the file, if it is not JSON of a usual size.

    Example:
    >>> parse_json('{"depth": 3}', "config.json")
    {'depth': 3}
    """
    if len(text) > MAX_JSON_BYTES:
        raise ValueError(
            f"{name} of {len(text)} bytes is too long: at most "
            f"{MAX_JSON_BYTES} are read"
        )
    try:
        values = json.loads(text, object_pairs_hook=_unique)
    except RecursionError as error:
        raise _too_deep(name) from error
    except ValueError as error:
        raise ValueError(f"{name} is not JSON: {error}") from error
    if _is_too_deep(values):
        raise _too_deep(name)
    return values


def _unique(pairs):
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is named twice")
    return values


def _too_deep(name):
    return ValueError(
        f"{name} is not JSON: nested deeper than {_MAX_JSON_DEPTH} levels"
    )


def _is_too_deep(values):
    level = [values]
    for _ in range(_MAX_JSON_DEPTH):
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return False
    return True


def read_json(path: str | os.PathLike) -> Any:
    """Returns what a file of JSON says, see `parse_json`."""
    path = Path(path)
    with path.open("rb") as file:
        # One byte more than is allowed, of a file of any size or none.
        return parse_json(file.read(MAX_JSON_BYTES + 1), str(path))


def open_zip(
    source: str | os.PathLike | io.BytesIO, small: int = SMALL
) -> zipfile.ZipFile:
    """Returns an open archive whose entries may be read, none yet.

    Args:
      source: of the archive.
      small: bytes that any archive may unpack to.

    Raises:
      ValueError: if an entry is named twice, lies outside of the archive's
        folder, is a link, or would unpack to far more than it is.
    """
    try:
        archive = zipfile.ZipFile(source)
    except _DAMAGE as error:
        raise ValueError(f"not a whole zip archive: {error}") from error
    try:
        _check_entries(archive, small)
    except ValueError:
        archive.close()
        raise
    return archive


def _check_entries(archive, small):
    entries = archive.infolist()
    if len(entries) > _MAX_ENTRIES:
        raise ValueError(
            f"it has {len(entries)} entries, and at most {_MAX_ENTRIES} are "
            "allowed"
        )
    names = set()
    for entry in entries:
        _check_entry(entry)
        if entry.filename in names:
            raise ValueError(f"{entry.filename!r} is in it twice")
        names.add(entry.filename)
    stored = sum(entry.compress_size for entry in entries)
    if stored > _size(archive.fp):
        raise ValueError("its entries overlap")
    if sum(e.file_size for e in entries) > small + _MAX_RATIO * stored:
        largest = max(entries, key=lambda entry: entry.file_size)
        raise ValueError(
            f"{largest.filename!r} of {largest.compress_size} bytes would "
            f"unpack to {largest.file_size}"
        )


def _size(file):
    place = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(place)
    return size


def _check_entry(entry):
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[:1]:
        raise ValueError(f"{entry.filename!r} leads out of the archive")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise ValueError(f"{entry.filename!r} is a link")
    if entry.flag_bits & _ENCRYPTED or entry.compress_type not in _METHODS:
        raise ValueError(
            f"{entry.filename!r} is encrypted, or packed in an unusual way"
        )


def read_entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """Returns an entry of an archive that `open_zip` opened."""
    try:
        return archive.read(name)
    except (*_DAMAGE, OSError) as error:
        reason = str(error).strip("\"'") or type(error).__name__
        raise ValueError(f"{name!r} cannot be read: {reason}") from error


def unpack_gzip(content: bytes, name: str) -> bytes:
    """Returns what gzip packed, unless it would fill the memory."""
    limit = SMALL + _MAX_RATIO * len(content)
    pieces = []
    try:
        while content:
            # A file may be of several members, one after the other.
            inflate = zlib.decompressobj(wbits=31)
            piece = inflate.decompress(content, limit + 1)
            limit -= len(piece)
            if limit < 0:
                raise ValueError(
                    f"{name} would unpack to more than {_MAX_RATIO} times "
                    "its size"
                )
            if not inflate.eof:
                raise ValueError(f"{name} is not a whole gzip file")
            pieces.append(piece)
            content = inflate.unused_data
    except zlib.error as error:
        raise ValueError(f"{name} is not a whole gzip file: {error}") from error
    return b"".join(pieces)


def parse_array(content: bytes, name: str) -> np.ndarray:
    """Returns NumPy's array from the bytes of a `.npy` file.

    The shape that its header declares must be that of the bytes behind it,
    which are compared before any memory is taken.
    """
    return _read_array(lambda: io.BytesIO(content), len(content), name)


def _read_array(open_it, size, name):
    try:
        with open_it() as file:
            shape, dtype = _read_header(file)
            _check_declared(shape, dtype, size - file.tell())
        with open_it() as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except (*_DAMAGE, OSError, ValueError) as error:
        raise ValueError(
            f"{name} is not an array of numbers: {_first_line(error)}"
        ) from error


def _read_header(file):
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version in ((2, 0), (3, 0)):
        # The third differs in the letters of names alone.
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"version {version} of the format")
    return shape, dtype


def _check_declared(shape, dtype, stored):
    if dtype.hasobject or dtype.kind not in _ARRAY_KINDS:
        raise ValueError(f"it holds objects of type {dtype}")
    if any(size < 0 for size in shape):
        raise ValueError(f"its shape is {shape}")
    declared = math.prod(shape) * dtype.itemsize
    if declared != stored:
        raise ValueError(
            f"it declares {declared} bytes, of shape {shape}, and has {stored}"
        )


def _first_line(error):
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]


def load_npz(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Returns the arrays of an `.npz` file by name.

    Raises:
      OSError: if there is no such file.
      ValueError: if it is damaged, would fill the memory, or holds pickles.
    """
    with open_zip(path, _SMALL_ARRAYS) as archive:
        return {
            entry.filename.removesuffix(".npy"): _read_array(
                functools.partial(archive.open, entry),
                entry.file_size,
                repr(entry.filename),
            )
            for entry in archive.infolist()
        }
