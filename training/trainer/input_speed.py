"""How fast the input pipeline of a run is by itself."""

import dataclasses
import time

import tensorflow as tf
from absl import logging

from training.config import config as train_config
from training.data import decode_errors
from training.data import load
from training.data import pipeline as train_data

_SECONDS = 10.0
_EPOCHS = 1_000_000


def measure(config: train_config.TrainConfig) -> float:
    """Logs and returns the images/s of a run's training pipeline.

    The time to the first batch does not count.
    """
    data = load.load_dataset(config)
    shard = train_data.Shard(batch_size=config.global_batch_size)
    # Small sets last for seconds: go on over epochs that nothing trains.
    config = dataclasses.replace(
        config, epochs=_EPOCHS, total_steps=0, total_examples=0
    )
    batches = iter(train_data.train_pipeline(data, config, 0, shard))
    try:
        next(batches)
        images, begin, seconds = 0, time.monotonic(), 0.0
        while seconds < _SECONDS:
            next(batches)
            images += config.global_batch_size
            seconds = time.monotonic() - begin
    except tf.errors.OpError as error:
        decode_errors.raise_unreadable(
            data.train, range(data.train.num_examples), error
        )
        raise
    rate = images / seconds
    logging.info(
        "input of %s at %s pixels: %.0f images/s",
        config.dataset,
        config.image_size,
        rate,
    )
    return rate
