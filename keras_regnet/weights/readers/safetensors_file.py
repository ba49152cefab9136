"""Reading `.safetensors` files: no PyTorch, no pickle."""

import math
import os
import struct
from pathlib import Path

import safetensors

from keras_regnet import safe_files
from keras_regnet.weights.readers import damage
from keras_regnet.weights.readers.tensors import Tensors

# Of weights, and of the counters that PyTorch keeps beside them.
_TYPES = ("F64", "F32", "F16", "BF16", "I64", "I32")


# Keys of the metadata of our files, with three numbers each, of 0..255.
MEAN, STD = "keras_regnet.mean", "keras_regnet.std"
_COLORS = 3
_LENGTH = struct.Struct("<Q")


def read(path: str | os.PathLike) -> Tensors:
    """Returns the tensors of a file; the file stays mapped, not read."""
    try:
        _check_header(Path(path))
        file = safetensors.safe_open(path, framework="numpy")
        names = file.keys()
        slices = {name: file.get_slice(name) for name in names}
    except (safetensors.SafetensorError, ValueError) as error:
        raise ValueError(
            f"{os.fspath(path)!r} is not a safetensors file, or is damaged: "
            f"{damage.reason(error)}."
        ) from error
    for name, part in slices.items():
        kind = part.get_dtype()
        if kind not in _TYPES:
            raise ValueError(
                f"The tensor {name!r} of {os.fspath(path)!r} is of type "
                f"{kind}. Allowed: {', '.join(_TYPES)}."
            )
    shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
    return Tensors(shapes, file.get_tensor)


def normalization(
    path: str | os.PathLike,
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Returns (mean, deviation) of a file of ours, else None.

    Raises:
      ValueError: if they are not numbers, one for each color.
    """
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
    if not {MEAN, STD} <= metadata.keys():
        return None
    mean, std = (_numbers(metadata[key]) for key in (MEAN, STD))
    if len(mean) != _COLORS or len(std) != _COLORS or min(std) <= 0:
        raise ValueError(
            f"{os.fspath(path)!r} has a damaged normalization in its "
            f"metadata: mean {metadata[MEAN]!r}, std {metadata[STD]!r}."
        )
    return mean, std


def _numbers(text):
    """Returns the numbers of a text, none if one of them is not finite."""
    try:
        numbers = tuple(map(float, text.split()))
    except ValueError:
        return ()
    return numbers if all(map(math.isfinite, numbers)) else ()


def _check_header(path):
    """Raises if names repeat or are too many, which the library lets pass.

    It refuses offsets that overlap or lie outside, and shapes of other sizes.
    """
    with path.open("rb") as file:
        start = file.read(_LENGTH.size)
        if len(start) < _LENGTH.size:
            raise ValueError("it is too short")
        (length,) = _LENGTH.unpack(start)
        if length > path.stat().st_size - _LENGTH.size:
            raise ValueError(f"its header is longer than it, {length} bytes")
        header = file.read(min(length, safe_files.MAX_JSON_BYTES + 1))
    safe_files.parse_json(header, "its header")
