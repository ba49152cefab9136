"""Data sets of tensorflow-datasets."""

import dataclasses
import functools
import os
import pathlib
import re
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_regnet import errors
from training.config import config as train_config
from training.data import array_record
from training.data import dataset
from training.data import identity
from training.data.dataset import DataSet

# Sets whose images all have one size up to this side are scaled whole.
_SMALL_SIDE = 64


def load_tfds(
    config: train_config.TrainConfig, other_names: Sequence[str]
) -> DataSet:
    """Returns a classification set of tensorflow-datasets.

    It is prepared if need be; archives that have to be downloaded by hand
    (imagenet2012) belong in `data_dir`/downloads/manual.

    It is held in memory if it fits.

    Args:
      config: `dataset`, `data_dir`, `val_fraction` and `cache` are read.
      other_names: other allowed values of `dataset`, for messages.

    Raises:
      ValueError: if there is no such set, or something is wrong with it.
    """
    name = config.dataset
    tfds, builder = _open(config, other_names)
    _prepare(name, builder)
    held_out = _held_out(name, builder, config)
    features = builder.info.features
    shape = features["image"].shape
    return DataSet(
        train=_split(tfds, builder, "train", config.cache),
        val=_split(tfds, builder, held_out, config.cache),
        class_names=tuple(features["label"].names),
        small_images=None not in shape and max(shape[:2]) <= _SMALL_SIDE,
        read_test=_test_reader(tfds, builder, held_out, config),
    )


def _test_reader(tfds, builder, held_out, config):
    """Returns what reads the test split of a set evaluated on another one."""
    if held_out in ("train", "test") or "test" not in builder.info.splits:
        return None
    return functools.partial(_split, tfds, builder, "test", config.cache)


def check_prepared(
    config: train_config.TrainConfig, other_names: Sequence[str]
) -> None:
    """Raises if a set is not there yet; arguments as of `load_tfds`."""
    _, builder = _open(config, other_names)
    if not builder.is_prepared():
        raise ValueError(
            "The data set is not prepared, and a dry run does not fetch it. "
            f"Received: dataset={config.dataset!r}, folder: {builder.data_dir}"
        )


def _open(config, other_names):
    """Returns tensorflow-datasets and the set's builder."""
    name, data_dir = config.dataset, config.data_dir
    # Imported here: it costs two seconds that most runs need not pay.
    import tensorflow_datasets as tfds

    if data_dir and not os.path.isdir(data_dir):
        raise ValueError(
            "`data_dir` must be an existing folder. "
            f"Received: data_dir={data_dir!r}"
        )
    try:
        builder = tfds.builder(name, data_dir=data_dir or None)
    # What is wrong with a version is an AssertionError.
    except (
        tfds.core.DatasetNotFoundError,
        ValueError,
        AssertionError,
    ) as error:
        known = tfds.list_builders()
        if re.split("[/:]", name)[0] not in known:
            raise _unknown_dataset(name, other_names, known) from error
        raise ValueError(
            "`dataset` must name a configuration and a version that the set "
            f"has. Received: dataset={name!r} ({error})"
        ) from error
    _check_classification(name, builder)
    return tfds, builder


def _held_out(name, builder, config):
    """Returns the name of the split that is evaluated on."""
    if "train" in builder.info.splits:
        if config.val_fraction:
            return "train"
        for split_name in ("validation", "test", "val"):
            if split_name in builder.info.splits:
                return split_name
    kind = ValueError
    if "train" in builder.info.splits:
        kind = dataset.NoEvaluationImagesError
    raise kind(
        "A data set must have a train split and a validation or test split; "
        "--val_fraction holds out a part of train. "
        f"Received: dataset={name!r} with {sorted(builder.info.splits)}"
    )


def _unknown_dataset(name, other_names, tfds_names):
    close = errors.unknown_value("dataset", name, [*other_names, *tfds_names])
    hint = str(close).partition(" Allowed:")[0]
    names = ", ".join(repr(other) for other in other_names)
    return ValueError(
        f"{hint} Allowed: {names} and the image classification sets of "
        "tensorflow-datasets. "
        f"Received: dataset={name!r}"
    )


def _check_classification(name, builder):
    features = builder.info.features
    if not {"image", "label"} <= set(features or ()):
        raise ValueError(
            "`dataset` must be an image classification set, with features "
            f"'image' and 'label'. Received: dataset={name!r} with "
            f"{sorted(features or ())}"
        )


def _prepare(name, builder):
    if builder.is_prepared():
        return
    try:
        builder.download_and_prepare()
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            "The data set is not prepared and could not be downloaded; "
            "--data_dir says where prepared sets are. Received: "
            f"dataset={name!r}, folder: {builder.data_dir} ({reason})"
        ) from error


def _split(tfds, builder, split_name, cache):
    """Returns a split as it is read, and which one it is."""
    info = builder.info.splits[split_name]
    digest = identity.digest(
        (
            builder.info.full_name,
            split_name,
            info.num_bytes,
            *info.shard_lengths,
        )
    )
    split = _readable(tfds, builder, split_name, cache)
    return dataclasses.replace(split, digest=digest)


def _readable(tfds, builder, split_name, cache):
    """Returns a split in memory if it fits, small images decoded."""
    info = builder.info.splits[split_name]
    features = builder.info.features
    shape = features["image"].shape
    fixed = None not in shape
    size = info.num_examples * int(np.prod(shape)) if fixed else info.num_bytes
    in_memory = size <= dataset.IN_MEMORY_BYTES or cache
    decoders = {"image": tfds.decode.SkipDecoding()}
    if in_memory and fixed:
        decoders = None
    if builder.info.file_format.value == "array_record":
        return _random(builder, split_name, decoders, in_memory)
    if not in_memory:
        return _stream(builder, split_name, decoders)
    examples = builder.as_dataset(
        split=split_name, decoders=decoders, shuffle_files=False
    ).map(lambda example: (example["image"], example["label"]))
    return dataset.read_all(examples, f"{builder.info.name} {split_name}")


def _parser(builder, decoders):
    """Returns what takes image and label from a record."""

    def parse(record):
        example = builder.info.features.deserialize_example(
            record, decoders=decoders
        )
        return example["image"], tf.cast(example["label"], tf.int32)

    return parse


def _random(builder, split_name, decoders, in_memory):
    """Returns a split of ArrayRecord files."""
    split = array_record.split(
        [pathlib.Path(p) for p in builder.info.splits[split_name].filepaths],
        None,
        _parser(builder, decoders),
    )
    if not in_memory:
        return split
    return dataset.load_into_memory(split, f"{builder.info.name} {split_name}")


def _stream(builder, split_name, decoders):
    """Returns a split that is read from its TFRecord files."""
    info = builder.info.splits[split_name]
    if builder.info.file_format.value != "tfrecord":
        raise ValueError(
            "A large data set must be stored as tfrecord or array_record. "
            "Received: "
            f"{builder.info.full_name} as {builder.info.file_format.value}"
        )
    return dataset.from_records(
        [str(path) for path in info.filepaths],
        info.num_examples,
        _parser(builder, decoders),
        f"{builder.info.name} {split_name}",
    )
