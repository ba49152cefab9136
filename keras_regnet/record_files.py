"""What lies beside an exported file: its class names and its record.

"model.labels.txt" has a name per line, for programs of any kind, and
"model.record.json" the rest of the `ModelRecord`: how an image is scaled and
cropped before the file sees it, and which published weights, under which
license, it comes from; of a LiteRT file for a target also what was chosen for
it, as "litert". In the folder of a SavedModel they are "labels.txt" and
"record.json".
"""

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from keras_regnet import atomic
from keras_regnet import class_names as names_lib
from keras_regnet import labels
from keras_regnet import safe_files
from keras_regnet.model_record import ModelRecord

IN_FOLDER = "record.json"
# Of files that have what is known of them beside them.
_SUFFIXES = (".tflite", ".onnx")
# What the record of a LiteRT file has of its target.
_LITERT = "litert"


def record_path(path: str | os.PathLike[str]) -> pathlib.Path:
    """Returns where the record of a file, or of a folder, is."""
    path = pathlib.Path(path)
    if path.is_dir():
        return path / IN_FOLDER
    return path.with_suffix(".record.json")


@contextlib.contextmanager
def replacing(
    path: str | os.PathLike[str],
    record: ModelRecord,
    classes: int,
    choice: Mapping[str, Any] | None = None,
) -> Iterator[pathlib.Path]:
    """Gives a path to write a file to; it appears with its record or not.

    See `atomic.replacing`. Without class names there are no labels, nor those
    of an older file.

    Args:
      path: of the file.
      record: what is known of its model.
      classes: number of its outputs.
      choice: what was chosen for the target of a LiteRT file.

    Raises:
      ValueError: if record and names are those of another file beside it, too.
    """
    if record.class_names is not None:
        names_lib.checked(record.class_names, classes)
    path = pathlib.Path(path)
    _check_shared(path, record)
    if path.suffix == ".onnx":
        choice = _choice_beside(path)
    with atomic.replacing(path) as partial:
        yield partial
        # Before the file is renamed: a disk may be full only now.
        if record.class_names is not None:
            labels.write_labels(
                labels.labels_path(path), record.class_names, classes
            )
        else:
            labels.labels_path(path).unlink(missing_ok=True)
        _write(record_path(path), record, choice)


def write_in_folder(
    folder: str | os.PathLike[str], record: ModelRecord, classes: int
) -> None:
    """Writes class names, if there are some, and record into a folder."""
    folder = pathlib.Path(folder)
    if record.class_names is not None:
        labels.write_labels(
            folder / labels.IN_FOLDER, record.class_names, classes
        )
    _write(folder / IN_FOLDER, record)


def _write(path, record, choice=None):
    # The names have a file of their own, which people may write.
    text = dataclasses.replace(record, class_names=None).to_json(indent=2)
    if choice is not None:
        values = {**json.loads(text), _LITERT: choice}
        text = json.dumps(values, indent=2)
    atomic.write(path, f"{text}\n".encode())


def _choice_beside(path):
    """Returns what was chosen for the LiteRT file that shares the record."""
    shared = record_path(path)
    if not (path.with_suffix(".tflite").is_file() and shared.is_file()):
        return None
    values = safe_files.parse_json(shared.read_text(encoding="utf-8"), "it")
    return values.get(_LITERT)


def _check_shared(path, record):
    """Raises a ValueError if what is known of another file would change."""
    others = [path.with_suffix(suffix) for suffix in _SUFFIXES]
    other = next((p for p in others if p != path and p.is_file()), None)
    if other is None:
        return
    shared = labels.labels_path(path)
    if shared.is_file() and labels.read_labels(shared) != record.class_names:
        raise ValueError(
            f"`path` must have another name: {shared} has the class names of "
            f"{other.name}, which are others. Received: path={str(path)!r}"
        )
    shared = record_path(path)
    unnamed = dataclasses.replace(record, class_names=None)
    if shared.is_file() and _read(shared) != unnamed:
        raise ValueError(
            f"`path` must have another name: {shared} has the record of "
            f"{other.name}, which is another. Received: path={str(path)!r}"
        )


def _read(path):
    try:
        return ModelRecord.from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"Not the record of a model: {path} ({error})") from (
            error
        )


def find(path: str | os.PathLike[str]) -> ModelRecord | None:
    """Returns the record of an exported file, None if there is none.

    Args:
      path: the file, or the folder of a SavedModel.

    Raises:
      ValueError: if a file beside it is damaged.
    """
    file = record_path(path)
    return _read(file) if file.is_file() else None
