"""Names the image behind a decoder's error."""

import contextlib
from collections.abc import Iterable
from collections.abc import Iterator

import tensorflow as tf

from training.config import config as train_config
from training.data import dataset
from training.data import pipeline


@contextlib.contextmanager
def named_faults(
    split: dataset.Split | dataset.Stream,
    config: train_config.TrainConfig,
    first: int,
    count: int,
) -> Iterator[None]:
    """Turns a decoder's error in training steps into one that names a file.

    Args:
      split: the training split.
      config: the run.
      first: first of the steps.
      count: how many steps.
    """
    try:
        yield
    except tf.errors.OpError as error:
        raise_unreadable(split, _indices(split, config, first, count), error)
        raise


def _indices(split, config, first, count):
    """Yields the indices of the examples of some steps; none of a stream."""
    if isinstance(split, dataset.Stream):
        return
    batch = config.global_batch_size
    per_epoch = pipeline.steps_per_epoch(split, config) * batch
    for position in range(first * batch, (first + count) * batch):
        epoch, position = divmod(position, per_epoch)
        yield int(
            pipeline.example_at(
                split,
                config,
                tf.constant(epoch, tf.int64),
                tf.constant(position, tf.int64),
            )
        )


def raise_unreadable(
    split: dataset.Split | dataset.Stream,
    indices: Iterable[int],
    error: Exception,
) -> None:
    """Raises if an image of a split cannot be read; see `find_unreadable`."""
    message = dataset.find_unreadable(split, indices)
    if message:
        raise ValueError(message) from error
