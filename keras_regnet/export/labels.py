"""The labels beside a file."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from collections.abc import Sequence

from keras_regnet import atomic


def labels_path(path: str | os.PathLike[str]) -> pathlib.Path:
    """Returns where the labels of a file lie: model.labels.txt beside it.

    Args:
      path: the file.
    """
    return pathlib.Path(path).with_suffix(".labels.txt")


@contextlib.contextmanager
def replacing(
    path: str | os.PathLike[str],
    class_names: Sequence[str] | None,
    classes: int,
) -> Iterator[pathlib.Path]:
    """Gives a path to write a file to; it appears with its labels or not.

    Args:
      path: the file in the end, see `atomic.replacing`.
      class_names: name of each output, written beside it; None for no labels.
      classes: outputs of the model.

    Yields:
      A path of the same name.

    Raises:
      ValueError: if the names do not fit the model.
      OSError: if it cannot be written.
    """
    if class_names is not None:
        check_labels(class_names, classes)
    with atomic.replacing(path) as partial:
        yield partial
        # Before the file is renamed: a disk may be full only now.
        if class_names is not None:
            write_labels(labels_path(path), class_names, classes)


def write_labels(
    path: str | os.PathLike[str], class_names: Sequence[str], classes: int
) -> None:
    """Writes the class names, one per line, in the order of the outputs.

    Args:
      path: the file of labels.
      class_names: name of each output.
      classes: outputs of the model.

    Raises:
      ValueError: if the names do not fit the model.
    """
    check_labels(class_names, classes)
    with atomic.replacing(path) as partial:
        partial.write_text(
            "".join(f"{name}\n" for name in class_names), encoding="utf-8"
        )


def check_labels(class_names: Sequence[str], classes: int) -> None:
    """Raises a ValueError if names do not fit a number of outputs.

    Args:
      class_names: name of each output.
      classes: outputs of the model.
    """
    if len(class_names) != classes:
        raise ValueError(
            "`class_names` must have one name per output of the model. "
            f"Received: {len(class_names)} names for {classes} outputs"
        )
