"""A CSV of accuracies: one row per evaluation, whatever evaluated.

The trainer, `training/validate.py` and `python -m keras_regnet.export` append
to it, with --results=FILE. What an evaluation does not measure stays empty.
"""

import csv
import datetime
import errno
import io
import os
import pathlib
from collections.abc import Mapping
from typing import Any

_FIRST = (
    "time",
    "source",
    "model",
    "weights",
    "dataset",
    "images",
    "image_size",
    "crop_share",
    "interpolation",
    "antialias",
    "flip_tta",
    "top1",
    "top5",
    "loss",
    "calibration_error",
    "images_per_second",
)
# Of several labels an image, in columns after these: mean average precision,
# and precision, recall and F1 of the labels predicted from a threshold on.
MULTILABEL = ("map", "precision", "recall", "f1", "threshold")
# Files of older versions have the first ones alone.
COLUMNS = (*_FIRST, *MULTILABEL)

# Characters of the first line that are looked at.
_MAX_HEADER = 10_000


def append(path: str | os.PathLike[str], row: Mapping[str, Any]) -> None:
    """Appends a row, with the time; the file is made if need be.

    Args:
      path: the file.
      row: values of `COLUMNS`. `source` is train, validate or export;
        `weights` says which, where `model` does not; accuracies are in
        percent.

    Raises:
      ValueError: if the file or the row has other columns.
      OSError: if it cannot be written.

    Example:
    >>> import tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "results.csv"
    >>> append(path, {"source": "validate", "model": "m.keras", "top1": 75.5})
    >>> path.read_text().splitlines()[1].partition(",")[2]
    'validate,m.keras,,,,,,,,,75.5,,,,,,,,,'
    """
    path = pathlib.Path(path).expanduser()
    unknown = sorted(set(row) - set(COLUMNS))
    if unknown:
        raise ValueError(
            f"`row` must have the columns {', '.join(COLUMNS)}. "
            f"Received: {', '.join(unknown)}"
        )
    new = check(path, any(row.get(name) is not None for name in MULTILABEL))
    columns = COLUMNS if new else _columns(path)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    text = io.StringIO()
    writer = csv.DictWriter(
        text, columns, extrasaction="ignore", lineterminator="\n"
    )
    if new:
        writer.writeheader()
    writer.writerow(
        {name: _short(value) for name, value in {"time": now, **row}.items()}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    # One write, unbuffered: two processes may share the file.
    with path.open("ab", buffering=0) as file:
        row_bytes = _line_break(path) + text.getvalue().encode()
        written = file.write(row_bytes)
        if written != len(row_bytes):
            # A full disk: half a row would be taken for a whole one.
            file.truncate(file.tell() - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _check_writable(path):
    """Raises an OSError if a file cannot be written, or made."""
    while not path.exists():
        path = path.parent
    if not os.access(path, os.W_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def _line_break(path):
    """Returns what a file lacks that was cut, or saved without a last one."""
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return b""
        file.seek(-1, os.SEEK_END)
        return b"" if file.read() == b"\n" else b"\n"


def check(path: str | os.PathLike[str], multilabel: bool = False) -> bool:
    """Returns whether the file is new; raises if `append` would.

    Args:
      path: the file.
      multilabel: whether rows will have values of `MULTILABEL`.

    Raises:
      ValueError: if it has other columns, or is a folder.
      OSError: if it cannot be written.
    """
    path = pathlib.Path(path).expanduser()
    if path.is_dir():
        raise ValueError(
            f"`results` must be a file. Received: the folder {path}"
        )
    _check_writable(path)
    if not path.is_file() or not path.stat().st_size:
        return True
    found = _columns(path)
    if found != COLUMNS and (multilabel or found != _FIRST):
        raise ValueError(
            f"`results` must be a file with the columns {','.join(COLUMNS)}. "
            f"Received: {path} with {','.join(found)}"
        )
    return False


def _columns(path):
    with path.open(encoding="utf-8", errors="replace") as file:
        return tuple(file.readline(_MAX_HEADER).strip().split(","))


def _short(value):
    return f"{value:.6g}" if isinstance(value, float) else value
