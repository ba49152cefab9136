"""Reading pickled checkpoints by PyTorch, which is imported only here.

Nothing is executed: `weights_only=True` builds tensors and plain containers,
and every other object in a file is an error.
"""

import mmap
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_regnet import safe_files
from keras_regnet.weights.readers import damage
from keras_regnet.weights.readers import nesting
from keras_regnet.weights.readers.tensors import Tensors

SUFFIXES = (".pth", ".pt", ".pyth", ".bin", ".torch")

_GLOBAL = re.compile(r"GLOBAL:? ([\w.]+)")
# What `weights_only=True` lets a pickle call with a number, and get so many
# bytes: a file of a kilobyte could fill any memory. No tensor needs it.
_ALLOCATES = b"bytearray"
_ZIP = b"PK\x03\x04"


def read(path: str | os.PathLike) -> Tensors:
    """Returns the tensors of a checkpoint, whatever wraps them."""
    path = Path(path)
    is_zip = _check_container(path)
    torch = _import_torch(f"{str(path)!r} is a pickle, which PyTorch reads")
    try:
        with warnings.catch_warnings():
            # Of pickle protocols that need not concern a reader of weights.
            warnings.simplefilter("ignore")
            checkpoint = torch.load(
                path, map_location="cpu", weights_only=True, mmap=is_zip
            )
    except damage.ERRORS as error:
        raise _unreadable(path, error) from error
    try:
        state = nesting.state_dict(checkpoint)
        shapes = {name: tuple(value.shape) for name, value in state.items()}
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"{str(path)!r} cannot be used. {damage.reason(error)}."
        ) from error
    return Tensors(shapes, lambda name: _to_numpy(path, name, state[name]))


def _check_container(path):
    """Returns whether a file is a zip archive such as PyTorch writes."""
    if not path.stat().st_size:
        raise ValueError(f"{str(path)!r} is empty.")
    _check_allocates_nothing(path)
    if not zipfile.is_zipfile(path) and not _begins_as_zip(path):
        return False
    try:
        with safe_files.open_zip(path) as archive:
            entries = archive.infolist()
    except damage.ERRORS as error:
        raise _unreadable(path, error) from error
    if any(Path(entry.filename).name == "constants.pkl" for entry in entries):
        raise ValueError(
            f"{str(path)!r} is a TorchScript program, which would execute "
            "code. Save its `state_dict()` instead."
        )
    # PyTorch never compresses: an entry that grows is a trap.
    if any(entry.file_size > entry.compress_size for entry in entries):
        raise ValueError(
            f"{str(path)!r} is compressed, as no checkpoint of PyTorch is, "
            "and may unpack to any size."
        )
    return True


def _begins_as_zip(path):
    """Returns whether PyTorch, which looks at the beginning, sees a zip."""
    with path.open("rb") as file:
        return file.read(len(_ZIP)) == _ZIP


def _check_allocates_nothing(path):
    """Raises if a pickle calls for memory that it does not fill itself.

    What a pickle calls stands in it in plain letters.
    """
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        if content.find(_ALLOCATES) >= 0:
            raise ValueError(
                f"{str(path)!r} holds {_ALLOCATES.decode()!r}, which may ask "
                "for any amount of memory. Only tensors and plain containers "
                "are allowed."
            )


def _import_torch(reason):
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{reason}: `pip install keras_regnet[torch]`, or use "
            "`.safetensors`, which needs no PyTorch."
        ) from error
    return torch


def write(checkpoint: Mapping[str, Any], path: str | os.PathLike) -> None:
    """Writes a state dict of arrays as PyTorch's tensors."""
    # The name itself may be one that stands until the file is whole.
    suffix = Path(path).suffix
    torch = _import_torch(f"PyTorch writes files that end in {suffix!r}")

    def to_tensors(node):
        if isinstance(node, Mapping):
            return {name: to_tensors(value) for name, value in node.items()}
        return torch.from_numpy(node)

    torch.save(to_tensors(checkpoint), path)


def _unreadable(path, error):
    text = str(error)
    if match := _GLOBAL.search(text):
        return ValueError(
            f"{str(path)!r} holds {match[1]!r} and would execute code when "
            "loaded. Only tensors and plain containers are allowed."
        )
    reason = re.split(r"\.\s|\n", text.strip())[0] or type(error).__name__
    if isinstance(error, pickle.UnpicklingError):
        # PyTorch's first line is advice to switch its protection off.
        reason = "its pickle holds more than tensors, or cannot be parsed"
    return ValueError(
        f"{str(path)!r} is not a checkpoint of PyTorch, or is damaged: "
        f"{reason.rstrip('.')}."
    )


def _to_numpy(path, name, tensor):
    try:
        if str(tensor.dtype) == "torch.bfloat16":
            tensor = tensor.float()
        return tensor.detach().numpy()
    except (TypeError, RuntimeError) as error:
        raise ValueError(
            f"The tensor {name!r} of {str(path)!r} is of an unusual kind: "
            f"{tensor.dtype}, {tensor.layout}."
        ) from error
