"""CSV files of image files and their labels.

Two forms, told by the header. One-hot, a column for each class:

    filename,cat,dog        and lists:        filename,labels
    1.jpg,1,0                                 1.jpg,cat;dog
    2.jpg,0,0                                 2.jpg,

Either may have a column `split`, with the part of the set that an image is of.
"""

import collections
import csv
import dataclasses
import pathlib
from collections.abc import Sequence

from absl import logging

from keras_regnet import class_names
from keras_regnet import image_folder

_SUFFIX = ".csv"
# What the first column may be called, that names the files.
FILE_COLUMNS = (
    "filename", "file_name", "file", "filepath", "file_path", "path", "image",
    "image_path", "image_name", "image_id", "img", "id",
)  # fmt: skip
# What a column of lists may be called.
LIST_COLUMNS = ("labels", "label", "tags", "tag", "classes", "class",
                "categories", "category", "target")  # fmt: skip
_SPLIT = "split"
_SEPARATORS = ";|,"
_HOT = {"0": False, "1": True, "0.0": False, "1.0": True,
        "false": False, "true": True}  # fmt: skip
PARTS = {"train": image_folder.TRAIN, "val": image_folder.VAL,
         "test": image_folder.TEST}  # fmt: skip
_MAX_HEADER = 1_000_000


@dataclasses.dataclass(frozen=True)
class Row:
    """An image file and its labels.

    Args:
      line: in the file, counted from 1.
      file: as the file spells it, with "/" between folders.
      part: "train", "val" or "test"; "" if no column says so.
      labels: names of classes, none twice.
    """

    line: int
    file: str
    part: str
    labels: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Table:
    """A CSV that was read.

    Args:
      path: its file.
      rows: in its order.
      classes: of a one-hot table, in the order of its columns; None of lists.
      has_parts: whether it has a column `split`.
    """

    path: pathlib.Path
    rows: tuple[Row, ...]
    classes: tuple[str, ...] | None
    has_parts: bool


def is_table(path: pathlib.Path) -> bool:
    """Returns whether a file is a CSV whose first column names files."""
    if path.suffix.lower() != _SUFFIX or not path.is_file():
        return False
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        header = next(csv.reader([file.readline(_MAX_HEADER)]), [])
    return bool(header) and header[0].strip().lower() in FILE_COLUMNS


def find(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the tables that lie in a folder, sorted."""
    paths = (pathlib.Path(e.path) for e in image_folder.entries(folder))
    return [path for path in paths if is_table(path)]


def read(path: pathlib.Path) -> Table:
    """Returns what a CSV says, without looking for the images.

    Raises:
      ValueError: naming the file and the line that is wrong.
    """
    header, *lines = _lines(path)
    columns = [name.strip() for name in header[1]]
    _check_header(path, columns)
    if not lines:
        raise ValueError(f"A CSV of labels has no rows: {path}")
    for number, cells in lines:
        if len(cells) != len(columns):
            raise _wrong(
                path, number, f"{len(cells)} columns for {len(columns)}"
            )
    names_of_files = [_file(path, line, cells[0]) for line, cells in lines]
    lower = [name.lower() for name in columns]
    split = lower.index(_SPLIT) if _SPLIT in lower else None
    others = [i for i in range(1, len(columns)) if i != split]
    if len(others) == 1 and lower[others[0]] in LIST_COLUMNS:
        classes = None
        labels = _lists(path, [cells[others[0]] for _, cells in lines])
    else:
        classes = tuple(columns[i] for i in others)
        _check_case(path, classes)
        labels = [
            _hot(path, number, classes, [cells[i] for i in others])
            for number, cells in lines
        ]
    rows = tuple(
        Row(
            number,
            file,
            "" if split is None else _part(path, number, cells[split]),
            names,
        )
        for (number, cells), file, names in zip(
            lines, names_of_files, labels, strict=True
        )
    )
    _check_repeated(path, rows)
    return Table(path, rows, classes, split is not None)


def _lines(path):
    """Returns (line, cells), the header first, without empty lines."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            return [(reader.line_num, cells) for cells in reader if cells]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"A CSV of labels must be text in UTF-8: {path} ({error})"
        ) from error


def _check_header(path, columns):
    named = [name for name in columns[1:] if name.lower() != _SPLIT]
    twice = [
        n for n, count in collections.Counter(columns).items() if count > 1
    ]
    if not named or twice or "" in columns:
        raise ValueError(
            "A CSV of labels must have a column of files, and columns of "
            "other names: one for each class, or `labels` with lists such as "
            f"cat;dog. Received: {class_names.shown(map(repr, columns))} in "
            f"{path}"
        )


def _wrong(path, line, what):
    return ValueError(
        f"Wrong row in a CSV of labels: {path}, line {line}: {what}"
    )


def _file(path, line, cell):
    name = cell.strip().replace("\\", "/").removeprefix("./")
    if not name:
        raise _wrong(path, line, "no file is named")
    return name


def _part(path, line, cell):
    name = cell.strip().lower()
    for part, spellings in PARTS.items():
        if name in spellings:
            return part
    known = [name for spellings in PARTS.values() for name in spellings]
    raise _wrong(
        path,
        line,
        f"`split` must be one of {', '.join(known)}. Received: "
        f"{class_names.with_close(cell.strip(), known)}",
    )


def _hot(path, line, classes, cells):
    """Returns the classes of a row of zeros and ones."""
    names = []
    for name, cell in zip(classes, cells, strict=True):
        value = _HOT.get(cell.strip().lower())
        if value is None:
            raise _wrong(
                path,
                line,
                f"column {name!r} must be 0 or 1 as of a class, or the only "
                "one and called `labels`, with lists such as cat;dog. "
                f"Received: {cell!r}",
            )
        if value:
            names.append(name)
    return tuple(names)


def _lists(path, cells):
    """Returns the classes of each cell, by the separator that they use."""
    used = [s for s in _SEPARATORS if any(s in cell for cell in cells)]
    if len(used) > 1:
        raise ValueError(
            "A CSV of labels must separate them by one of ; | and , alone. "
            f"Received: {' '.join(used)} in {path}"
        )
    if not used and any(" " in cell.strip() for cell in cells):
        spaced = next(cell.strip() for cell in cells if " " in cell.strip())
        logging.warning(
            "%s: %r is taken for one label; labels are separated by ; | or ,",
            path,
            spaced,
        )
    labels = [
        tuple(
            dict.fromkeys(
                name.strip()
                for name in (cell.split(used[0]) if used else [cell])
                if name.strip()
            )
        )
        for cell in cells
    ]
    _check_case(path, {name for names in labels for name in names})
    return labels


def _check_case(path, names):
    """Raises a ValueError for two names of what must be one class."""
    by_lower = collections.defaultdict(list)
    for name in sorted(names):
        by_lower[name.lower()].append(name)
    alike = [names for names in by_lower.values() if len(names) > 1]
    if alike:
        raise ValueError(
            "Labels must not differ in case alone. Received: "
            f"{class_names.shown(map(repr, alike[0]))} in {path}"
        )


def _check_repeated(path, rows: Sequence[Row]):
    first: dict[str, int] = {}
    for row in rows:
        if row.file in first:
            raise _wrong(
                path,
                row.line,
                f"{row.file!r} is in line {first[row.file]} already",
            )
        first[row.file] = row.line
