"""Data sets in folders, one folder per class."""

import pathlib

import numpy as np
import tensorflow as tf

from keras_regnet import image_folder
from training.config import config as train_config
from training.data import identity
from training.data.dataset import DataSet
from training.data.dataset import Split


def load_folder(
    root: pathlib.Path, config: train_config.TrainConfig | None = None
) -> DataSet:
    """Returns the set in root/{train,val}/<class>/<image>.

    Args:
      root: the folder; where `val_fraction` holds out images for evaluation, it
        may hold the class folders itself.
      config: `val_fraction` is read.

    Raises:
      ValueError: naming the folder or file that is wrong.
    """
    if not root.is_dir():
        raise ValueError(
            "`dataset` names a folder that does not exist. "
            f"Received: dataset='folder:{root}'"
        )
    if config and config.val_fraction:
        whole = root / "train" if (root / "train").is_dir() else root
        classes = _list_classes(whole)
        split = _files_split(classes)
        return DataSet(split, split, tuple(classes), small_images=False)
    classes = {}
    for part in ("train", "val"):
        if not (root / part).is_dir():
            raise ValueError(
                "A `folder:` data set must hold train/ and val/ with one "
                f"folder per class. Missing: {root / part}"
            )
        classes[part] = _list_classes(root / part)
    names = tuple(classes["train"])
    if names != tuple(classes["val"]):
        raise ValueError(
            "train/ and val/ must have the same classes. Only in train: "
            f"{sorted(set(names) - set(classes['val']))}, only in val: "
            f"{sorted(set(classes['val']) - set(names))}. Received: {root}"
        )
    return DataSet(
        train=_files_split(classes["train"]),
        val=_files_split(classes["val"]),
        class_names=names,
        small_images=False,
    )


def _list_classes(part):
    """Returns {class name: paths}, both sorted."""
    classes = {}
    for folder in image_folder.entries(part):
        if not folder.is_dir():
            raise ValueError(
                f"Only class folders belong in {part}. Received: {folder.path}"
            )
        paths = [entry.path for entry in image_folder.entries(folder)]
        for path in paths:
            if not image_folder.is_image(path):
                raise ValueError(
                    f"Not an image file: {path} (allowed: "
                    f"{', '.join(image_folder.SUFFIXES)})"
                )
        if not paths:
            raise ValueError(f"A class has no images: {folder.path}")
        classes[folder.name] = paths
    if len(classes) < 2:
        raise ValueError(
            f"At least two class folders are needed in {part}. "
            f"Received: {list(classes)}"
        )
    return classes


def _files_split(classes):
    paths = [path for files in classes.values() for path in files]
    counts = [len(files) for files in classes.values()]
    labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    with tf.device("/cpu:0"):
        path_table, label_table = tf.constant(paths), tf.constant(labels)

    def read(index):
        contents = tf.io.read_file(tf.gather(path_table, index))
        return contents, tf.gather(label_table, index)

    return Split(
        num_examples=len(paths),
        read=read,
        describe=lambda index: paths[index],
        labels=labels,
        in_memory=False,
        digest=identity.digest_of_paths(paths),
    )
