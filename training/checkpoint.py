"""Checkpoints: one file each, whole or absent.

A checkpoint is an .npz: the variables of model and optimizer, and the state
of the run as JSON. The format checks itself (a CRC per array), opens without
executing anything, and appears under its name only when it is complete.
"""

import dataclasses
import io
import json
import os
import pathlib
import zipfile
from typing import Any

import keras
import numpy as np
from absl import logging

_STATE = "state.json"
_NAME = "epoch-{:05d}.npz"
_PATTERN = "epoch-*.npz"
# What reading a torn or overwritten file can raise.
_TORN = (zipfile.BadZipFile, ValueError, KeyError, OSError, EOFError)


@dataclasses.dataclass(frozen=True)
class State:
    """Where a run stands.

    Args:
      epoch: finished epochs.
      step: finished steps.
      best_epoch: epoch with the best top-1 so far.
      rows: metrics of every finished epoch.
    """

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    rows: tuple[dict[str, float], ...] = ()


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read.

    Args:
      path: its file.
      state: where the run stood.
      arrays: variables by name.
    """

    path: pathlib.Path
    state: State
    arrays: dict[str, np.ndarray]


def write_atomically(path: pathlib.Path, contents: bytes) -> None:
    """Writes a file that appears under its name only when it is whole.

    Args:
      path: the file; replaced if it exists.
      contents: what it will hold.

    Raises:
      OSError: with the file's name, if it cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(
            error.errno, f"{error.strerror}, while writing", str(path)
        ) from error


def save(
    folder: pathlib.Path,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    state: State,
    keep: int,
) -> pathlib.Path:
    """Writes a checkpoint and removes those no longer wanted.

    Args:
      folder: the checkpoints of the run.
      model: the model.
      optimizer: its optimizer.
      state: where the run stands.
      keep: how many of the newest to keep, beside the best.

    Returns:
      The file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        name: _value(variable)
        for name, variable in _variables(model, optimizer).items()
    }
    text = json.dumps(dataclasses.asdict(state))
    arrays[_STATE] = np.frombuffer(text.encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    path = folder / _NAME.format(state.epoch)
    write_atomically(path, buffer.getbuffer())
    wanted = {path, folder / _NAME.format(state.best_epoch)}
    wanted |= set(_paths(folder)[-keep:])
    for old in set(_paths(folder)) - wanted:
        old.unlink()
    return path


def newest(folder: pathlib.Path) -> Checkpoint | None:
    """Returns the newest checkpoint that can be read, None if there is none.

    A torn file is passed over with a warning.

    Args:
      folder: the checkpoints of the run.

    Raises:
      ValueError: if there are checkpoints and all are torn; to begin again
        would write over what may still be saved.
    """
    paths = _paths(folder)
    for path in reversed(paths):
        try:
            return _read(path)
        except _TORN as error:
            logging.warning(
                "checkpoint %s cannot be read (%s: %s); falling back to the "
                "one before it",
                path,
                type(error).__name__,
                error,
            )
    if paths:
        raise ValueError(
            "No checkpoint of the run can be read; move them away to begin "
            f"again. Received: {', '.join(map(str, paths))}"
        )
    return None


def restore(
    checkpoint: Checkpoint,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
) -> None:
    """Sets all variables from a checkpoint.

    Raises:
      ValueError: if it is of another model or optimizer.
    """
    variables = _variables(model, optimizer)
    arrays = checkpoint.arrays
    unmatched = sorted(set(variables) ^ set(arrays)) + [
        f"{name} {arrays[name].shape} for {tuple(variable.shape)}"
        for name, variable in variables.items()
        if name in arrays and arrays[name].shape != tuple(variable.shape)
    ]
    if unmatched:
        raise ValueError(
            "The checkpoint is of another model. Received: "
            f"{checkpoint.path}, {len(unmatched)} variables do not match, "
            f"such as {unmatched[0]}"
        )
    for name, variable in variables.items():
        variable.assign(arrays[name])


def _paths(folder):
    return sorted(folder.glob(_PATTERN))


def _read(path):
    # Opened here, as NumPy leaves a file open that it cannot read.
    with (
        open(path, "rb") as file,
        np.load(file, allow_pickle=False) as stored,
    ):
        arrays = {name: stored[name] for name in stored.files}
    values = json.loads(arrays.pop(_STATE).tobytes())
    values["rows"] = tuple(values["rows"])
    return Checkpoint(path, State(**values), arrays)


def _variables(model, optimizer) -> dict[str, Any]:
    """Returns all variables under names that repeat in every process.

    Keras's own paths count the objects made so far; layer names and the
    order within a layer and an optimizer do not.
    """
    named = {}
    for layer in model.layers:
        for index, variable in enumerate(layer.variables):
            named[f"model/{layer.name}/{index}_{variable.name}"] = variable
    for index, variable in enumerate(optimizer.variables):
        named[f"optimizer/{index:05d}_{variable.name}"] = variable
    return named


def _value(variable):
    return np.asarray(keras.ops.convert_to_numpy(variable.value))
