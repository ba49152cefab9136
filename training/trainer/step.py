"""What runs on the devices: training and evaluation steps.

Both run many steps per call into TensorFlow, and trace once: the number of
steps is a tensor, batches have one shape.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_regnet import layers
from training.config import config as train_config
from training.trainer import losses as train_losses
from training.trainer import optimizer as train_optimizer
from training.trainer import state as state_lib

# Entries of the sums that steps return; of several labels an image "top1" is 0.
TRAIN_SUMS = ("loss", "top1", "images", "data_wait_seconds")
EVAL_SUMS = ("loss", "top1", "top5", "images")

_TOP_K = 5

# What a replica does has no Python branch on a tensor: nothing to rewrite.
_as_written = tf.autograph.experimental.do_not_convert


class TrainStep:
    """Training steps of one model under one strategy."""

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        state: state_lib.TrainState,
        config: train_config.TrainConfig,
        class_weights: Sequence[float] | None = None,
        multilabel: bool = False,
    ):
        """Makes what holds the gradients of a step's earlier parts."""
        self._strategy = strategy
        self._state = state
        self._config = config
        self._class_weights = class_weights
        self._multilabel = multilabel
        self._variables = state.logits.trainable_variables
        self._regularized = train_optimizer.Regularizer(
            config, state.optimizer, self._variables
        )
        self._accumulators = []
        if config.accumulation_steps > 1:
            with strategy.scope():
                self._accumulators = [
                    tf.Variable(tf.zeros(v.shape, v.dtype), trainable=False)
                    for v in self._variables
                ]
        self._differentiate = self._loss_and_gradients
        if config.jit_compile:
            self._differentiate = tf.function(
                self._loss_and_gradients, jit_compile=True, autograph=False
            )

    @tf.function(jit_compile=False)
    def run(
        self, iterator: Iterator, num_steps: tf.Tensor, sums: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Runs training steps; ends after one whose loss is not finite.

        Args:
          iterator: of a distributed dataset of (images, labels).
          num_steps: int32 scalar tensor.
          sums: float64 tensor (4,), what earlier steps of the epoch returned.

        Returns:
          The sums with these steps added, in the order of `TRAIN_SUMS`, and
          the number of steps that ran.
        """
        done = 0
        for _ in tf.range(num_steps):
            start = tf.timestamp()
            batch = next(iterator)
            with tf.control_dependencies(tf.nest.flatten(batch, True)):
                waited = tf.timestamp() - start
            added = self._step(batch)
            sums += tf.concat([added, [waited]], axis=0)
            done += 1
            if not tf.math.is_finite(added[0]):
                break
        return sums, done

    def _step(self, batch):
        """Returns sums over the global batch."""
        if not self._accumulators:
            per_replica = self._strategy.run(self._train_replica, batch)
            return self._strategy.reduce("SUM", per_replica, axis=None)
        added = tf.zeros([len(TRAIN_SUMS) - 1], tf.float64)
        for part in tf.range(self._config.accumulation_steps):
            per_replica = self._strategy.run(
                self._accumulate_replica, (*batch, part)
            )
            added += self._strategy.reduce("SUM", per_replica, axis=None)
        self._strategy.run(self._apply_accumulated)
        return added

    @_as_written
    def _train_replica(self, images, labels):
        gradients, sums = self._differentiate(images, labels)
        self._apply(gradients)
        return sums

    @_as_written
    def _accumulate_replica(self, images, labels, part):
        """Adds the gradient of one part of the replica's batch."""
        size = tf.shape(labels)[0] // self._config.accumulation_steps
        static = labels.shape[0] // self._config.accumulation_steps
        gradients, sums = self._differentiate(
            *(
                tf.ensure_shape(
                    values[part * size : (part + 1) * size],
                    [static, *values.shape[1:]],
                )
                for values in (images, labels)
            )
        )
        for total, gradient in zip(self._accumulators, gradients, strict=True):
            total.assign_add(gradient)
        return sums

    @_as_written
    def _apply_accumulated(self):
        self._apply([tf.identity(total) for total in self._accumulators])
        for total in self._accumulators:
            total.assign(tf.zeros_like(total))

    def _loss_and_gradients(self, images, labels):
        """Returns gradients of the (scaled) loss, and the metrics' sums."""
        values = [variable.value for variable in self._variables]
        with tf.GradientTape() as tape:
            logits = _widened(self._state.logits(images, training=True))
            losses = train_losses.per_example(
                labels,
                logits,
                self._config,
                class_weights=self._class_weights,
                multilabel=self._multilabel,
            )
            # By the global batch: gradients are summed over replicas.
            loss = tf.reduce_sum(losses) / self._config.global_batch_size
            loss = self._state.optimizer.scale_loss(loss)
        top1 = tf.constant(0.0, tf.float64)
        if not self._multilabel:
            labels = train_losses.hard_labels(labels)
            top1 = _total(_hits(labels, logits, 1))
        images = tf.cast(tf.shape(labels)[0], tf.float64)
        sums = tf.stack([_total(losses), top1, images])
        return tape.gradient(loss, values), sums

    def _apply(self, gradients):
        """Takes a step along the replica's part of the gradient."""
        optimizer = self._state.optimizer
        optimizer.apply(self._regularized(gradients), self._variables)
        self._state.averages.update(optimizer.iterations.value)


class EvalStep:
    """Evaluation steps of one model under one strategy."""

    def __init__(
        self, strategy: tf.distribute.Strategy, state: state_lib.TrainState
    ):
        self._strategy = strategy
        self._logits = state.logits

    @tf.function(jit_compile=False)
    def run(
        self, iterator: Iterator, num_steps: tf.Tensor, sums: tf.Tensor
    ) -> tf.Tensor:
        """Runs evaluation steps.

        Args:
          iterator: of a distributed dataset of (images, labels, weights).
          num_steps: int32 scalar tensor.
          sums: float64 tensor (4,), what earlier steps returned.

        Returns:
          The sums with these steps added, in the order of `EVAL_SUMS`.
        """
        for _ in tf.range(num_steps):
            per_replica = self._strategy.run(self._eval_replica, next(iterator))
            sums += self._strategy.reduce("SUM", per_replica, axis=None)
        return sums

    @_as_written
    def _eval_replica(self, images, labels, weights):
        with layers.folded_norms():
            logits = _widened(self._logits(images, training=False))
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return tf.stack(
            [
                _total(losses * tf.cast(weights, losses.dtype)),
                _total(_hits(labels, logits, 1) * weights),
                _total(_hits(labels, logits, _TOP_K) * weights),
                _total(weights),
            ]
        )


class ScoreStep:
    """Evaluation steps that give the scores themselves.

    Average precision is of all images together: it is no mean over them.
    """

    def __init__(
        self, strategy: tf.distribute.Strategy, state: state_lib.TrainState
    ):
        self._strategy = strategy
        self._logits = state.logits

    @tf.function(jit_compile=False)
    def run(
        self, iterator: Iterator, num_steps: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Runs evaluation steps.

        Args:
          iterator: of a distributed dataset of (images, labels, weights).
          num_steps: int32 scalar tensor.

        Returns:
          float32 logits and labels (images, classes) and weights (images,) of
          all replicas of all processes.
        """
        parts = tf.TensorArray(tf.float32, num_steps)
        for number in tf.range(num_steps):
            per_replica = self._strategy.run(self._eval_replica, next(iterator))
            gathered = self._strategy.reduce("SUM", per_replica, axis=None)
            parts = parts.write(number, gathered)
        rows = parts.stack()
        classes = self._logits.output_shape[-1]
        rows = tf.reshape(rows, [-1, 2 * classes + 1])
        logits, labels, weights = tf.split(rows, [classes, classes, 1], axis=1)
        return logits, labels, weights[:, 0]

    @_as_written
    def _eval_replica(self, images, labels, weights):
        """Returns a row for each image of all replicas, 0 but for its own."""
        with layers.folded_norms():
            logits = tf.cast(self._logits(images, training=False), tf.float32)
        rows = tf.concat([logits, labels, weights[:, tf.newaxis]], axis=1)
        context = tf.distribute.get_replica_context()
        # A sum over replicas gathers them: all strategies have that.
        return tf.scatter_nd(
            [[context.replica_id_in_sync_group]],
            rows[tf.newaxis],
            [context.num_replicas_in_sync, *rows.shape],
        )


def _widened(logits):
    """Returns logits as float32, or as they are if they are wider."""
    return logits if logits.dtype.size > 4 else tf.cast(logits, tf.float32)


def _hits(labels, logits, k):
    """Returns 1.0 for examples whose label is among the k best."""
    logits = tf.cast(logits, tf.float32)
    return tf.cast(tf.math.in_top_k(labels, logits, k), tf.float32)


def _total(values: Any) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(values, tf.float64))
