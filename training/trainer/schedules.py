"""Learning-rate schedules, and lengths in epochs, steps or examples."""

import math
import re
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from training.config import config as train_config

_LENGTH = re.compile(r"^([0-9.]+(?:e[+-]?[0-9]+)?) *(epochs|steps|examples)$")


def in_epochs(length: str, steps_per_epoch: int, batch_size: int) -> float:
    """Returns a length in epochs.

    Args:
      length: a number and its unit: "5epochs", "2500steps", "1.28e6examples".
      steps_per_epoch: steps.
      batch_size: images per step.

    Returns:
      Epochs, of `steps_per_epoch` steps each; a fraction.

    Raises:
      ValueError: if it is no such length.

    Example:
      >>> in_epochs("50 steps", steps_per_epoch=100, batch_size=8)
      0.5
    """
    found = _LENGTH.match(length.strip())
    try:
        number = float(found[1])
    except (TypeError, ValueError):
        raise ValueError(
            "A length must be a number and epochs, steps or examples, such "
            f"as 5epochs. Received: {length!r}"
        ) from None
    per_epoch = {
        "epochs": 1,
        "steps": steps_per_epoch,
        "examples": steps_per_epoch * batch_size,
    }
    return number / per_epoch[found[2]]


@keras.saving.register_keras_serializable(package="keras_regnet_training")
class EpochSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule in epochs, as a pure function of the step.

    The rate is peak * decay(e) * warmup(e) at epoch e, which is a fraction,
    or with `per_epoch` a whole number:
      decay(e) for "cosine": floor + (1 - floor) * (1 + cos(pi * d)) / 2 with
      d = e / epochs; "polynomial": floor + (1 - floor) * (1 - d)**power;
      "exponential": factor**(e / every); "step": factor**k after k of the
      milestones or, without any, factor**floor(e / every); "constant": 1;
      warmup(e) = warmup_factor * (1 - a) + a with a = e / warmup_epochs, and
      1 after that.

    Args:
      peak: learning rate at e = 0, warm-up aside.
      kind: one of the names above.
      epochs: length of the run.
      steps_per_epoch: steps.
      warmup_epochs: length of the warm-up.
      warmup_factor: share at its beginning.
      per_epoch: whether the rate is held for an epoch.
      every: epochs between two decays.
      milestones: epochs of the decays.
      factor: of a decay.
      power: of the polynomial.
      floor: share of the peak that is left at the end.
    """

    def __init__(
        self,
        peak: float,
        kind: str,
        epochs: float,
        steps_per_epoch: int,
        warmup_epochs: float = 0.0,
        warmup_factor: float = 0.0,
        per_epoch: bool = False,
        every: float = 30.0,
        milestones: Sequence[float] = (),
        factor: float = 0.1,
        power: float = 1.0,
        floor: float = 0.0,
    ):
        self.peak = peak
        self.kind = kind
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.warmup_epochs = warmup_epochs
        self.warmup_factor = warmup_factor
        self.per_epoch = per_epoch
        self.every = every
        self.milestones = tuple(milestones)
        self.factor = factor
        self.power = power
        self.floor = floor

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
        done = tf.minimum(epoch / self.epochs, 1.0)
        if self.kind == "cosine":
            share = 0.5 * (1 + tf.cos(math.pi * done))
            return self.floor + (1 - self.floor) * share
        if self.kind == "polynomial":
            share = (1 - done) ** self.power
            return self.floor + (1 - self.floor) * share
        if self.kind == "exponential":
            return self.factor ** (epoch / self.every)
        if self.kind == "step":
            return self.factor ** self._falls(epoch)
        return tf.ones_like(epoch)

    def _falls(self, epoch):
        """Returns how often the rate has fallen."""
        # Half a step early: steps are not exact in epochs.
        epoch += 0.5 / self.steps_per_epoch
        if not self.milestones:
            return tf.floor(epoch / self.every)
        passed = epoch >= tf.constant(self.milestones, tf.float32)
        return tf.reduce_sum(tf.cast(passed, tf.float32))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return dict(vars(self))


def make(
    config: train_config.TrainConfig, steps_per_epoch: int
) -> EpochSchedule:
    """Returns the learning-rate schedule of a run.

    Raises:
      ValueError: if a length is not written as `in_epochs` has it.
    """

    def length(text):
        return in_epochs(text, steps_per_epoch, config.global_batch_size)

    warmup = config.warmup_epochs
    if config.warmup:
        warmup = length(config.warmup)
    every = length(config.decay_every)
    if not every:
        raise ValueError(
            "`decay_every` must be longer than nothing. "
            f"Received: decay_every={config.decay_every!r}"
        )
    milestones = [length(text) for text in config.milestones.split(",") if text]
    if milestones != sorted(milestones):
        raise ValueError(
            "`milestones` must rise. "
            f"Received: milestones={config.milestones!r}"
        )
    return EpochSchedule(
        peak=config.learning_rate(),
        kind=config.schedule,
        epochs=config.num_steps(steps_per_epoch) / steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        warmup_epochs=warmup,
        warmup_factor=config.warmup_factor,
        per_epoch=config.per_epoch_schedule,
        every=every,
        milestones=milestones,
        factor=config.decay_factor,
        power=config.polynomial_power,
        floor=config.final_rate_share,
    )
