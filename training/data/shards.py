"""Data sets in shards, as make_shards.py writes them.

A folder holds `shards.json` (class names, format, whether images have several
labels; files and their counts for train and val) and the files, TFRecord or
ArrayRecord: one `tf.train.Example` per image, with `image` (the bytes of the
file), `label` (any number of them, if there are several) and `name`.
ArrayRecord files are read by index, and all labels lie beside them in an .npy
file.
"""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib

import numpy as np
import tensorflow as tf
from absl import logging

from keras_regnet import atomic
from keras_regnet import class_names as names_lib
from keras_regnet import errors
from keras_regnet import safe_files
from training.config import config as train_config
from training.data import array_record
from training.data import dataset
from training.data import identity
from training.data import labels as labels_lib
from training.data import subset
from training.data.dataset import DataSet
from training.data.dataset import Split
from training.data.folder import load_folder

_MANIFEST = "shards.json"
_LABELS = "{}-labels.npy"
_TFRECORD = "tfrecord"
_ARRAY_RECORD = "array_record"
FORMATS = (_TFRECORD, _ARRAY_RECORD)
_WRITERS = {
    _TFRECORD: tf.io.TFRecordWriter,
    _ARRAY_RECORD: array_record.writer,
}
_IMAGE = tf.io.FixedLenFeature([], tf.string)


def load_shards(
    folder: pathlib.Path, config: train_config.TrainConfig
) -> DataSet:
    """Returns the set in a folder of shards.

    Args:
      folder: what `write` wrote.
      config: `val_fraction` and `cache` are read.

    Returns:
      A `DataSet`, in memory if it fits.

    Raises:
      ValueError: naming the file that is missing or wrong.
    """
    path = folder / _MANIFEST
    if not path.is_file():
        raise ValueError(
            "`dataset` must name a folder that make_shards.py has written. "
            f"Missing: {path}"
        )
    try:
        manifest = safe_files.read_json(path)
        class_names = tuple(manifest["class_names"])
        counts = {part: dict(manifest[part]) for part in ("train", "val")}
        # Older folders do not say.
        kind = manifest.get("format", _TFRECORD)
        sizes = dict(manifest.get("bytes", {}))
        multilabel = manifest.get("multilabel", False)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"Not a {_MANIFEST} of shards: {path}") from error
    _check_sizes(folder, sizes)
    if kind not in FORMATS:
        raise errors.unknown_value("format", kind, FORMATS)
    make = _random if kind == _ARRAY_RECORD else _sequential
    parse = _parse
    if multilabel:
        parse = functools.partial(_parse_several, len(class_names))
    train = make(folder, counts["train"], "train", config.cache, parse)
    if config.val_fraction:
        val = train
    else:
        val = make(folder, counts["val"], "val", config.cache, parse)
    train, val = (
        dataclasses.replace(split, digest=_digest(folder, counts[part]))
        for split, part in (
            (train, "train"),
            (val, "train" if val is train else "val"),
        )
    )
    return DataSet(
        train, val, class_names, small_images=False, multilabel=multilabel
    )


def _digest(folder, counts):
    return identity.digest(
        (name, count, (folder / name).stat().st_size)
        for name, count in counts.items()
    )


def _check_sizes(folder, sizes):
    """Raises a ValueError if a shard was cut: its records would be missed."""
    for name, size in sizes.items():
        path = folder / name
        if path.is_file() and path.stat().st_size != size:
            raise ValueError(
                f"A shard must be as it was written: {size} bytes. "
                f"Received: {path.stat().st_size} bytes in {path}"
            )


def _paths(folder, counts):
    paths = [folder / name for name in counts]
    for path in paths:
        if not path.is_file():
            raise ValueError(f"A shard is missing: {path}")
    return paths


def _fits(paths, cache):
    size = sum(path.stat().st_size for path in paths)
    return cache or size <= dataset.IN_MEMORY_BYTES


def _random(folder, counts, part, cache, parse):
    """Returns a split of ArrayRecord files."""
    paths = _paths(folder, counts)
    file = folder / _LABELS.format(part)
    try:
        labels = safe_files.parse_array(file.read_bytes(), file.name)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(
            f"The labels of the shards cannot be read: {file} ({error})"
        ) from error
    split = array_record.split(paths, labels, parse)
    if not _fits(paths, cache):
        return split
    return dataset.load_into_memory(split, f"{folder} {part}")


def _sequential(folder, counts, part, cache, parse):
    """Returns the examples of TFRecord files, as a stream if they are many."""
    paths = _paths(folder, counts)
    files = [str(path) for path in paths]
    stream = dataset.from_records(
        files, sum(counts.values()), parse, f"{folder} {part}"
    )
    if not _fits(paths, cache):
        return stream
    return dataset.read_all(stream.examples(None), stream.name)


def _parse(record):
    label = tf.io.FixedLenFeature([], tf.int64)
    example = tf.io.parse_single_example(
        record, {"image": _IMAGE, "label": label}
    )
    return example["image"], tf.cast(example["label"], tf.int32)


def _parse_several(classes, record):
    labels = tf.io.RaggedFeature(tf.int64)
    example = tf.io.parse_single_example(
        record, {"image": _IMAGE, "label": labels}
    )
    hot = tf.reduce_sum(tf.one_hot(example["label"], classes), axis=0)
    return example["image"], hot


def write(
    source: pathlib.Path,
    folder: pathlib.Path,
    images_per_shard: int = 1024,
    skip_bad_images: bool = False,
    seed: int = 0,
    file_format: str = _TFRECORD,
    labels: str = "auto",
    val_fraction: float = 0.0,
) -> dict[str, int]:
    """Writes the shards of a set in folders.

    Every image is decoded once to see that it is one. The images are shuffled
    before they are dealt to the shards. The manifest is written last: a
    folder without it is not a data set.

    Args:
      source: has train/ and val/ with one folder per class in each, or CSV
        files of labels, or with `val_fraction` what a data set of
        `folder.load_folder` has.
      folder: where the shards go; it must not hold any.
      images_per_shard: maximum number of images in a file.
      skip_bad_images: leave out files that are not images, and do not raise.
      seed: of the order.
      file_format: one of `FORMATS`.
      labels: "single" or "multiple" labels an image; "auto" as `source` has.
      val_fraction: of every class, is held out as "val".

    Returns:
      Images written for "train" and "val", and "skipped".

    Raises:
      ValueError: naming the file that is not an image.
    """
    if images_per_shard < 1:
        raise ValueError(
            "`images_per_shard` must be at least 1. "
            f"Received: images_per_shard={images_per_shard}"
        )
    if file_format not in FORMATS:
        raise errors.unknown_value("format", file_format, FORMATS)
    config = train_config.TrainConfig(
        skip_bad_images=skip_bad_images,
        labels=labels,
        val_fraction=val_fraction,
    )
    data = labels_lib.as_requested(load_folder(source, config), labels)
    if val_fraction:
        data = subset.hold_out(data, val_fraction)
    names_lib.check(data.class_names)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ValueError(f"The output folder must be empty. Received: {folder}")
    # Before the first file is written.
    parts = {
        part: (split, _checked(split, skip_bad_images))
        for part, split in (("train", data.train), ("val", data.val))
    }
    subset.check_classes(*parts["train"], data.class_names)
    manifest = {"class_names": data.class_names, "format": file_format}
    if data.multilabel:
        manifest["multilabel"] = True
    written = {"skipped": 0}
    for part, (split, good) in parts.items():
        order = np.random.default_rng(seed).permutation(good.num_examples)
        written["skipped"] += split.num_examples - good.num_examples
        written[part] = good.num_examples
        part_split = good.subset(order)
        manifest[part] = _write_part(
            part_split, folder, part, images_per_shard, file_format
        )
        if file_format == _ARRAY_RECORD:
            np.save(folder / _LABELS.format(part), part_split.labels)
    manifest["bytes"] = {
        name: (folder / name).stat().st_size
        for part in ("train", "val")
        for name in manifest[part]
    }
    with atomic.replacing(folder / _MANIFEST) as partial:
        partial.write_text(json.dumps(manifest, indent=2) + "\n")
    return written


def _checked(split: Split, skip: bool) -> Split:
    """Returns the examples of a split that are images."""
    good = dataset.readable(split)
    bad = np.setdiff1d(np.arange(split.num_examples), good)
    if not len(bad):
        return split
    if not skip or not len(good):
        raise ValueError(dataset.find_unreadable(split, bad))
    for index in bad:
        logging.warning("left out, not an image: %s", split.describe(index))
    return split.subset(good)


def _write_part(split, folder, part, images_per_shard, file_format):
    """Writes one part, and returns the images in each file by its name."""
    num_files = -(-split.num_examples // images_per_shard)
    contents = split.sources().as_numpy_iterator()
    counts = {}
    for number, indices in enumerate(
        np.array_split(np.arange(split.num_examples), num_files)
    ):
        name = f"{part}-{number:05d}-of-{num_files:05d}.{file_format}"
        make = _WRITERS[file_format]
        with contextlib.closing(make(str(folder / name))) as writer:
            for index in indices:
                writer.write(
                    _example(
                        next(contents),
                        _label_list(split.labels[index]),
                        os.path.basename(split.describe(index)),
                    )
                )
        counts[name] = len(indices)
    return counts


def _label_list(label: np.ndarray) -> list[int]:
    """Returns the labels of an image, of one label or of zeros and ones."""
    return np.atleast_1d(
        np.flatnonzero(label) if label.ndim else label
    ).tolist()


def _example(image: bytes, labels: list[int], name: str) -> bytes:
    def feature(value):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    features = {
        "image": feature(image),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=labels)),
        "name": feature(os.fsencode(name)),
    }
    return tf.train.Example(
        features=tf.train.Features(feature=features)
    ).SerializeToString()
