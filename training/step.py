"""What runs on the devices: training and evaluation steps."""

from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from training import config as train_config
from training import losses as train_losses
from training import networks
from training import optimizer as train_optimizer

# Entries of the sums that steps return.
TRAIN_SUMS = ("loss", "top1", "images", "data_wait_seconds")
EVAL_SUMS = ("loss", "top1", "top5", "images")

_TOP_K = 5


class Steps:
    """Training and evaluation of one model under one strategy.

    Both run many steps per call into TensorFlow, and trace once: the number
    of steps is a tensor, batches have one shape.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        config: train_config.TrainConfig,
    ):
        """Keeps what the steps work on.

        Args:
          strategy: all variables were created in its scope.
          model: gives probabilities; its logits are trained.
          optimizer: built for the model's trainable variables.
          config: the run's configuration.
        """
        self._strategy = strategy
        self._logits = keras.Model(
            model.input, model.get_layer(networks.HEAD).output
        )
        self._optimizer = optimizer
        self._config = config
        self._variables = self._logits.trainable_variables
        self._decayed = {
            id(v) for v in train_optimizer.decayed(config, self._variables)
        }
        self._moving = [
            v
            for layer in model.layers
            if isinstance(layer, keras.layers.BatchNormalization)
            for v in (layer.moving_mean, layer.moving_variance)
        ]

    @tf.function(jit_compile=False)
    def train(
        self, iterator: Iterator, num_steps: tf.Tensor, sums: tf.Tensor
    ) -> tf.Tensor:
        """Runs training steps.

        Args:
          iterator: of a distributed dataset of (images, labels).
          num_steps: int32 scalar tensor.
          sums: float64 tensor (4,), what earlier steps of the epoch returned.

        Returns:
          The sums with these steps added, in the order of `TRAIN_SUMS`.
        """
        for _ in tf.range(num_steps):
            start = tf.timestamp()
            batch = next(iterator)
            with tf.control_dependencies(tf.nest.flatten(batch, True)):
                waited = tf.timestamp() - start
            per_replica = self._strategy.run(self._train_replica, batch)
            added = self._strategy.reduce("SUM", per_replica, axis=None)
            sums += tf.concat([added, [waited]], axis=0)
        return sums

    @tf.function(jit_compile=False)
    def evaluate(self, iterator: Iterator, num_steps: tf.Tensor) -> tf.Tensor:
        """Runs evaluation steps.

        Args:
          iterator: of a distributed dataset of (images, labels, weights).
          num_steps: int32 scalar tensor.

        Returns:
          float64 tensor (4,) in the order of `EVAL_SUMS`.
        """
        sums = tf.zeros([len(EVAL_SUMS)], tf.float64)
        for _ in tf.range(num_steps):
            per_replica = self._strategy.run(self._eval_replica, next(iterator))
            sums += self._strategy.reduce("SUM", per_replica, axis=None)
        return sums

    @tf.function(jit_compile=False)
    def average_moving_statistics(self) -> None:
        """Makes the batch-norm statistics of all replicas their mean.

        Each replica keeps its own while it trains, and a checkpoint would
        hold those of the first. Called at the end of every epoch, so that a
        run is the same whether it was interrupted or not.
        """
        self._strategy.run(self._average_replica)

    def _average_replica(self):
        context = tf.distribute.get_replica_context()
        values = [variable.value for variable in self._moving]
        means = context.all_reduce("MEAN", [tf.identity(v) for v in values])
        for value, mean in zip(values, means, strict=True):
            value.assign(mean)

    def _train_replica(self, images, labels):
        values = [variable.value for variable in self._variables]
        with tf.GradientTape() as tape:
            logits = tf.cast(self._logits(images, training=True), tf.float32)
            losses = train_losses.per_example(labels, logits, self._config)
            # By the global batch: gradients are summed over replicas.
            loss = tf.reduce_sum(losses) / self._config.global_batch_size
            loss = self._optimizer.scale_loss(loss)
        gradients = self._regularised(tape.gradient(loss, values))
        self._optimizer.apply(gradients, self._variables)
        labels = train_losses.hard_labels(labels)
        return tf.stack(
            [
                _total(losses),
                _total(_hits(labels, logits, 1)),
                tf.cast(tf.size(labels), tf.float64),
            ]
        )

    def _regularised(self, gradients):
        """Adds L2, and reduces first where a decision needs the sum."""
        replicas = self._strategy.num_replicas_in_sync
        if self._config.optimizer == "sgd" and self._config.weight_decay:
            decay = self._config.weight_decay / replicas
            decay = self._optimizer.scale_loss(decay)
            gradients = [
                gradient + decay * variable.value
                if id(variable) in self._decayed
                else gradient
                for gradient, variable in zip(
                    gradients, self._variables, strict=True
                )
            ]
        clip = self._config.clip_norm
        scaled = self._config.precision == "mixed_float16"
        if not clip and not scaled:
            return gradients
        # Clipping, and skipping a step that overflowed, need the sum over
        # replicas; the optimizer sums again, hence the division.
        context = tf.distribute.get_replica_context()
        gradients = context.all_reduce("SUM", gradients)
        if clip:
            gradients, _ = tf.clip_by_global_norm(
                gradients, self._optimizer.scale_loss(clip)
            )
        return [gradient / replicas for gradient in gradients]

    def _eval_replica(self, images, labels, weights):
        logits = tf.cast(self._logits(images, training=False), tf.float32)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return tf.stack(
            [
                _total(losses * weights),
                _total(_hits(labels, logits, 1) * weights),
                _total(_hits(labels, logits, _TOP_K) * weights),
                _total(weights),
            ]
        )


def _hits(labels, logits, k):
    """Returns 1.0 for examples whose label is among the k best."""
    return tf.cast(tf.math.in_top_k(labels, logits, k), tf.float32)


def _total(values: Any) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(values, tf.float64))
