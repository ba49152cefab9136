"""Variables that differ between the replicas of a strategy.

Each replica keeps batch-norm statistics of its own while it trains, and draws
its own random numbers; all other variables are equal everywhere.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

# What Keras calls the state of a layer's random numbers: a seed and a count.
_SEED = "seed_generator_state"
_SEED_STRIDE = 0x9E3779B9


class Replicas:
    """Reads and sets what each replica of every process has.

    Attributes:
      count: replicas over all processes.
      variables: those that differ between replicas.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        statistics: Sequence[keras.Variable],
    ):
        """Finds the variables.

        Args:
          strategy: all variables were created in its scope.
          model: what is trained; its layers hold the seeds.
          statistics: batch-norm statistics, and their averages.
        """
        self._strategy = strategy
        self.count = strategy.num_replicas_in_sync
        self._statistics = list(statistics)
        self._seeds = [
            variable
            for layer in model.layers
            for variable in layer.variables
            if variable.name == _SEED
        ]
        self.variables = self._statistics + self._seeds

    @tf.function(jit_compile=False, autograph=False)
    def average_statistics(self) -> None:
        """Makes the batch-norm statistics of all replicas their mean.

        The model that is evaluated and exported has one set of them. Called
        at the end of every epoch, so that a run is the same whether it was
        interrupted or not.
        """
        # TensorFlow cannot reduce nothing.
        if self._statistics:
            self._strategy.run(self._average_replica)

    def _average_replica(self):
        context = tf.distribute.get_replica_context()
        values = [variable.value for variable in self._statistics]
        means = context.all_reduce("MEAN", [tf.identity(v) for v in values])
        for value, mean in zip(values, means, strict=True):
            value.assign(mean)

    def offset_seeds(self) -> None:
        """Gives the dropout of every replica random numbers of its own.

        Keras starts them all alike, and the images at one position of every
        replica's batch would lose the same features and the same blocks.
        """
        stacks = []
        for variable in self._seeds:
            stack = np.stack([np.asarray(variable)] * self.count)
            indices = np.arange(self.count).astype(stack.dtype)
            stack[:, 0] += indices * np.array(_SEED_STRIDE, stack.dtype)
            stacks.append(stack)
        self._assign(self._seeds, stacks)

    def gather(self) -> list[np.ndarray]:
        """Returns an array (replicas, ...) for each of `variables`."""
        if self.count == 1:
            return [np.asarray(v)[np.newaxis] for v in self.variables]
        stacks = self._gather([variable.value for variable in self.variables])
        return [
            stack.numpy().astype(variable.dtype)
            for stack, variable in zip(stacks, self.variables, strict=True)
        ]

    @tf.function(jit_compile=False, autograph=False)
    def _gather(self, variables):
        stacks = self._strategy.run(lambda: self._gather_replica(variables))
        return [
            self._strategy.experimental_local_results(stack)[0]
            for stack in stacks
        ]

    def _gather_replica(self, variables):
        context = tf.distribute.get_replica_context()
        here = tf.one_hot(context.replica_id_in_sync_group, self.count)
        stacks = []
        for variable in variables:
            # Not a product with 0, which keeps what is not finite.
            mine = tf.reshape(here, [-1] + [1] * len(variable.shape)) > 0
            value = tf.identity(variable)[tf.newaxis]
            if value.dtype.is_integer:
                # Few dtypes can be reduced everywhere.
                value = tf.cast(value, tf.int64)
            stacks.append(tf.where(mine, value, tf.zeros_like(value)))
        # Those of one dtype at a time: they are sent in one piece.
        for dtype in dict.fromkeys(stack.dtype for stack in stacks):
            indices = [i for i, s in enumerate(stacks) if s.dtype == dtype]
            reduced = context.all_reduce("SUM", [stacks[i] for i in indices])
            for index, stack in zip(indices, reduced, strict=True):
                stacks[index] = stack
        return stacks

    def scatter(self, stacks: Sequence[np.ndarray]) -> None:
        """Gives every replica its own values; see `gather`."""
        self._assign(self.variables, stacks)

    def _assign(self, variables, stacks):
        if variables:
            self._scatter(
                [variable.value for variable in variables],
                [tf.constant(stack) for stack in stacks],
            )

    @tf.function(jit_compile=False, autograph=False)
    def _scatter(self, variables, stacks):
        def assign():
            context = tf.distribute.get_replica_context()
            for variable, stack in zip(variables, stacks, strict=True):
                variable.assign(stack[context.replica_id_in_sync_group])

        self._strategy.run(assign)
