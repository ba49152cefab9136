"""Reads a data set by the trainer's data layer, for a sweep.

python training/sweeps/convert.py describe FIELDS DATA_DIR ""
python training/sweeps/convert.py store FIELDS DATA_DIR TARGET

`preparing.py` runs this in a process of its own: it is the one part of a sweep
that needs TensorFlow. FIELDS are those of a regime, as JSON. What is stored can
be carried to a machine without TensorFlow.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Iterator

# Run by path, Python looks for modules in this folder first.
if __name__ == "__main__":
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[2])
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# Before TensorFlow, which it has turn oneDNN on.
from keras_regnet import onednn  # noqa: F401

# isort: split
import numpy as np
import tensorflow as tf

from keras_regnet import atomic
from keras_regnet import image_files
from keras_regnet.center_crop import CenterCrop
from training.config import config as train_config
from training.data import augment
from training.data import dataset
from training.data import identity
from training.data import load
from training.data import subset
from training.data.dataset import Split
from training.data.dataset import Stream
from training.sweeps import arrays
from training.sweeps import regimes
from training.sweeps.regimes import Regime

# Larger sets are a folder of arrays, which stay on the disk until used.
_MAX_FILE = 2**30
# What the trainer scales images to for an input of 224 pixels, and sweeps
# store: area crops are cut from it, and the center is evaluated.
_STORED = 256 / 224
_BATCH = 64
_ORDER_SEED = 0


@dataclasses.dataclass(frozen=True)
class Parts:
    """The images of a sweep.

    Args:
      train: trained on.
      test: for what was selected.
      val: on which errors are measured, None if on `test`.
      class_names: in the order of the labels.
      small_images: as of `DataSet`.
      digest: of the classes and of the files of all parts.
      test_held_out: whether the set has no test part of its own.
    """

    train: Split | Stream
    test: Split | Stream
    val: Split | Stream | None
    class_names: tuple[str, ...]
    small_images: bool
    digest: str
    test_held_out: bool

    def named(self) -> dict[str, Split | Stream]:
        """Returns the parts there are, by the names of their arrays."""
        parts = {"train": self.train, "val": self.val, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}


def read(regime: Regime, data_dir: str) -> Parts:
    """Returns the parts of a data set as a regime uses them.

    A validation and a test part of the set itself are used as such. Where it
    has one of both with labels, that is the test part, and `val_fraction` of
    the training images is held out for validation; where it has none, of a set
    without any parts, a test part is held out before that.

    Raises:
      ValueError: if there is no such set, or it has too few images.
    """
    config = train_config.TrainConfig(
        dataset=regime.dataset, data_dir=data_dir, labels="single"
    )
    fraction = regime.val_fraction
    test_held_out = False
    try:
        data = load.load_dataset(config)
    except dataset.NoEvaluationImagesError:
        if not fraction:
            raise
        test_held_out = True
        config = dataclasses.replace(config, val_fraction=fraction)
        data = load.load_dataset(config)
    val, test = None, data.val
    own_test = data.read_test() if fraction and data.read_test else None
    if own_test is not None and _is_labeled(own_test):
        val, test = data.val, own_test
    digest = identity.digest(
        [data.class_names]
        + [part.digest for part in (data.train, val, test) if part is not None]
    )
    if fraction and val is None:
        _check_labels(data.train, regime)
        data = subset.hold_out(data, fraction)
        val = data.val
    train = _subset(data, regime)
    arrays.check_batch(train.num_examples, regime)
    return Parts(
        train,
        test,
        val,
        data.class_names,
        data.small_images,
        digest,
        test_held_out,
    )


def _knows_labels(part):
    """Returns whether labels are known without reading the images."""
    return not isinstance(part, Stream) and part.labels is not None


def _is_labeled(part):
    """Returns whether labels are known: of some test parts all are -1."""
    if not _knows_labels(part):
        found = _examples(part).take(1).as_numpy_iterator()
        return all(label >= 0 for _, label in found)
    return bool((part.labels >= 0).all())


def _check_labels(train, regime):
    if not _knows_labels(train):
        raise ValueError(
            "`val_fraction` needs a data set that fits into memory, or one "
            "written by make_shards.py --format=array_record. Received: "
            f"val_fraction={regime.val_fraction} for {regime.dataset}"
        )


def _subset(data, regime):
    if not regime.train_images:
        return data.train
    if not _knows_labels(data.train):
        raise ValueError(
            "`train_images` needs a data set that fits into memory. Received: "
            f"train_images={regime.train_images} for {regime.dataset}"
        )
    return data.train.subset(
        arrays.stratified(
            data.train.labels, regime.train_images, regime.subset_seed
        )
    )


def describe(regime: Regime, data_dir: str) -> dict:
    """Returns what a data set says of itself, and a line about it."""
    parts = read(regime, data_dir)
    counts = {name: p.num_examples for name, p in parts.named().items()}
    words = ", ".join(f"{count} {name}" for name, count in counts.items())
    classes = len(parts.class_names)
    return {
        "classes": classes,
        "data_digest": parts.digest,
        "small": parts.small_images,
        "words": f"{regime.dataset}: {classes} classes; {words} images",
    }


def store(regime: Regime, data_dir: str, target: pathlib.Path) -> None:
    """Writes the arrays of a regime, to a file or a folder named like it.

    Raises:
      ValueError: if an image cannot be read, or the images are not those that
        the sweep was sampled for.
    """
    parts = read(regime, data_dir)
    if regime.data_digest not in ("", parts.digest):
        raise ValueError(
            f"{regime.dataset} has other images, or under other names, than "
            "when the sweep was sampled: use another folder for it."
        )
    side = stored_side(regime, parts.small_images)
    named = parts.named()
    if regime.data_digest:
        named = {n: _in_any_order(part) for n, part in named.items()}
    size = sum(p.num_examples for p in named.values()) * side * side * 3
    if size > _MAX_FILE:
        folder = target.with_suffix("")
        _store_folder(parts, named, side, regime.classes, folder)
        return
    found = {"test_held_out": np.array(parts.test_held_out)}
    for name, part in named.items():
        images = np.empty((part.num_examples, side, side, 3), np.uint8)
        labels = _fill(images, part, parts.small_images, regime.classes)
        found[f"{name}_labels"] = labels
        found[f"{name}_images"] = images
    with atomic.replacing(target) as partial:
        np.savez_compressed(partial, **found)


def _in_any_order(part):
    """Returns images in an order that says nothing about their classes.

    The first ones stand for all after epochs before the last. The arrays of
    presets, which have no digest, have the order of their published records.
    """
    if isinstance(part, Stream):
        return part
    rng = np.random.default_rng(_ORDER_SEED)
    return part.subset(rng.permutation(part.num_examples))


def _store_folder(parts, named, side, classes, target):
    with _whole_folder(target) as folder:
        np.save(folder / "test_held_out.npy", parts.test_held_out)
        for name, part in named.items():
            images = np.lib.format.open_memmap(
                folder / f"{name}_images.npy",
                "w+",
                np.uint8,
                (part.num_examples, side, side, 3),
            )
            labels = _fill(images, part, parts.small_images, classes)
            images.flush()
            np.save(folder / f"{name}_labels.npy", labels)


@contextlib.contextmanager
def _whole_folder(target: pathlib.Path) -> Iterator[pathlib.Path]:
    """Makes a folder that is there once all is written, or not at all."""
    temporary = target.with_name(f".{os.getpid()}-{target.name}")
    temporary.mkdir()
    try:
        yield temporary
        if not target.exists():
            temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def stored_side(regime: Regime, small_images: bool) -> int:
    """Returns the side of stored images: small ones have the input's."""
    if small_images:
        return regime.image_size
    return round(regime.image_size * _STORED)


def _fill(
    images: np.ndarray, part: Split | Stream, small: bool, classes: int
) -> np.ndarray:
    """Writes the center squares of all images; returns the labels."""
    side = images.shape[1]
    crop = augment.crop_of(CenterCrop(1.0), small)

    def fit(source, label):
        pixels = image_files.decode(source)
        pixels = augment.fit(pixels, (side, side), crop, whole=False)
        return tf.cast(tf.round(pixels), tf.uint8), label

    labels, start = np.empty(len(images), np.int32), 0
    try:
        for pixels, found in (
            _examples(part)
            .map(fit, tf.data.AUTOTUNE, deterministic=True)
            .batch(_BATCH)
            .prefetch(tf.data.AUTOTUNE)
            .as_numpy_iterator()
        ):
            images[start : start + len(found)] = pixels
            labels[start : start + len(found)] = found
            start += len(found)
    except tf.errors.OpError as error:
        left = range(start, len(images))
        message = dataset.find_unreadable(part, left)
        raise ValueError(message or str(error)) from error
    _check_filled(labels[:start], len(images), classes)
    return labels


def _check_filled(labels, count, classes):
    """Raises if images are missing, or a label is none of the classes."""
    if len(labels) < count:
        raise ValueError(
            f"`dataset` must have the images that it says, {count}. Received: "
            f"{len(labels)}"
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise ValueError(
            f"`dataset` must have labels within 0 and {classes - 1}. Received: "
            f"{labels[wrong[0]]} for example {wrong[0]}"
        )


def _examples(part):
    if isinstance(part, Stream):
        return part.examples(None)
    return tf.data.Dataset.range(part.num_examples).map(
        part.read, tf.data.AUTOTUNE, deterministic=True
    )


def _main(task, fields, data_dir, target):
    regime = regimes.Regime.from_dict("", json.loads(fields))
    try:
        if task == "describe":
            print(json.dumps(describe(regime, data_dir)))
        else:
            store(regime, data_dir, pathlib.Path(target))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")


if __name__ == "__main__":
    _main(*sys.argv[1:])
