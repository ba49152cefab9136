"""Names the image behind a decoder's error."""

from collections.abc import Iterable

import tensorflow as tf

from training.config import config as train_config
from training.data import datasets
from training.data import pipeline as train_data


class named_faults:  # noqa: N801, a context manager reads as a function
    """Turns a decoder's error in training steps into one that names a file.

    Args:
      split: the training split.
      config: the run.
      first: first of the steps.
      count: how many steps.
    """

    def __init__(
        self,
        split: datasets.Split | datasets.Stream,
        config: train_config.TrainConfig,
        first: int,
        count: int,
    ):
        self._arguments = split, config, first, count

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        split, config, first, count = self._arguments
        if not isinstance(error, tf.errors.OpError):
            return
        if isinstance(split, datasets.Stream):
            raise_unreadable(split, (), error)
            return
        batch = config.global_batch_size
        per_epoch = train_data.steps_per_epoch(split, config) * batch
        positions = range(first * batch, (first + count) * batch)
        indices = (
            int(
                train_data.example_at(
                    split,
                    config,
                    tf.constant(position // per_epoch, tf.int64),
                    tf.constant(position % per_epoch, tf.int64),
                )
            )
            for position in positions
        )
        raise_unreadable(split, indices, error)


def raise_unreadable(
    split: datasets.Split | datasets.Stream,
    indices: Iterable[int],
    error: Exception,
) -> None:
    """Raises if an image of a split cannot be read; see `find_unreadable`."""
    message = datasets.find_unreadable(split, indices)
    if message:
        raise ValueError(message) from error
