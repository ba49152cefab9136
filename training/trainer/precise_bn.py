"""Precise batch norm: statistics measured anew, with the weights as they are.

Moving averages are of weights that have changed since. After an epoch, the
paper's code (pycls) measures mean and variance of every batch norm's input on
some training images, and evaluates with those.
"""

import dataclasses
import math

import keras
import tensorflow as tf

from training.config import config as train_config
from training.data import dataset
from training.data import pipeline as train_data


def steps(config: train_config.TrainConfig, steps_per_epoch: int) -> int:
    """Returns the batches that are measured, never more than an epoch's."""
    requested = math.ceil(config.precise_bn_images / config.global_batch_size)
    return min(requested, steps_per_epoch)


class PreciseStatistics:
    """Measures the batch-norm statistics of one model."""

    def __init__(self, strategy: tf.distribute.Strategy, model: keras.Model):
        """Makes the sums of each batch norm that is not frozen."""
        self._strategy = strategy
        self._model = model
        self._layers = [
            layer
            for layer in model.layers
            if isinstance(layer, keras.layers.BatchNormalization)
            and layer.trainable
        ]
        with strategy.scope():
            # Of means, and of second moments.
            self._sums = [
                [
                    tf.Variable(
                        tf.zeros(layer.moving_mean.shape),
                        trainable=False,
                        synchronization=tf.VariableSynchronization.ON_READ,
                        aggregation=tf.VariableAggregation.MEAN,
                    )
                    for _ in range(2)
                ]
                for layer in self._layers
            ]

    def measure(
        self,
        data: dataset.DataSet,
        config: train_config.TrainConfig,
        epoch: int,
        steps_per_epoch: int,
    ) -> None:
        """Sets the moving statistics to those of an epoch's first batches."""
        count = steps(config, steps_per_epoch)
        first = epoch * steps_per_epoch
        # The run may end within the epoch.
        config = dataclasses.replace(
            config, total_steps=first + count, total_examples=0
        )
        batches = iter(
            train_data.distribute(
                self._strategy,
                config,
                lambda shard: train_data.train_pipeline(
                    data, config, first, shard=shard
                ),
            )
        )
        self._clear()
        for _ in range(count):
            self._add(next(batches)[0])
        self._set(tf.constant(count, tf.float32))

    # One function each: TensorFlow takes a bound method for a new argument
    # at every call, and would trace the network for every batch.
    @tf.function(jit_compile=False, autograph=False)
    def _clear(self):
        self._strategy.run(self._clear_replica)

    @tf.function(jit_compile=False, autograph=False)
    def _add(self, images):
        self._strategy.run(self._add_replica, (images,))

    @tf.function(jit_compile=False, autograph=False)
    def _set(self, count):
        self._strategy.run(self._set_replica, (count,))

    def _clear_replica(self):
        for sums in self._sums:
            for total in sums:
                total.assign(tf.zeros_like(total))

    def _add_replica(self, images):
        """Adds the statistics of a batch, which the layers leave behind."""
        for layer in self._layers:
            for moving in (layer.moving_mean, layer.moving_variance):
                moving.assign(tf.zeros(moving.shape))
        self._model(images, training=True)
        for layer, (means, squares) in zip(
            self._layers, self._sums, strict=True
        ):
            # moving = momentum * 0 + (1 - momentum) * batch
            mean = layer.moving_mean / (1 - layer.momentum)
            variance = layer.moving_variance / (1 - layer.momentum)
            means.assign_add(mean)
            squares.assign_add(variance + mean**2)

    def _set_replica(self, count):
        context = tf.distribute.get_replica_context()
        flat = [tf.identity(v) for sums in self._sums for v in sums]
        flat = iter(context.all_reduce("MEAN", flat))
        for layer in self._layers:
            mean, square = next(flat) / count, next(flat) / count
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(tf.maximum(square - mean**2, 0))
