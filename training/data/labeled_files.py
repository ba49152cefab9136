"""Data sets in folders whose labels are in CSV files beside the images."""

import collections
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging

from keras_regnet import class_names
from keras_regnet import image_folder
from training.config import config as train_config
from training.data import dataset
from training.data import identity
from training.data import label_csv
from training.data import labels as labels_lib
from training.data.dataset import DataSet
from training.data.dataset import Split

_NAMED = 5
_PARTS = {
    "train": (image_folder.TRAIN,),
    "val": (image_folder.VAL, image_folder.TEST),
}


def find(
    root: pathlib.Path, config: train_config.TrainConfig
) -> dict[str, pathlib.Path]:
    """Returns the CSV of each part, or that of the whole set as "".

    A part has its own in its folder, or in `root` under its name. What lies
    in `root` beside class folders is read with --labels=multiple alone.

    Returns:
      {} where there is none.

    Raises:
      ValueError: if a part has none, or there are several to choose from.
    """
    tables = {}
    for part in _PARTS:
        folder = _folder(root, part)
        table = folder and _only(label_csv.find(folder), folder)
        if table:
            tables[part] = table
    beside = label_csv.find(root)
    train = _folder(root, "train")
    has_classes = bool(train and _has_folders(train))
    if beside and not tables and has_classes and config.labels != "multiple":
        logging.warning(
            "%s is not read: there are class folders. --labels=multiple takes "
            "the labels from it",
            beside[0],
        )
        return {}
    named = {_part_of(path): path for path in beside}
    tables = {part: named[part] for part in _PARTS if part in named} | tables
    if "train" not in tables:
        whole = _only([p for p in beside if not _part_of(p)], root)
        return {"": whole} if whole else {}
    if config.val_fraction or "val" in tables:
        return tables
    raise dataset.NoEvaluationImagesError(
        "The validation images must have a CSV of labels, as those for "
        f"training have. Received: {tables['train']}, and none in or beside "
        f"{_folder(root, 'val') or root / 'val'}"
    )


def _folder(root, part):
    found = (image_folder.find_part(root, names) for names in _PARTS[part])
    return next(filter(None, found), None)


def _part_of(path):
    """Returns the part of a set that a CSV is named after, "" if of none."""
    name = path.stem.lower()
    parts = label_csv.PARTS.items()
    return next((part for part, names in parts if name in names), "")


def _only(paths, folder):
    """Returns the one path, None if there is none."""
    if len(paths) > 1:
        raise ValueError(
            "There must be one CSV of labels in a folder. Received: "
            f"{', '.join(path.name for path in paths)} in {folder}"
        )
    return paths[0] if paths else None


def _has_folders(folder):
    """Returns whether images lie in folders of a folder, and not in it."""
    entries = image_folder.entries(folder)
    return any(e.is_dir() for e in entries) and not any(
        image_folder.is_image(e.name) for e in entries
    )


def load(
    root: pathlib.Path,
    tables: dict[str, pathlib.Path],
    config: train_config.TrainConfig,
) -> DataSet:
    """Returns the set of images that CSV files name.

    Images without a row are left out, and counted. Of a whole set, `split`
    says the parts; with `val_fraction` it may have none.

    Args:
      root: the folder of the set.
      tables: what `find` returned.
      config: `labels`, `val_fraction` and `skip_bad_images` are read.

    Raises:
      ValueError: naming the file, the line or the class that is wrong.
    """
    if "" in tables:
        found = _of_whole(root, label_csv.read(tables[""]), config)
    else:
        found = _of_parts(root, tables)
    if config.val_fraction:
        found = {"train": found["train"]}
    names = _classes(found)
    parts = {
        part: _paths_and_labels(table, rows, files, names, config)
        for part, (table, rows, files) in found.items()
    }
    for files in {id(f): f for _, _, f in found.values()}.values():
        files.log_unused()
    _warn_of_dead_classes(parts["train"][1], names)
    multiple = labels_lib.are_multiple(
        config.labels,
        [(found[part][0].path, *parts[part]) for part in parts],
    )
    splits = [_split(*parts[part], multiple) for part in parts]
    return DataSet(
        splits[0],
        splits[-1],
        names,
        small_images=False,
        multilabel=multiple,
    )


def _of_parts(root, tables):
    """Returns (table, rows, files) of each part that has its own table."""
    found, files = {}, {}
    for part, path in tables.items():
        table = label_csv.read(path)
        if table.has_parts:
            raise ValueError(
                "`split` is a column of the CSV of a whole set, which lies in "
                f"{root} under another name. Received: {path}"
            )
        folder = _folder(root, part) or root
        if folder.name.lower() in image_folder.TEST:
            logging.info("no val/ in %s: evaluated on %s/", root, folder.name)
        files.setdefault(folder, Files(folder))
        found[part] = (table, table.rows, files[folder])
    return found


def _of_whole(root, table, config):
    """Returns (table, rows, files) of each part of a set in one table."""
    files = Files(root)
    for row in table.rows:
        # Rows of parts that are not used have their images, too.
        files.path(row.file)
    rows = _split_rows(table, config)
    return {part: (table, own, files) for part, own in rows.items()}


def _split_rows(table, config):
    """Returns the rows of the parts of a set that is in one table."""
    if not table.has_parts:
        if config.val_fraction:
            return {"train": table.rows}
        raise dataset.NoEvaluationImagesError(
            "A CSV of a whole set needs a column `split` (train, val), or "
            f"--val_fraction. Received: {table.path}"
        )
    rows = collections.defaultdict(list)
    for row in table.rows:
        rows[row.part].append(row)
    if not rows["train"]:
        raise ValueError(f"No row is of the split 'train': {table.path}")
    if config.val_fraction:
        return {"train": rows["train"]}
    if not rows["val"] and rows["test"]:
        logging.info("no split 'val' in %s: evaluated on 'test'", table.path)
        rows["val"] = rows["test"]
    if not rows["val"]:
        raise dataset.NoEvaluationImagesError(
            "No row is of the split 'val'; --val_fraction=0.1 evaluates on a "
            f"tenth of those of 'train'. Received: {table.path}"
        )
    return {"train": rows["train"], "val": rows["val"]}


def _classes(found):
    """Returns the classes of the training images; the others have no more."""
    table, rows, _ = found["train"]
    names = table.classes
    if names is None:
        names = tuple(sorted({name for row in rows for name in row.labels}))
    if not names:
        raise ValueError(f"No training image has a label: {table.path}")
    if "val" not in found:
        return names
    table, rows, _ = found["val"]
    missing = sorted(set(names) - set(table.classes or names))
    if missing:
        raise ValueError(
            "Classes need a column for the validation images too: "
            f"{class_names.shown(map(repr, missing))}. Received: {table.path}"
        )
    known = set(names)
    for name in table.classes or ():
        if name not in known:
            raise _unknown_label(table.path, 1, name, names)
    for row in rows:
        for name in row.labels:
            if name not in known:
                raise _unknown_label(table.path, row.line, name, names)
    return names


def _unknown_label(path, line, name, names):
    return ValueError(
        "Labels of validation images must be of a training image too. "
        f"Received: {class_names.with_close(name, names)} in {path}, line "
        f"{line}; the labels of training images: "
        f"{class_names.shown(map(repr, names))}"
    )


def _warn_of_dead_classes(labels, names):
    """Says which classes no training image has."""
    dead = [
        repr(n)
        for n, any_ in zip(names, labels.any(0), strict=True)
        if not any_
    ]
    if dead:
        logging.warning(
            "no training image has the label %s", class_names.shown(dead)
        )


class Files:
    """The images below a folder, by what a CSV may call them."""

    def __init__(self, folder: pathlib.Path):
        """Lists them."""
        self.folder = folder
        paths = image_folder.files_below(folder).images
        below = {
            os.path.relpath(p, folder).replace(os.sep, "/"): p for p in paths
        }
        self._unused = dict(below)
        self._exact = below
        # By the name alone, and without its suffix: where it is the only one.
        self._loose: dict[str, list[str]] = collections.defaultdict(list)
        for name in below:
            stem = os.path.splitext(name)[0]
            keys = {stem, os.path.basename(name), os.path.basename(stem)}
            for key in keys - {name}:
                self._loose[key].append(name)

    def path(self, name: str) -> str | None:
        """Returns the path of a file, None if there is none or several."""
        own = name.removeprefix(f"{self.folder.name}/")
        for spelling in (name, own):
            key = spelling if spelling in self._exact else None
            if key is None and len(self._loose.get(spelling, ())) == 1:
                (key,) = self._loose[spelling]
            if key is not None:
                self._unused.pop(key, None)
                return self._exact[key]
        return None

    def explain(self, name: str) -> str:
        """Returns a file's name, and those that it may be meant for."""
        several = self._loose.get(name)
        if several:
            return f"{name!r} (which? {class_names.shown(several)})"
        return class_names.with_close(name, self._exact)

    def log_unused(self) -> None:
        """Says which images no row named."""
        if self._unused:
            logging.warning(
                "%d images below %s have no row and are left out: %s",
                len(self._unused),
                self.folder,
                class_names.shown(self._unused),
            )


def _paths_and_labels(table, rows, files, names, config):
    """Returns the images that rows name, sorted, and their labels."""
    found, missing = {}, []
    for row in rows:
        path = files.path(row.file)
        if path is None:
            missing.append(row)
        elif path in found:
            raise ValueError(
                f"Two rows name one image: lines {found[path].line} and "
                f"{row.line} of {table.path}. Received: {path}"
            )
        else:
            found[path] = row
    if missing:
        _complain(table, missing, files, config.skip_bad_images)
    if not found:
        raise ValueError(
            f"There are no images below {files.folder} that {table.path} names"
        )
    index = {name: number for number, name in enumerate(names)}
    paths = sorted(found)
    labels = np.zeros((len(paths), len(names)), np.uint8)
    for number, path in enumerate(paths):
        labels[number, [index[name] for name in found[path].labels]] = 1
    return paths, labels


def _complain(table, missing, files, skip):
    """Raises for rows whose image is not there, or says so."""
    shown = ", ".join(
        f"line {row.line}: {files.explain(row.file)}"
        for row in missing[:_NAMED]
    )
    rest = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    if not skip:
        raise ValueError(
            "A CSV of labels must name image files (allowed: "
            f"{', '.join(image_folder.SUFFIXES)}) below {files.folder}; "
            "--skip_bad_images leaves other rows out. Received: "
            f"{len(missing)} rows of {table.path} without one: {shown}{rest}"
        )
    logging.warning(
        "left out, %d rows of %s without an image: %s%s",
        len(missing),
        table.path,
        shown,
        rest,
    )


def _split(paths: Sequence[str], labels: np.ndarray, multiple: bool) -> Split:
    digest = identity.digest_of_paths(paths)
    if not multiple:
        labels = labels.argmax(1)
        # Of class folders, the names of the files have them.
        digest = identity.digest([digest, *labels])
    return dataset.from_files(paths, labels, digest)
