"""Data sets in folders, one folder per class or with a CSV of labels."""

import functools
import pathlib

import numpy as np
from absl import logging

from keras_regnet import image_folder
from training.config import config as train_config
from training.data import dataset
from training.data import identity
from training.data import label_csv
from training.data import labeled_files
from training.data.dataset import DataSet
from training.data.dataset import Split


def load_folder(
    root: pathlib.Path, config: train_config.TrainConfig
) -> DataSet:
    """Returns the set in root/{train,val}/<class>/<image>, or of CSV files.

    A class folder is read with the folders in it. The parts may have other
    usual names, and classes may lack images for evaluation.

    Args:
      root: the folder; where `val_fraction` holds out images for evaluation, it
        may hold the class folders itself.
      config: `labels`, `val_fraction` and `skip_bad_images` are read.

    Raises:
      ValueError: naming the folder or files that are wrong.
    """
    if not root.is_dir():
        raise ValueError(
            "`dataset` names a folder that does not exist. "
            f"Received: dataset='folder:{root}'"
        )
    tables = labeled_files.find(root, config)
    if tables:
        return labeled_files.load(root, tables, config)
    train = image_folder.find_part(root, image_folder.TRAIN)
    if config.val_fraction:
        parts = [train or _flat(root)]
    else:
        parts = [train or _no_part(root, "train"), _find_val(root)]
    others: list[str] = []
    classes = [_list_classes(part, others) for part in parts]
    if others:
        _complain(others, root, config.skip_bad_images)
    names = list(classes[0])
    for name, paths in classes[0].items():
        if not paths:
            raise ValueError(f"A class has no images: {parts[0] / name}")
    if len(names) < 2:
        raise ValueError(
            f"At least two class folders are needed in {parts[0]}. "
            f"Received: {names}"
        )
    splits = [_files_split(classes[0], names)]
    if len(parts) == 2:
        _check_val(*parts, *classes)
        splits.append(_files_split(classes[1], names))
    test = image_folder.find_part(root, image_folder.TEST)
    if len(parts) < 2 or test in (None, parts[1]):
        read_test = None
    else:
        read_test = functools.partial(
            _read_test, parts[0], test, classes[0], config
        )
    return DataSet(
        splits[0],
        splits[-1],
        tuple(names),
        small_images=False,
        read_test=read_test,
    )


def _read_test(
    train_part: pathlib.Path,
    part: pathlib.Path,
    train: dict[str, list[str]],
    config: train_config.TrainConfig,
) -> Split:
    """Returns the images of a test part, checked as those for evaluation."""
    others: list[str] = []
    classes = _list_classes(part, others)
    if others:
        _complain(others, part.parent, config.skip_bad_images)
    _check_val(train_part, part, train, classes)
    return _files_split(classes, list(train))


def _flat(root):
    """Returns a folder that holds the class folders itself."""
    for names in (image_folder.VAL, image_folder.TEST):
        part = image_folder.find_part(root, names)
        if part is not None:
            raise ValueError(
                "With `val_fraction` a folder must hold train/, or class "
                f"folders alone. Received: {part.name}/ without train/ in "
                f"{root}"
            )
    return root


def _find_val(root):
    """Returns the folder of images for evaluation."""
    val = image_folder.find_part(root, image_folder.VAL)
    if val is not None:
        return val
    test = image_folder.find_part(root, image_folder.TEST)
    if test is None:
        return _no_part(root, "val")
    logging.info("no val/ in %s: evaluated on %s/", root, test.name)
    return test


def _no_part(root, part):
    raise dataset.NoEvaluationImagesError(
        "A `folder:` data set must hold train/ and val/ with one folder per "
        "class; --val_fraction=0.1 evaluates on a tenth of train/, or of class "
        f"folders alone. Missing: {root / part}"
    )


def _list_classes(part, others):
    """Returns {class name: paths}, both sorted; appends what is no image."""
    classes = {}
    for entry in image_folder.entries(part):
        if entry.is_dir():
            files = image_folder.files_below(entry.path)
            classes[entry.name] = files.images
            others += files.others
        else:
            others.append(entry.path)
    return classes


def _complain(others, root, skip):
    """Raises for files that are not images of a class, or says so."""
    described = f"{image_folder.describe(others, root)} in {root}"
    if not skip:
        raise ValueError(
            "Only image files belong in class folders, and only class folders "
            f"beside them (allowed: {', '.join(image_folder.SUFFIXES)}); "
            f"--skip_bad_images leaves others out.{_hint(others)} Received: "
            f"{described}"
        )
    logging.warning("left out, not image files of a class: %s", described)


def _hint(others):
    """Returns what is wrong with a CSV that was not taken for labels."""
    if not any(path.lower().endswith(".csv") for path in others):
        return ""
    return (
        " A CSV of labels must be text in UTF-8, separated by commas, whose "
        "first column names the files and is called one of "
        f"{', '.join(label_csv.FILE_COLUMNS)}."
    )


def _check_val(train_part, val_part, train, val):
    """Compares the classes of the parts by their names."""
    unknown = sorted(set(val) - set(train))
    if unknown:
        raise ValueError(
            f"All classes of {val_part.name}/ must be in {train_part.name}/. "
            f"Only in {val_part.name}: {unknown}, only in {train_part.name}: "
            f"{sorted(set(train) - set(val))}. Received: {val_part.parent}"
        )
    if not any(val.values()):
        raise ValueError(f"There are no images for evaluation: {val_part}")
    missing = [name for name in train if not val.get(name)]
    if missing:
        logging.warning(
            "%d of %d classes have no images in %s/ and are not evaluated: %s",
            len(missing),
            len(train),
            val_part.name,
            ", ".join(missing),
        )


def _files_split(classes, names):
    """Returns the images of classes, whose labels are places in `names`."""
    paths = [path for name in names for path in classes.get(name, ())]
    counts = [len(classes.get(name, ())) for name in names]
    labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return dataset.from_files(paths, labels, identity.digest_of_paths(paths))
