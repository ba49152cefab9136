"""Data sets in one .npz file of arrays."""

import dataclasses
import pathlib

import numpy as np

from keras_regnet import safe_files
from training.config import config as train_config
from training.data import dataset
from training.data import identity
from training.data import labels as labels_lib
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
    (n, height, width, 1 or 3), and integers from 0, or (n, classes) of zeros
    and ones. `class_names` is optional; the images for evaluation are, with
    `val_fraction`.

    Args:
      path: the file.
      config: `labels` and `val_fraction` are read.

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
        way, kind = "", ValueError
        if not set(missing) & set(names[:2]):
            way = "; --val_fraction=0.1 evaluates on a tenth of the first two"
            kind = dataset.NoEvaluationImagesError
        raise kind(
            f"`dataset` must be an .npz file with {', '.join(expected)}{way}. "
            f"Missing: {', '.join(missing)}. Received: {path}"
        )
    parts = [expected[i : i + 2] for i in range(0, len(expected), 2)]
    images = [_images(path, stored, name) for name, _ in parts]
    labels = [_labels(path, stored, *part) for part in parts]
    class_names = _class_names(path, stored, parts[0][1], labels)
    multiple = _are_multiple(path, parts, labels, config.labels)
    if not multiple:
        labels = [x.argmax(1) if x.ndim == 2 else x for x in labels]
    splits = [
        dataclasses.replace(
            dataset.in_memory(pixels, own, f"{part[0]} of {path}"),
            # Several labels are compared by themselves, see `identity`.
            digest=_digest(path, part[:1] if multiple else part),
        )
        for part, pixels, own in zip(parts, images, labels, strict=True)
    ]
    side = max(stored[names[0]].shape[1:3])
    return DataSet(
        splits[0], splits[-1], class_names, side <= _SMALL_SIDE, multiple
    )


def _are_multiple(path, parts, labels, requested):
    """Returns whether images have several labels, by what the arrays hold."""
    shapes = {x.shape[1:] for x in labels}
    if len(shapes) > 1:
        raise ValueError(
            "The labels of both parts must have one form: integers, or (n, "
            "classes) of zeros and ones. Received: "
            + ", ".join(
                f"{name} {x.shape}"
                for (_, name), x in zip(parts, labels, strict=True)
            )
            + f" in {path}"
        )
    if shapes == {()}:
        return False
    return labels_lib.are_multiple(
        requested,
        [
            (path, [f"example {i} of {name}" for i in range(len(own))], own)
            for (name, _), own in zip(parts, labels, strict=True)
        ],
    )


def _class_names(path, stored, labels_name, labels):
    """Returns the names of the classes, numbers where the file has none."""
    if labels[0].ndim == 2:
        classes = labels[0].shape[1]
    else:
        if labels[0].min() > 0:
            raise ValueError(
                f"`{labels_name}` must count from 0. "
                f"Received: {labels[0].min()} as the smallest in {path}"
            )
        classes = 1 + max(int(x.max()) for x in labels)
    names = stored.get("class_names", np.arange(classes))
    if len(names) < classes or (labels[0].ndim == 2 and len(names) > classes):
        raise ValueError(
            f"`class_names` must name all classes. Received: {path} with "
            f"{len(names)} names and labels up to {classes - 1}"
        )
    return tuple(map(_text, names))


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


def _images(path, stored, name):
    """Returns uint8 pixels (n, height, width, 3)."""
    images = stored[name]
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            f"`{name}` must have the shape (n, height, width) or (n, "
            f"height, width, 1 or 3). Received: {images.shape} in {path}"
        )
    if images.dtype != np.uint8:
        raise ValueError(
            f"`{name}` must be uint8, 0 to 255. "
            f"Received: {images.dtype} in {path}"
        )
    if images.shape[-1] == 1:
        images = np.repeat(images, 3, axis=-1)
    return images


def _labels(path, stored, images_name, name):
    """Returns labels: integers (n,), or uint8 (n, classes) of 0 and 1."""
    images, labels = stored[images_name], stored[name]
    several = labels.ndim == 2 and labels.shape[1] > 1
    if several and len(labels) == len(images) and np.isin(labels, (0, 1)).all():
        return labels.astype(np.uint8)
    labels = np.squeeze(labels)
    if labels.shape != images.shape[:1] or not np.issubdtype(
        labels.dtype, np.integer
    ):
        raise ValueError(
            f"`{name}` must be one integer for each image, or (n, classes) of "
            f"zeros and ones. Received: {labels.dtype} {labels.shape} for "
            f"{len(images)} in {path}"
        )
    if not len(labels) or labels.min() < 0:
        raise ValueError(
            f"`{name}` must count from 0. Received: "
            f"{labels.min() if len(labels) else 'no labels'} in {path}"
        )
    return labels


def _digest(path, names):
    """Returns a hash of arrays, by the checksums that the file has of them."""
    with safe_files.open_zip(path) as file:
        found = {i.filename.removesuffix(".npy"): i for i in file.infolist()}
    return identity.digest(
        (name, found[name].CRC, found[name].file_size) for name in names
    )
