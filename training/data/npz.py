"""Data sets in one .npz file of arrays."""

import dataclasses
import pathlib

import numpy as np

from keras_regnet import safe_files
from training.config import config as train_config
from training.data import dataset
from training.data import identity
from training.data.dataset import DataSet

# Ours, and what Keras's own downloads hold.
_NAMES = (
    ("train_images", "train_labels", "val_images", "val_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
)
_SMALL_SIDE = 64


def load_npz(path: pathlib.Path, config: train_config.TrainConfig) -> DataSet:
    """Returns the set in an .npz file.

    It holds `train_images`, `train_labels`, `val_images` and `val_labels` (or
    `x_train`, `y_train`, `x_test`, `y_test`): uint8 (n, height, width) or
    (n, height, width, 1 or 3), and integers from 0. `class_names` is
    optional; the images for evaluation are, with `val_fraction`.

    Args:
      path: the file.
      config: `val_fraction` is read.

    Returns:
      A `DataSet` in memory.

    Raises:
      ValueError: saying what is wrong with the file.
    """
    stored = _read(path)
    names = next((n for n in _NAMES if n[0] in stored), _NAMES[0])
    expected = names[:2] if config.val_fraction else names
    missing = [name for name in expected if name not in stored]
    if missing:
        way = ""
        if not set(missing) & set(names[:2]):
            way = "; --val_fraction=0.1 evaluates on a tenth of the first two"
        raise ValueError(
            f"`dataset` must be an .npz file with {', '.join(expected)}{way}. "
            f"Missing: {', '.join(missing)}. Received: {path}"
        )
    train = _split(path, stored, *names[:2])
    if train.labels.min() > 0:
        raise ValueError(
            f"`{names[1]}` must count from 0. "
            f"Received: {train.labels.min()} as the smallest in {path}"
        )
    val = train if config.val_fraction else _split(path, stored, *names[2:])
    classes = 1 + max(int(train.labels.max()), int(val.labels.max()))
    class_names = stored.get("class_names", np.arange(classes))
    if len(class_names) < classes:
        raise ValueError(
            f"`class_names` must name all classes. Received: {path} with "
            f"{len(class_names)} names and labels up to {classes - 1}"
        )
    side = max(stored[names[0]].shape[1:3])
    return DataSet(
        train, val, tuple(map(_text, class_names)), side <= _SMALL_SIDE
    )


def _text(name):
    """Returns a name as text: other libraries store bytes."""
    return name.decode() if isinstance(name, bytes) else str(name)


def _read(path):
    if not path.is_file():
        raise ValueError(
            "`dataset` names a file that does not exist. "
            f"Received: dataset='arrays:{path}'"
        )
    try:
        return safe_files.load_npz(path)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"`dataset` is not a readable .npz file of plain arrays: {path} "
            f"({error})"
        ) from error


def _split(path, stored, images_name, labels_name):
    images, labels = stored[images_name], np.squeeze(stored[labels_name])
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            f"`{images_name}` must have the shape (n, height, width) or (n, "
            f"height, width, 1 or 3). Received: {images.shape} in {path}"
        )
    if images.dtype != np.uint8:
        raise ValueError(
            f"`{images_name}` must be uint8, 0 to 255. "
            f"Received: {images.dtype} in {path}"
        )
    if labels.shape != images.shape[:1] or not np.issubdtype(
        labels.dtype, np.integer
    ):
        raise ValueError(
            f"`{labels_name}` must be one integer for each image. Received: "
            f"{labels.dtype} {labels.shape} for {len(images)} in {path}"
        )
    if not len(labels) or labels.min() < 0:
        raise ValueError(
            f"`{labels_name}` must count from 0. Received: "
            f"{labels.min() if len(labels) else 'no labels'} in {path}"
        )
    if images.shape[-1] == 1:
        images = np.repeat(images, 3, axis=-1)
    split = dataset.in_memory(images, labels, f"{images_name} of {path}")
    return dataclasses.replace(
        split, digest=_digest(path, (images_name, labels_name))
    )


def _digest(path, names):
    """Returns a hash of arrays, by the checksums that the file has of them."""
    with safe_files.open_zip(path) as file:
        found = {i.filename.removesuffix(".npy"): i for i in file.infolist()}
    return identity.digest(
        (name, found[name].CRC, found[name].file_size) for name in names
    )
