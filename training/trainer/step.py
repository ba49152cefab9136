"""What runs on the devices: training and evaluation steps."""

from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from training.config import config as train_config
from training.config import networks
from training.trainer import losses as train_losses
from training.trainer import optimizer as train_optimizer

# Entries of the sums that steps return.
TRAIN_SUMS = ("loss", "top1", "images", "data_wait_seconds")
EVAL_SUMS = ("loss", "top1", "top5", "images")

_TOP_K = 5

# What Keras calls the state of a layer's random numbers: a seed and a count.
_SEED = "seed_generator_state"
_SEED_STRIDE = 0x9E3779B9

# What a replica does has no Python branch on a tensor; see also data.py.
_as_written = tf.autograph.experimental.do_not_convert


class Steps:
    """Training and evaluation of one model under one strategy.

    Both run many steps per call into TensorFlow, and trace once: the number
    of steps is a tensor, batches have one shape.

    Attributes:
      logits: the model without its last activation, which is trained.
      num_replicas: over all processes.
      averages: the averaged weights and statistics; empty without
        `ema_decay`.
      of_replicas: the variables that may differ between replicas.
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
        self.num_replicas = strategy.num_replicas_in_sync
        self.logits = keras.Model(
            model.input, model.get_layer(networks.HEAD).output
        )
        self._optimizer = optimizer
        self._config = config
        self._variables = self.logits.trainable_variables
        self._decayed = {
            id(v) for v in train_optimizer.decayed(config, self._variables)
        }
        self._moving = [
            v
            for layer in model.layers
            if isinstance(layer, keras.layers.BatchNormalization)
            for v in (layer.moving_mean, layer.moving_variance)
        ]
        self._averaged = self._variables + self._moving
        self.averages = []
        with strategy.scope():
            if config.ema_decay:
                self.averages = [_copy(v) for v in self._averaged]
            self._accumulators = self._make_accumulators()
        moving_averages = self.averages[len(self._variables) :]
        self._statistics = self._moving + moving_averages
        self._seeds = [
            variable
            for layer in model.layers
            for variable in layer.variables
            if variable.name == _SEED
        ]
        self.of_replicas = self._statistics + self._seeds
        self._differentiate = self._loss_and_gradients
        if config.jit_compile:
            self._differentiate = tf.function(
                self._loss_and_gradients, jit_compile=True, autograph=False
            )

    def _make_accumulators(self):
        """Returns what holds the gradients of a step's earlier parts."""
        if self._config.accumulation_steps == 1:
            return []
        return [
            tf.Variable(tf.zeros(v.shape, v.dtype), trainable=False)
            for v in self._variables
        ]

    @tf.function(jit_compile=False)
    def train(
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

    @tf.function(jit_compile=False)
    def evaluate(
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

    @tf.function(jit_compile=False, autograph=False)
    def average_moving_statistics(self) -> None:
        """Makes the batch-norm statistics of all replicas their mean.

        Each replica keeps its own while it trains, and the model that is
        evaluated and exported has one. Called at the end of every epoch, so
        that a run is the same whether it was interrupted or not.
        """
        self._strategy.run(self._average_replica)

    def _average_replica(self):
        context = tf.distribute.get_replica_context()
        values = [variable.value for variable in self._statistics]
        means = context.all_reduce("MEAN", [tf.identity(v) for v in values])
        for value, mean in zip(values, means, strict=True):
            value.assign(mean)

    @tf.function(jit_compile=False, autograph=False)
    def swap_averages(self) -> None:
        """Exchanges weights and statistics with their averages, if any."""
        self._strategy.run(self._swap_replica)

    def _swap_replica(self):
        for variable, average in self._pairs():
            held = tf.identity(variable)
            variable.assign(tf.identity(average))
            average.assign(held)

    def _pairs(self):
        """Returns (variable, its average) as TensorFlow's variables."""
        if not self.averages:
            return []
        return [
            (variable.value, average.value)
            for variable, average in zip(
                self._averaged, self.averages, strict=True
            )
        ]

    def gather_replicas(
        self, variables: Sequence[keras.Variable]
    ) -> list[np.ndarray]:
        """Returns what every replica of every process has.

        Args:
          variables: of `of_replicas`.

        Returns:
          An array (replicas, ...) for each.
        """
        if self.num_replicas == 1:
            return [np.asarray(variable)[np.newaxis] for variable in variables]
        stacks = self._gather([variable.value for variable in variables])
        return [
            stack.numpy().astype(variable.dtype)
            for stack, variable in zip(stacks, variables, strict=True)
        ]

    @tf.function(jit_compile=False, autograph=False)
    def _gather(self, variables):
        def of_replica():
            context = tf.distribute.get_replica_context()
            here = tf.one_hot(
                context.replica_id_in_sync_group, self.num_replicas
            )
            stacks = []
            for variable in variables:
                # Not a product with 0, which keeps what is not finite.
                mine = tf.reshape(here, [-1] + [1] * len(variable.shape)) > 0
                value = tf.identity(variable)[tf.newaxis]
                if value.dtype.is_integer:
                    # Few kinds of numbers can be reduced everywhere.
                    value = tf.cast(value, tf.int64)
                stacks.append(tf.where(mine, value, tf.zeros_like(value)))
            # Those of one kind at a time: they are sent in one piece.
            for kind in dict.fromkeys(stack.dtype for stack in stacks):
                places = [i for i, s in enumerate(stacks) if s.dtype == kind]
                reduced = context.all_reduce("SUM", [stacks[i] for i in places])
                for place, stack in zip(places, reduced, strict=True):
                    stacks[place] = stack
            return stacks

        stacks = self._strategy.run(of_replica)
        return [
            self._strategy.experimental_local_results(stack)[0]
            for stack in stacks
        ]

    def spread_seeds(self) -> None:
        """Gives the dropout of every replica random numbers of its own.

        Keras starts them all alike, and the images at one place of every
        replica's batch would lose the same features and the same blocks.
        """
        stacks = []
        for variable in self._seeds:
            stack = np.stack([np.asarray(variable)] * self.num_replicas)
            places = np.arange(self.num_replicas).astype(stack.dtype)
            stack[:, 0] += places * np.array(_SEED_STRIDE, stack.dtype)
            stacks.append(stack)
        self.scatter_replicas(self._seeds, stacks)

    def scatter_replicas(
        self, variables: Sequence[keras.Variable], stacks: Sequence[np.ndarray]
    ) -> None:
        """Gives every replica its own values; see `gather_replicas`."""
        if variables:
            self._scatter(
                [variable.value for variable in variables],
                [tf.constant(stack) for stack in stacks],
            )

    @tf.function(jit_compile=False, autograph=False)
    def _scatter(self, variables, stacks):
        def of_replica():
            context = tf.distribute.get_replica_context()
            for variable, stack in zip(variables, stacks, strict=True):
                variable.assign(stack[context.replica_id_in_sync_group])

        self._strategy.run(of_replica)

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
            logits = _widened(self.logits(images, training=True))
            losses = train_losses.per_example(labels, logits, self._config)
            # By the global batch: gradients are summed over replicas.
            loss = tf.reduce_sum(losses) / self._config.global_batch_size
            loss = self._optimizer.scale_loss(loss)
        labels = train_losses.hard_labels(labels)
        sums = tf.stack(
            [
                _total(losses),
                _total(_hits(labels, logits, 1)),
                tf.cast(tf.shape(labels)[0], tf.float64),
            ]
        )
        return tape.gradient(loss, values), sums

    def _apply(self, gradients):
        """Takes a step along the replica's part of the gradient."""
        gradients = self._regularised(gradients)
        self._optimizer.apply(gradients, self._variables)
        if not self.averages:
            return
        # A short memory at first, or the initial weights would linger.
        updates = tf.cast(self._optimizer.iterations.value, tf.float32)
        decay = tf.minimum(
            self._config.ema_decay, (1.0 + updates) / (10.0 + updates)
        )
        for variable, average in self._pairs():
            share = tf.cast(1.0 - decay, average.dtype)
            average.assign_sub(share * (average - variable))

    def _regularised(self, gradients):
        """Adds L2, and reduces first where a decision needs the sum."""
        if self._config.optimizer == "sgd" and self._config.weight_decay:
            decay = self._config.weight_decay / self.num_replicas
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
        return [gradient / self.num_replicas for gradient in gradients]

    @_as_written
    def _eval_replica(self, images, labels, weights):
        logits = _widened(self.logits(images, training=False))
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return tf.stack(
            [
                _total(losses * tf.cast(weights, losses.dtype)),
                _total(_hits(labels, logits, 1) * weights),
                _total(_hits(labels, logits, _TOP_K) * weights),
                _total(weights),
            ]
        )


def _widened(logits):
    """Returns logits as float32, or as they are if they are wider."""
    return logits if logits.dtype.size > 4 else tf.cast(logits, tf.float32)


def _hits(labels, logits, k):
    """Returns 1.0 for examples whose label is among the k best."""
    logits = tf.cast(logits, tf.float32)
    return tf.cast(tf.math.in_top_k(labels, logits, k), tf.float32)


def _copy(variable):
    """Returns a variable like another, with its value."""
    return keras.Variable(
        keras.ops.convert_to_numpy(variable.value),
        trainable=False,
        dtype=variable.dtype,
        name=f"{variable.name}_average",
    )


def _total(values: Any) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(values, tf.float64))
