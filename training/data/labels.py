"""One label an image, or several: what a data set has, and is to have.

One label is an int32, several are float32 zeros and ones, one for each class;
as arrays over a split, int32 (n,) and uint8 (n, classes).
"""

import dataclasses
import pathlib
from collections.abc import Iterable
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from training.data.dataset import DataSet
from training.data.dataset import Split


def are_multiple(
    requested: str,
    parts: Iterable[tuple[pathlib.Path, Sequence[object], np.ndarray]],
) -> bool:
    """Returns whether labels of zeros and ones are several an image.

    Where each image has exactly one they may be meant as either, and --labels
    must say so.

    Args:
      requested: "auto", "single" or "multiple".
      parts: of each part of the set, the file with its labels, what its images
        are called, and the labels, uint8 (n, classes).

    Raises:
      ValueError: if it cannot be told, or an image has not exactly one label
        where it must.
    """
    if requested == "multiple":
        return True
    for path, names, labels in parts:
        counts = labels.sum(axis=1, dtype=np.int64)
        others = np.flatnonzero(counts != 1)
        if not len(others):
            continue
        if requested == "auto":
            return True
        raise ValueError(
            "`labels` must be 'multiple', or each image must have one label. "
            f"Received: labels='single', and {counts[others[0]]} labels of "
            f"{names[others[0]]} in {path}"
        )
    if requested == "auto":
        raise ValueError(
            "Each image has exactly one label: --labels=single trains a "
            "softmax over them, and --labels=multiple a sigmoid for each. (In "
            "a CSV with lists, labels are separated by ; | or ,.) Received: "
            f"labels='auto' for {', '.join(str(p) for p, _, _ in parts)}"
        )
    return False


def as_requested(data: DataSet, requested: str) -> DataSet:
    """Returns a set with one label or several an image, as `labels` says.

    Raises:
      ValueError: if it has several, and one was requested, or there is nothing
        to evaluate.
    """
    data = _converted(data, requested)
    known = data.val.labels if isinstance(data.val, Split) else None
    if data.multilabel and known is not None and not known.any():
        raise ValueError(
            "An image for evaluation must have a label. Received: "
            f"{data.val.num_examples} without one"
        )
    return data


def _converted(data, requested):
    if requested == "single" and data.multilabel:
        raise ValueError(
            "`labels` must be 'multiple' or 'auto' for a set with several "
            "labels an image. Received: labels='single'"
        )
    if requested != "multiple" or data.multilabel:
        return data
    classes = len(data.class_names)
    return dataclasses.replace(
        data,
        train=_one_hot(data.train, classes),
        val=_one_hot(data.val, classes),
        multilabel=True,
    )


def _one_hot(split, classes):
    def hot(image, label):
        return image, tf.one_hot(label, classes)

    if isinstance(split, Split):
        labels = split.labels
        return dataclasses.replace(
            split,
            read=lambda index: hot(*split.read(index)),
            labels=None
            if labels is None
            else np.eye(classes, dtype=np.uint8)[labels],
        )
    return dataclasses.replace(
        split, examples=lambda key: split.examples(key).map(hot)
    )
