"""Image files in folders: what the trainer and the exports read alike.

Files of operating systems are left out, links are followed, and the order is
that of the names.
"""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Sequence

SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"
)  # fmt: skip

# What Windows, macOS, Linux and disk stations put beside people's files; what
# begins with a dot, too.
_SYSTEM = frozenset(
    ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx",
     "$recycle.bin", "system volume information", "lost+found", "@eadir")
)  # fmt: skip
_DOWNLOAD_MARK = "zone.identifier"

# The names of the parts of a set, in the order in which they are looked for;
# images of a test are evaluated on where there are no others.
TRAIN = ("train", "training")
VAL = ("val", "valid", "validation")
TEST = ("test", "testing")

_NAMED = 5


@dataclasses.dataclass
class Files:
    """Paths of files, sorted folder by folder.

    Args:
      images: whose names are those of image files.
      others: the other files.
    """

    images: list[str] = dataclasses.field(default_factory=list)
    others: list[str] = dataclasses.field(default_factory=list)


def entries(folder: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    """Returns what people put into a folder, sorted by name."""
    with os.scandir(folder) as found:
        shown = [entry for entry in found if not _is_system(entry.name)]
    return sorted(shown, key=lambda entry: entry.name)


def _is_system(name):
    lower = name.lower()
    return name[0] == "." or lower in _SYSTEM or lower.endswith(_DOWNLOAD_MARK)


def is_image(name: str) -> bool:
    """Returns whether the name of a file ends as an image's does."""
    return _suffix(name) in SUFFIXES


def _suffix(name):
    return os.path.splitext(name)[1].lower()


def files_below(folder: str | os.PathLike[str]) -> Files:
    """Returns the files of a folder and of all folders in it."""
    files = Files()
    _add_files_below(os.fspath(folder), (), files)
    return files


def _add_files_below(folder, parents, files):
    # A link may lead back to a folder that it lies in.
    own = os.path.realpath(folder)
    if own in parents:
        return
    for entry in entries(folder):
        if entry.is_dir():
            _add_files_below(entry.path, (*parents, own), files)
        elif is_image(entry.name):
            files.images.append(entry.path)
        else:
            files.others.append(entry.path)


def describe(paths: Sequence[str], root: str | os.PathLike[str]) -> str:
    """Returns how many files there are of each suffix, and names a few."""
    suffixes = collections.Counter(_suffix(path) for path in paths)
    counts = ", ".join(
        f"{count} {suffix or 'without a suffix'}"
        for suffix, count in suffixes.most_common()
    )
    named = ", ".join(os.path.relpath(path, root) for path in paths[:_NAMED])
    return f"{counts} ({named}{', ...' if len(paths) > _NAMED else ''})"


def find_part(
    root: str | os.PathLike[str], names: Sequence[str]
) -> pathlib.Path | None:
    """Returns the first folder of some names, in any case; None if none is."""
    folders = {
        entry.name.lower(): entry.path
        for entry in entries(root)
        if entry.is_dir()
    }
    return next(
        (pathlib.Path(folders[name]) for name in names if name in folders), None
    )


def class_names(
    paths: Sequence[str], root: str | os.PathLike[str]
) -> list[str]:
    """Returns the class of each image below a folder.

    It is the outermost folder that differs, parts of a set aside; an image
    that lies beside the folders of classes has the folder's own name.
    """
    below = [pathlib.Path(path).relative_to(root).parts[:-1] for path in paths]
    while all(below) and _hold_no_classes({parts[0] for parts in below}):
        below = [parts[1:] for parts in below]
    own = pathlib.Path(root).name
    return [parts[0] if parts else own for parts in below]


def _hold_no_classes(names):
    return len(names) == 1 or {name.lower() for name in names} <= {
        *TRAIN,
        *VAL,
        *TEST,
    }
