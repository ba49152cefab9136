"""Mixup and CutMix: pure functions of (batch, seed, epoch, place).

A batch is mixed with itself, turned by one example. What is drawn depends on
the place in the epoch of the batch's first image, so that parts of a global
batch that replicas see are mixed each by its own draw, the same in every run.
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
    place: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns a mixed batch.

    Args:
      images: float32 tensor (batch, height, width, 3).
      labels: int32 tensor (batch,).
      mixing: what to do.
      seed: the run's seed.
      epoch: int64 scalar.
      place: int64 scalar, place in the epoch of the batch's first image.

    Returns:
      Images of the same shape, and float32 targets (batch, classes) that sum
      to 1.

    Source:
      arXiv 1710.09412 (mixup), arXiv 1905.04899 (CutMix).
    """
    key = augment.draw_key(seed, epoch, place, augment.MIXING_SALT)
    draws = tf.random.stateless_uniform([4], key)
    use_cutmix = _choose(mixing, draws[1])
    share = tf.where(
        use_cutmix,
        _beta(mixing.cutmix_alpha, key),
        _beta(mixing.mixup_alpha, key),
    )
    share = tf.where(draws[0] < mixing.probability, share, 1.0)
    partner = tf.roll(images, 1, axis=0)
    images, share = tf.cond(
        use_cutmix,
        lambda: _cutmix(images, partner, share, draws[2:]),
        lambda: (share * images + (1 - share) * partner, share),
    )
    targets = tf.one_hot(labels, mixing.classes)
    return images, share * targets + (1 - share) * tf.roll(targets, 1, axis=0)


def _choose(mixing, draw):
    """Returns whether to use CutMix; either is as likely where both are on."""
    if mixing.mixup_alpha and mixing.cutmix_alpha:
        return draw < 0.5
    return tf.constant(bool(mixing.cutmix_alpha))


def _beta(alpha, key):
    """Returns a draw of Beta(alpha, alpha), as a ratio of Gamma draws."""
    if not alpha:
        return tf.constant(1.0)
    a, b = tf.unstack(tf.random.stateless_gamma([2], key, alpha))
    # Both underflow to 0 where alpha is tiny.
    return tf.math.divide_no_nan(a, a + b)


def _cutmix(images, partner, share, draws):
    """Pastes a rectangle, and returns the share that is really left."""
    size = tf.cast(tf.shape(images)[1:3], tf.float32)
    half = size * tf.sqrt(1 - share) / 2
    centre = tf.floor(draws * size)
    low = tf.cast(tf.maximum(centre - half, 0), tf.int32)
    high = tf.cast(tf.minimum(centre + half, size), tf.int32)
    pasted = augment.inside(tf.shape(images)[1:3], low, high)
    left = 1 - tf.reduce_mean(tf.cast(pasted, tf.float32))
    return tf.where(pasted, partner, images), left
