"""Locks of folders, which the system drops with the process that holds them."""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def sole_user(folder: str | os.PathLike[str], message: str) -> Iterator[None]:
    """Holds a folder, which is made if need be, for one process.

    Where the file system has no locks, as some of networks, nothing is held.

    Args:
      folder: the folder. If it was made, and nothing is in it afterwards, it is
        removed, with the folders that were made for it.
      message: of the error, without what was received.

    Raises:
      ValueError: if another process holds the folder.

    Example:
    >>> import tempfile
    >>> with sole_user(tempfile.mkdtemp(), "`out` must be free."):
    ...     pass
    """
    folder = pathlib.Path(folder)
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    os.makedirs(folder, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"{message} Received: {str(folder)!r}") from error
        except OSError:
            pass  # No locks here.
        yield
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            for path in new:
                path.rmdir()
