"""Learning-rate schedule and Keras optimizer of a run."""

import math
from typing import Any

import keras
import tensorflow as tf

from training import config as train_config

_MOMENTUM = 0.9


@keras.saving.register_keras_serializable(package="keras_regnet_training")
class EpochSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule in epochs, as a pure function of the step.

    The rate is peak * decay(e) * warmup(e) at epoch e, which is a fraction,
    or with `per_epoch` a whole number:
      decay(e) = (1 + cos(pi * e / epochs)) / 2, or 1 for "constant";
      warmup(e) = warmup_factor * (1 - a) + a with a = e / warmup_epochs, and
      1 after that.

    Args:
      peak: learning rate at e = 0, warm-up aside.
      kind: "cosine" or "constant".
      epochs: length of the run.
      steps_per_epoch: steps.
      warmup_epochs: length of the warm-up.
      warmup_factor: share at its beginning.
      per_epoch: whether the rate is held for an epoch.
    """

    def __init__(
        self,
        peak: float,
        kind: str,
        epochs: int,
        steps_per_epoch: int,
        warmup_epochs: float = 0.0,
        warmup_factor: float = 0.0,
        per_epoch: bool = False,
    ):
        self.peak = peak
        self.kind = kind
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.warmup_epochs = warmup_epochs
        self.warmup_factor = warmup_factor
        self.per_epoch = per_epoch

    def __call__(self, step: Any) -> tf.Tensor:
        """Returns the float32 learning rate of a step."""
        step = tf.cast(step, tf.int64)
        # In integers first: float32 cannot count a long run's steps.
        epoch = tf.cast(step // self.steps_per_epoch, tf.float32)
        if not self.per_epoch:
            within = tf.cast(step % self.steps_per_epoch, tf.float32)
            epoch += within / self.steps_per_epoch
        rate = self.peak * self._decay(epoch)
        if self.warmup_epochs:
            done = tf.minimum(epoch / self.warmup_epochs, 1.0)
            rate *= self.warmup_factor * (1 - done) + done
        return rate

    def _decay(self, epoch):
        if self.kind == "constant":
            return tf.ones_like(epoch)
        done = tf.minimum(epoch / self.epochs, 1.0)
        return 0.5 * (1 + tf.cos(math.pi * done))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return dict(vars(self))


def schedule(
    config: train_config.TrainConfig, steps_per_epoch: int
) -> EpochSchedule:
    """Returns the learning-rate schedule of a run."""
    return EpochSchedule(
        peak=config.learning_rate(),
        kind=config.schedule,
        epochs=config.epochs,
        steps_per_epoch=steps_per_epoch,
        warmup_epochs=config.warmup_epochs,
        warmup_factor=config.warmup_factor,
        per_epoch=config.per_epoch_schedule,
    )


def decayed(
    config: train_config.TrainConfig, variables: list[keras.Variable]
) -> list[keras.Variable]:
    """Returns the variables that weight decay applies to.

    All of them, as in the paper, or only the kernels of convolutions and of
    the classifier: then gamma, beta and every bias are excluded.
    """
    if config.decay_norm_and_bias:
        return list(variables)
    return [v for v in variables if v.name == "kernel"]


@keras.saving.register_keras_serializable(package="keras_regnet_training")
class SGD(keras.optimizers.SGD):
    """SGD with momentum as PyTorch has it, one operation per variable.

    Config and variables are those of `keras.optimizers.SGD`. At a constant
    rate the results are too; where the rate changes, Keras's velocity, which
    holds steps, goes on at the old rate, and that of the paper's code, which
    holds gradients, at the new one. A warm-up shows it: the losses of the
    two are percents apart within an epoch. (Keras also passes over memory
    eight times for what is read and written once here.)
    """

    def update_step(self, gradient, variable, learning_rate):
        """Updates the variable and its velocity; see Keras's optimizer."""
        if not self.momentum:
            super().update_step(gradient, variable, learning_rate)
            return
        velocity = self.momentums[self._get_variable_index(variable)]
        tf.raw_ops.ResourceApplyMomentum(
            var=variable.handle,
            accum=velocity.value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
            momentum=tf.cast(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )


def make(
    config: train_config.TrainConfig,
    steps_per_epoch: int,
    variables: list[keras.Variable],
) -> keras.optimizers.Optimizer:
    """Returns the built optimizer; call it in the strategy's scope.

    The weight decay of sgd is no part of it: it is L2, added to the gradient
    by the training step.

    Args:
      config: the run's configuration.
      steps_per_epoch: steps.
      variables: what will be trained.

    Returns:
      A Keras optimizer, with loss scaling for mixed_float16.
    """
    rate = schedule(config, steps_per_epoch)
    if config.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(
            rate, weight_decay=config.weight_decay
        )
        keep = {id(v) for v in decayed(config, variables)}
        excluded = [v for v in variables if id(v) not in keep]
        if excluded:
            optimizer.exclude_from_weight_decay(var_list=excluded)
    else:
        optimizer = SGD(rate, momentum=_MOMENTUM, nesterov=True)
    if config.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(variables)
    return optimizer
