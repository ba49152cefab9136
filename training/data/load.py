"""Data sets by name, and the part of one that a run uses."""

import dataclasses
import pathlib

import numpy as np
import tensorflow as tf

from keras_regnet import class_names
from keras_regnet import digits
from training.config import config as train_config
from training.data import identity
from training.data import labels
from training.data import tfds
from training.data.dataset import DataSet
from training.data.dataset import in_memory
from training.data.dataset import Split
from training.data.folder import load_folder
from training.data.npz import load_npz
from training.data.shards import load_shards
from training.data.subset import select

_SYNTHETIC_CLASSES = 1000
_SYNTHETIC_IMAGES = 64
_SYNTHETIC_EXAMPLES = 8192


def load_dataset(config: train_config.TrainConfig) -> DataSet:
    """Returns the data set that a configuration names, as far as it is used.

    Args:
      config: the fields from `dataset` to `image_size`, and `seed`, are read;
        `labels` says whether an image has one or several.

    Raises:
      ValueError: if there is no such set, or something is wrong with it.
    """
    data = _load_whole(config)
    class_names.check(data.class_names)
    return labels.as_requested(select(data, config), config.labels)


def check_prepared(config: train_config.TrainConfig) -> None:
    """Raises a ValueError if `load_dataset` would prepare a set first."""
    kind, colon, _ = config.dataset.partition(":")
    if not (colon and kind in _BY_PATH) and config.dataset not in _BUILT_IN:
        tfds.check_prepared(config, _other_names())


def _other_names():
    return [*_BUILT_IN, *(f"{kind}:PATH" for kind in _BY_PATH)]


def _load_whole(config):
    kind, colon, path = config.dataset.partition(":")
    if colon and kind in _BY_PATH:
        return _BY_PATH[kind](pathlib.Path(path).expanduser(), config)
    if config.dataset in _BUILT_IN:
        return _BUILT_IN[config.dataset](config)
    return tfds.load_tfds(config, _other_names())


def _load_digits(config):
    del config
    train, test = (
        dataclasses.replace(
            in_memory(found.images, found.labels, f"digits {part}"),
            digest=identity.digest([part, found.images.tobytes()]),
        )
        for part, found in ((p, digits.load(p)) for p in digits.SPLITS)
    )
    return DataSet(
        train=train,
        val=test,
        class_names=digits.CLASS_NAMES,
        small_images=True,
    )


def _load_synthetic(config):
    """Noise of the training size: times a step without reading anything."""
    rng = np.random.default_rng(config.seed)
    shape = (_SYNTHETIC_IMAGES, *config.training_size(), 3)
    images = rng.integers(0, 256, shape, np.uint8)
    pixels = tf.constant(images)
    split = Split(
        num_examples=_SYNTHETIC_EXAMPLES,
        read=lambda index: (
            tf.gather(pixels, index % _SYNTHETIC_IMAGES),
            tf.cast(index % _SYNTHETIC_CLASSES, tf.int32),
        ),
        describe=lambda index: f"synthetic example {index}",
        labels=np.arange(_SYNTHETIC_EXAMPLES, dtype=np.int32)
        % _SYNTHETIC_CLASSES,
    )
    return DataSet(
        train=split,
        val=split.subset(np.arange(_SYNTHETIC_IMAGES)),
        class_names=tuple(str(label) for label in range(_SYNTHETIC_CLASSES)),
        small_images=True,
    )


_BUILT_IN = {"digits": _load_digits, "synthetic": _load_synthetic}
_BY_PATH = {
    "folder": load_folder,
    "shards": load_shards,
    "arrays": load_npz,
}
