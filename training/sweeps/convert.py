"""Converts a data set of tensorflow-datasets to the arrays of a sweep.

python training/sweeps/convert.py FIELDS DATA_DIR TARGET

`training/sweep.py` runs this once per sweep, in a process of its own: it is
the one part that needs tensorflow-datasets, and through it TensorFlow. The
target can be carried to a machine that has neither.
"""

import json
import os
import pathlib
import shutil
import sys

# Run by path, Python looks for modules in this folder first.
if __name__ == "__main__":
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[2])
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow_datasets as tfds

from keras_regnet import atomic
from training.sweeps import arrays
from training.sweeps import regimes

# ImageNet's images are stored as center crops with this side.
_STORED_SIDE = 256
_TEST_SPLITS = ("test", "validation")


def to_npz(regime: regimes.Regime, data_dir: str, target: pathlib.Path) -> None:
    """Writes a set of small images as one compressed file."""
    builder = tfds.builder(regime.dataset, data_dir=data_dir)
    if not builder.is_prepared():
        print(
            f"{regime.dataset} is not in {data_dir}: it is fetched", flush=True
        )
        builder.download_and_prepare()
    train, test = (
        builder.as_dataset(split=s, batch_size=-1) for s in ("train", "test")
    )
    train, test = tfds.as_numpy(train), tfds.as_numpy(test)
    labels = train["label"]
    chosen = np.arange(len(labels))
    if regime.train_images:
        chosen = arrays.stratified(
            labels, regime.train_images, regime.subset_seed
        )
    with atomic.replacing(target) as partial:
        np.savez_compressed(
            partial,
            train_images=train["image"][chosen],
            train_labels=labels[chosen].astype(np.int32),
            test_images=test["image"],
            test_labels=test["label"].astype(np.int32),
        )


def to_folder(
    regime: regimes.Regime, data_dir: str, target: pathlib.Path
) -> None:
    """Writes a set of photos as a folder of arrays, one image at a time."""
    builder = tfds.builder(regime.dataset, data_dir=data_dir)
    test = next(s for s in _TEST_SPLITS if s in builder.info.splits)
    temporary = target.with_name(f".{os.getpid()}-{target.name}")
    temporary.mkdir()
    try:
        for name, split in (("train", "train"), ("test", test)):
            _write_split(builder, split, temporary, name)
        if not target.exists():
            temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_split(builder, split, folder, name):
    count = builder.info.splits[split].num_examples
    images = np.lib.format.open_memmap(
        folder / f"{name}_images.npy",
        "w+",
        np.uint8,
        (count, _STORED_SIDE, _STORED_SIDE, 3),
    )
    labels = np.zeros(count, np.int32)
    examples = tfds.as_numpy(builder.as_dataset(split=split))
    for index, example in enumerate(examples):
        images[index] = scaled(example["image"])
        labels[index] = example["label"]
    images.flush()
    np.save(folder / f"{name}_labels.npy", labels)


def scaled(image: np.ndarray, side: int = _STORED_SIDE) -> np.ndarray:
    """Returns the center square of an image, scaled to a side.

    Bilinear without antialiasing, as the paper's code scales test images;
    uint8 (side, side, 3). `keras_regnet.images` truncates the longer side to
    whole pixels first, which moves the crop: the arrays of a regime never
    change.
    """
    height, width = image.shape[:2]
    scale = min(height, width) / side
    rows = _positions(side, scale, (height / scale - side) / 2, height)
    columns = _positions(side, scale, (width / scale - side) / 2, width)
    pixels = image.astype(np.float32)
    pixels = _interpolate(pixels, rows, 0)
    pixels = _interpolate(pixels, columns, 1)
    return np.round(pixels).astype(np.uint8)


def _positions(side, scale, margin, size):
    """Returns where the centers of the pixels are in the original."""
    centers = (np.arange(side) + margin + 0.5) * scale - 0.5
    return np.clip(centers, 0, size - 1)


def _interpolate(pixels, positions, axis):
    low = np.floor(positions).astype(int)
    high = np.minimum(low + 1, pixels.shape[axis] - 1)
    fraction = (positions - low).astype(np.float32)
    fraction = fraction.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    return (
        np.take(pixels, low, axis) * (1 - fraction)
        + np.take(pixels, high, axis) * fraction
    )


if __name__ == "__main__":
    _fields, _data_dir, _target = sys.argv[1:]
    _regime = regimes.Regime.from_dict("", json.loads(_fields))
    _target = pathlib.Path(_target)
    _convert = to_npz if _target.suffix == ".npz" else to_folder
    _convert(_regime, _data_dir, _target)
