"""What the loss of an image counts, by its class: --class_weights."""

import collections
import csv
import pathlib
from collections.abc import Mapping

import numpy as np

from keras_regnet import class_names
from keras_regnet import errors
from keras_regnet import safe_files
from training.config import config as train_config
from training.data.dataset import class_counts
from training.data.dataset import DataSet
from training.data.dataset import Stream

_SMALLEST, _LARGEST = 1e-30, 1e30


def of(
    data: DataSet, config: train_config.TrainConfig
) -> dict[str, float] | None:
    """Returns the weight of each class by its name, None if all count alike.

    Args:
      data: the set as it is used: its training images are counted.
      config: `class_weights` is read.

    Raises:
      ValueError: if the weights are not one for each class, or the training
        images cannot be counted.
    """
    if config.class_weights == "none":
        return None
    names = data.class_names
    if data.multilabel:
        raise ValueError(
            "`class_weights` needs images of one label each. "
            f"Received: class_weights={config.class_weights!r}"
        )
    repeated = [x for x, n in collections.Counter(names).items() if n > 1]
    if repeated:
        raise ValueError(
            "`class_weights` needs classes with names of their own. Received "
            f"more than once: {class_names.shown(map(repr, repeated))}"
        )
    if config.class_weights != "balanced":
        path = pathlib.Path(config.class_weights)
        return _in_order(_read(path, names), names)
    counts = counted(data)
    if counts is None:
        raise ValueError(
            "`class_weights=balanced` needs a data set in memory, which "
            "--cache asks for, or a file of weights in its place. "
            f"Received: dataset={config.dataset!r}"
        )
    return dict(zip(names, balanced(counts, names), strict=True))


def counted(data: DataSet) -> np.ndarray | None:
    """Returns the training images of each class, None if that takes a read."""
    if isinstance(data.train, Stream) or data.train.labels is None:
        return None
    return class_counts(data.train.labels, len(data.class_names))


def balanced(counts: np.ndarray, names: tuple[str, ...]) -> list[float]:
    """Returns images / (classes * images of the class), as scikit-learn does.

    Raises:
      ValueError: if a class has no images.
    """
    empty = [repr(names[label]) for label in np.flatnonzero(counts == 0)]
    if empty:
        raise ValueError(
            "`class_weights=balanced` needs a training image of each class. "
            f"Received: none of {class_names.shown(empty)}"
        )
    return (counts.sum() / (len(counts) * counts)).tolist()


def differences(
    stored: Mapping[str, float], ours: Mapping[str, float]
) -> list[str]:
    """Returns which weights of the same classes differ, one line for all."""
    changed = [
        f"{name!r} {stored.get(name)} -> {weight}"
        for name, weight in ours.items()
        if stored.get(name) != weight
    ]
    return [f"class_weights: {class_names.shown(changed)}"] if changed else []


def _in_order(weights, names):
    """Returns weights in the order of the labels."""
    for name in weights:
        if name not in names:
            raise errors.unknown_value("class_weights", name, names)
    missing = [repr(name) for name in names if name not in weights]
    if missing:
        raise ValueError(
            "`class_weights` must have a weight for each class. "
            f"Missing: {class_names.shown(missing)}"
        )
    return {name: weights[name] for name in names}


def _read(path, names):
    """Returns the weights by name that a file holds."""
    if not path.is_file():
        raise ValueError(
            "`class_weights` names a file that does not exist. "
            f"Received: class_weights={str(path)!r}"
        )
    try:
        is_json = path.suffix.lower() == ".json"
        pairs = _json(path) if is_json else _csv(path, names)
        return {name: _positive(name, value) for name, value in pairs.items()}
    except (ValueError, csv.Error) as error:
        raise ValueError(
            f"`class_weights` must be a file of class names and weights: {path}"
            f" ({error})"
        ) from error


def _json(path):
    pairs = safe_files.read_json(path)
    if not isinstance(pairs, dict):
        raise ValueError('a JSON object is needed, such as {"cat": 0.5}')
    return pairs


def _csv(path, names):
    """Returns the rows NAME,WEIGHT of a file with or without a header."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    wrong = [row for row in rows if len(row) != 2]
    if wrong:
        raise ValueError(f"a row must be NAME,WEIGHT, and not {wrong[0]}")
    # A class with a wrong weight is not a header.
    if rows and not _is_number(rows[0][1]) and rows[0][0].strip() not in names:
        rows = rows[1:]
    pairs = {name.strip(): weight for name, weight in rows}
    if len(pairs) < len(rows):
        raise ValueError("a class is named twice")
    return pairs


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _positive(name, value):
    """Returns a weight that is above 0 as float32, from JSON or text."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number and not (isinstance(value, str) and _is_number(value)):
        raise ValueError(f"the weight of {name!r} is not a number: {value!r}")
    # The loss is float32, in which other numbers are 0 or infinite.
    number = float(value) if isinstance(value, str) else value
    if not _SMALLEST <= number <= _LARGEST:
        raise ValueError(
            f"the weight of {name!r} must be above 0 and finite in 32 bits, "
            f"and not {value}"
        )
    return float(number)
