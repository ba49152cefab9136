"""Mixup and CutMix: pure functions of (batch, seed, epoch, position).

A batch is mixed with itself, turned by one example. How depends on the position
in the epoch of the batch's first image, so that the parts of a global batch
that replicas see are each mixed differently, and the same in every run.
"""

import dataclasses

import tensorflow as tf

from training.config import config as train_config
from training.data import augment


@dataclasses.dataclass(frozen=True)
class Mixing:
    """How batches are mixed; see `TrainConfig` for the fields."""

    classes: int
    mixup_alpha: float
    cutmix_alpha: float
    probability: float

    @classmethod
    def from_config(
        cls, config: train_config.TrainConfig, classes: int
    ) -> "Mixing":
        """Returns the mixing a configuration asks for."""
        return cls(
            classes,
            config.mixup_alpha,
            config.cutmix_alpha,
            config.mix_probability,
        )


def mix(
    images: tf.Tensor,
    labels: tf.Tensor,
    mixing: Mixing,
    seed: int,
    epoch: tf.Tensor,
    position: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns a mixed batch.

    Args:
      images: float32 tensor (batch, height, width, 3).
      labels: int32 tensor (batch,), or float32 targets (batch, classes).
      mixing: what to do.
      seed: the run's seed.
      epoch: int64 scalar.
      position: int64 scalar, of the batch's first image in the epoch.

    Returns:
      Images of the same shape, and float32 targets (batch, classes), which of
      one label an image sum to 1.

    Source:
      arXiv 1710.09412 (mixup), arXiv 1905.04899 (CutMix).
    """
    key = augment.random_key(seed, epoch, position, augment.MIXING_SALT)
    uniform = tf.random.stateless_uniform([4], key)
    use_cutmix = _use_cutmix(mixing, uniform[1])
    kept = tf.where(
        use_cutmix,
        _beta(mixing.cutmix_alpha, key),
        _beta(mixing.mixup_alpha, key),
    )
    kept = tf.where(uniform[0] < mixing.probability, kept, 1.0)
    partner = tf.roll(images, 1, axis=0)
    images, kept = tf.cond(
        use_cutmix,
        lambda: _cutmix(images, partner, kept, uniform[2:]),
        lambda: (kept * images + (1 - kept) * partner, kept),
    )
    targets = labels
    if labels.shape.rank == 1:
        targets = tf.one_hot(labels, mixing.classes)
    return images, kept * targets + (1 - kept) * tf.roll(targets, 1, axis=0)


def _use_cutmix(mixing, uniform):
    """Either is as likely where both are on."""
    if mixing.mixup_alpha and mixing.cutmix_alpha:
        return uniform < 0.5
    return tf.constant(bool(mixing.cutmix_alpha))


def _beta(alpha, key):
    """Samples Beta(alpha, alpha), as a ratio of Gamma samples."""
    if not alpha:
        return tf.constant(1.0)
    a, b = tf.unstack(tf.random.stateless_gamma([2], key, alpha))
    # Both underflow to 0 where alpha is tiny.
    return tf.math.divide_no_nan(a, a + b)


def _cutmix(images, partner, kept, uniform):
    """Pastes a rectangle, and returns the fraction that is really kept."""
    size = tf.cast(tf.shape(images)[1:3], tf.float32)
    half = size * tf.sqrt(1 - kept) / 2
    center = tf.floor(uniform * size)
    low = tf.cast(tf.maximum(center - half, 0), tf.int32)
    high = tf.cast(tf.minimum(center + half, size), tf.int32)
    pasted = augment.inside(tf.shape(images)[1:3], low, high)
    kept = 1 - tf.reduce_mean(tf.cast(pasted, tf.float32))
    return tf.where(pasted, partner, images), kept
