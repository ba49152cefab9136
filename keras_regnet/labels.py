"""The labels beside a file."""

import os
import pathlib
from collections.abc import Sequence

from keras_regnet import atomic
from keras_regnet import class_names as names_lib

# In the folder of a SavedModel, and in that of a run.
IN_FOLDER = "labels.txt"
OF_RUN = f"saved_model/{IN_FOLDER}"


def labels_path(path: str | os.PathLike[str]) -> pathlib.Path:
    """Returns where the labels of a file are: model.labels.txt beside it."""
    return pathlib.Path(path).with_suffix(".labels.txt")


def write_labels(
    path: str | os.PathLike[str], class_names: Sequence[str], classes: int
) -> None:
    """Writes the class names, one per line, in the order of the outputs."""
    names_lib.checked(class_names, classes)
    with atomic.replacing(path) as partial:
        partial.write_text(
            "".join(f"{name}\n" for name in class_names), encoding="utf-8"
        )


def read_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Returns the class names of a file with one name per line."""
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text in UTF-8: {error}") from error
    # Not by `splitlines`: a name may have what else it takes for a line's end.
    return tuple(text.removesuffix("\n").split("\n")) if text else ()


def find(
    path: str | os.PathLike[str],
    classes: int | None = None,
    saved: tuple[str, ...] | None = None,
) -> tuple[str, ...] | None:
    """Returns the class names of a stored model, None if there are none.

    They are in its folder, or beside its file in "model.labels.txt"; then come
    those that it was saved with; and for a `.keras` file those in what a run
    has or, if as long, in "labels.txt".

    Args:
      path: a run folder, the folder of a SavedModel, or a file.
      classes: number of outputs of the model, None if it is not known.
      saved: the names that the file itself holds, None for none.

    Raises:
      ValueError: if a file of names is not text, or has another number of
        names than the model has outputs.
    """
    path = pathlib.Path(path).expanduser()
    if path.is_dir():
        own = [path / IN_FOLDER, path / OF_RUN]
    else:
        own = [labels_path(path)]
    for file in filter(pathlib.Path.is_file, own):
        names = read_labels(file)
        if classes and len(names) != classes:
            raise ValueError(
                "The labels of a model must be one for each of its outputs. "
                f"Received: {file} with {len(names)} names for {classes} "
                "outputs"
            )
        return names
    if saved is not None or path.suffix != ".keras":
        return saved
    for file in (path.parent / OF_RUN, path.parent / IN_FOLDER):
        names = read_labels(file) if file.is_file() else ()
        if classes and len(names) == classes:
            return names
    return None
