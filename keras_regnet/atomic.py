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

    File and folder are synced: the file outlives a loss of power.

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
        # The file first: its rename may reach the disk before its contents.
        _sync(partial)
        os.replace(partial, path)
        _sync(path.parent)
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        # A full disk does not say what was written.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write(path: str | os.PathLike[str], contents: bytes) -> None:
    """Writes a file by `replacing`.

    Args:
      path: the file; an older one is replaced.
      contents: all of its bytes.

    Raises:
      OSError: if it cannot be written; names the file.
    """
    with replacing(path) as partial:
        partial.write_bytes(contents)


def remove_abandoned(folder: str | os.PathLike[str], pattern: str) -> None:
    """Removes what killed processes had begun to write.

    Args:
      folder: of the files; no other process may be writing there.
      pattern: of the files' names, such as "*.npz".
    """
    for abandoned in pathlib.Path(folder).glob(f".{pattern}.*"):
        shutil.rmtree(abandoned)


def _sync(path):
    """Waits until the disk has a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
