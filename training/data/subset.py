"""The part of a data set that a run uses.

In this order: images held out of training for evaluation, a subset, files
into memory, files that are not images left out.
"""

import dataclasses

import numpy as np
import tensorflow as tf
from absl import logging

from keras_regnet import class_names
from training.config import config as train_config
from training.data import dataset
from training.data.dataset import DataSet
from training.data.dataset import Split
from training.data.dataset import Stream
from training.data.held_out import held_out_of

_NAMED_BAD_IMAGES = 20


def select(data: DataSet, config: train_config.TrainConfig) -> DataSet:
    """Returns the part of a whole set that a configuration uses.

    Args:
      data: the whole set.
      config: `val_fraction`, `num_train_examples`, `balanced_subset`, `cache`,
        `skip_bad_images` and `seed` are read.

    Raises:
      ValueError: if the set is too small, or too large to be looked through.
    """
    classes = len(data.class_names)
    if config.val_fraction:
        data = hold_out(data, config.val_fraction)
    if config.num_train_examples:
        train = _subset(data.train, classes, data.multilabel, config)
        data = dataclasses.replace(data, train=train)
    for change, requested in (
        (_into_memory, config.cache),
        (_without_bad_images, config.skip_bad_images),
    ):
        if requested:
            before = data.train
            data = dataclasses.replace(
                data, train=change(data.train), val=change(data.val)
            )
            check_classes(before, data.train, data.class_names)
    return data


def check_classes(
    before: Split | Stream, after: Split | Stream, names: tuple[str, ...]
) -> None:
    """Raises a ValueError if a class had images to train on, and has none."""
    if isinstance(before, Stream) or before.labels is None:
        return
    had, has = (
        dataset.class_counts(labels, len(names)) > 0
        for labels in (before.labels, after.labels)
    )
    gone = np.flatnonzero(had & ~has)
    if len(gone):
        gone_names = class_names.shown(repr(names[x]) for x in gone)
        raise ValueError(
            "`skip_bad_images` must leave an image of each class to train on. "
            f"Received: no image that can be read of {gone_names}"
        )


def hold_out(data: DataSet, fraction: float) -> DataSet:
    """Moves a fraction of each class from training to evaluation.

    Of a class of at least two images, one is evaluated and one trained on.

    Raises:
      ValueError: if no class has two, or the labels are not known.
    """
    if isinstance(data.train, Stream) or data.train.labels is None:
        raise ValueError(
            "`val_fraction` needs a data set in memory, which --cache asks "
            f"for. Received: val_fraction={fraction} for {_name(data.train)}"
        )
    labels, names = data.train.labels, data.class_names
    held_out = held_out_of(labels, len(names), fraction)
    if not len(held_out):
        raise ValueError(
            "`val_fraction` needs classes of at least two images. "
            f"Received: val_fraction={fraction}"
        )
    counts = dataset.class_counts(labels, len(names))
    single = [repr(names[label]) for label in np.flatnonzero(counts == 1)]
    if single:
        logging.warning(
            "%d of %d classes have a single image, which is trained on; they "
            "are not evaluated: %s",
            len(single),
            len(names),
            class_names.shown(single),
        )
    rest = np.setdiff1d(np.arange(data.train.num_examples), held_out)
    return dataclasses.replace(
        data, train=data.train.subset(rest), val=data.train.subset(held_out)
    )


def _name(split):
    return split.name if isinstance(split, Stream) else split.describe(0)


def _subset(split, classes, multilabel, config):
    count = config.num_train_examples
    if multilabel and config.balanced_subset:
        raise ValueError(
            "`balanced_subset` needs one label an image. Received: "
            f"balanced_subset=True for {_name(split)}"
        )
    if count > split.num_examples:
        raise ValueError(
            "`num_train_examples` must not exceed the number of training "
            f"images. Received: num_train_examples={count}, training images: "
            f"{split.num_examples}"
        )
    if isinstance(split, Stream):
        return _first_of_stream(split, classes, config)
    rng = np.random.default_rng(config.seed)
    order = rng.permutation(split.num_examples)
    quota = _quota(classes, config)
    if quota is not None:
        if split.labels is None:
            raise ValueError(
                "`balanced_subset` needs a data set in memory, which --cache "
                f"asks for. Received: {_name(split)}"
            )
        order = _within_quota(order, split.labels[order], quota)
    return split.subset(np.sort(order[:count]))


def _quota(classes, config):
    """Returns the images of each class, None if that does not matter."""
    if not config.balanced_subset:
        return None
    quota = np.full(classes, config.num_train_examples // classes)
    quota[: config.num_train_examples % classes] += 1
    return quota


def _within_quota(order, labels, quota):
    """Returns the first images of each class, as many as its quota."""
    chosen = []
    for label, count in enumerate(quota):
        members = order[labels == label]
        _check_quota(label, len(members), count)
        chosen.append(members[:count])
    return np.concatenate(chosen)


def _check_quota(label, available, requested):
    if available < requested:
        raise ValueError(
            "`num_train_examples` asks for more images than a class has. "
            f"Received: class {label} with {available} images, of "
            f"which {requested} were requested"
        )


def _first_of_stream(stream, classes, config):
    """Returns the first images as stored, where a set is read in sequence."""
    quota = _quota(classes, config)
    left = None if quota is None else quota.copy()
    sources, labels = [], []
    for source, label in stream.examples(None).as_numpy_iterator():
        if left is not None:
            if not left[label]:
                continue
            left[label] -= 1
        sources.append(source)
        labels.append(label)
        if len(labels) == config.num_train_examples:
            break
    if left is not None and left.any():
        label = int(np.flatnonzero(left)[0])
        _check_quota(label, quota[label] - left[label], quota[label])
    split = dataset.in_memory(np.array(sources, object), labels, stream.name)
    return dataclasses.replace(split, digest=stream.digest)


def _into_memory(split):
    if isinstance(split, Stream):
        whole = dataset.read_all(split.examples(None), split.name)
        return dataclasses.replace(whole, digest=split.digest)
    if split.in_memory:
        return split
    with tf.device("/cpu:0"):
        contents = tf.constant(list(split.sources().as_numpy_iterator()))
    read_label = dataset.label_reader(split.labels)
    return dataclasses.replace(
        split,
        read=lambda index: (tf.gather(contents, index), read_label(index)),
        in_memory=True,
    )


def _without_bad_images(split: Split | Stream) -> Split:
    if isinstance(split, Stream):
        raise ValueError(
            "`skip_bad_images` cannot look through a set that is read in "
            "sequence; make_shards.py --skip_bad_images leaves them out when "
            f"it writes one. Received: {split.name}"
        )
    good = dataset.readable(split)
    bad = np.setdiff1d(np.arange(split.num_examples), good)
    for index in bad[:_NAMED_BAD_IMAGES]:
        logging.warning("left out, not an image: %s", split.describe(index))
    if not len(good):
        raise ValueError(
            "No image can be read: " + str(dataset.find_unreadable(split, bad))
        )
    logging.info("%d of %d image files left out", len(bad), split.num_examples)
    return split.subset(good) if len(bad) else split
