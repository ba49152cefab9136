"""Image files in folders: what the trainer and the exports read alike.

Hidden files are left out, links are followed, and the order is that of the
names.
"""

import os
import pathlib

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")


def entries(folder: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    """Returns what a folder shows, sorted by name."""
    with os.scandir(folder) as found:
        shown = [entry for entry in found if entry.name[0] != "."]
    return sorted(shown, key=lambda entry: entry.name)


def is_image(name: str) -> bool:
    """Returns whether the name of a file ends as an image's does."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def images_below(folder: str | os.PathLike[str]) -> list[pathlib.Path]:
    """Returns the image files of a folder and of all folders in it."""
    return _images_below(os.fspath(folder), ())


def _images_below(folder, parents):
    # A link may lead back to a folder that it lies in.
    own = os.path.realpath(folder)
    if own in parents:
        return []
    files = []
    for entry in entries(folder):
        if entry.is_dir():
            files += _images_below(entry.path, (*parents, own))
        elif is_image(entry.name) and entry.is_file():
            files.append(pathlib.Path(entry.path))
    return files
