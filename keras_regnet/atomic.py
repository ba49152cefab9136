"""Files that appear whole or not at all."""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Gives a path to write to, and renames it when all went well.

    Args:
      path: the file in the end; an older one is replaced. Its folder is made
        if it is not there.

    Yields:
      A path of the same name in a new folder beside it. If the block raises,
      nothing is left of it.

    Raises:
      OSError: if it cannot be written, a full disk included; names the file.

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
        _sync(partial)
        os.replace(partial, path)
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        # A full disk does not say what was written.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sync(path):
    """Waits until the disk has the file: a rename may come before it."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
