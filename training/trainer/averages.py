"""Moving averages of the weights (EMA), which are evaluated and exported."""

from collections.abc import Sequence

import keras
import tensorflow as tf


class Averages:
    """Averages of trainable variables and of batch-norm statistics.

    Attributes:
      variables: the averages, weights first; empty without a decay.
      statistics: those of them that average batch-norm statistics.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        weights: Sequence[keras.Variable],
        statistics: Sequence[keras.Variable],
        decay: float,
    ):
        """Makes the averages, equal to the variables.

        Args:
          strategy: all variables are created in its scope.
          weights: what is trained.
          statistics: batch-norm statistics.
          decay: fraction that the averages keep at each step; 0 averages
            nothing.
        """
        self._strategy = strategy
        self._decay = decay
        self._averaged = [*weights, *statistics]
        self.variables = []
        if decay:
            with strategy.scope():
                self.variables = [_copy(v) for v in self._averaged]
        self.statistics = self.variables[len(weights) :]

    def update(self, num_updates: tf.Tensor) -> None:
        """Moves the averages; called in a replica, after a step.

        Args:
          num_updates: steps so far.
        """
        if not self.variables:
            return
        # A short memory at first, or the initial weights would linger.
        updates = tf.cast(num_updates, tf.float32)
        decay = tf.minimum(self._decay, (1.0 + updates) / (10.0 + updates))
        for variable, average in self._pairs():
            fraction = tf.cast(1.0 - decay, average.dtype)
            average.assign_sub(fraction * (average - variable))

    @tf.function(jit_compile=False, autograph=False)
    def swap(self) -> None:
        """Exchanges weights and statistics with their averages, if any."""
        self._strategy.run(self._swap_replica)

    def _swap_replica(self):
        for variable, average in self._pairs():
            held = tf.identity(variable)
            variable.assign(tf.identity(average))
            average.assign(held)

    def _pairs(self):
        """Returns (variable, its average) as TensorFlow's variables."""
        if not self.variables:
            return []
        return [
            (variable.value, average.value)
            for variable, average in zip(
                self._averaged, self.variables, strict=True
            )
        ]


def _copy(variable):
    """Returns a variable like another, with its value."""
    return keras.Variable(
        keras.ops.convert_to_numpy(variable.value),
        trainable=False,
        dtype=variable.dtype,
        name=f"{variable.name}_average",
    )
