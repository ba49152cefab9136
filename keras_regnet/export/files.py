"""Files that appear whole or not at all."""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from collections.abc import Sequence


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Gives a path to write to, and renames it when all went well.

    Args:
      path: the file in the end; an older one is replaced.

    Yields:
      A path of the same suffix in a new folder beside it. If the block
      raises, nothing is left of it.

    Example:
    >>> import tempfile
    >>> target = pathlib.Path(tempfile.mkdtemp()) / "a.txt"
    >>> with replacing(target) as partial:
    ...     _ = partial.write_text("whole")
    >>> [file.name for file in target.parent.iterdir()]
    ['a.txt']
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        partial = pathlib.Path(folder) / path.name
        yield partial
        os.replace(partial, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def labels_path(path: str | os.PathLike[str]) -> pathlib.Path:
    """Returns where the labels of a file lie: model.labels.txt beside it.

    Args:
      path: the file.
    """
    return pathlib.Path(path).with_suffix(".labels.txt")


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
    with replacing(path) as partial:
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
