"""The loss of each training example, from labels or from mixed targets."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from training.config import config as train_config

_LOSSES = {
    "cross_entropy": keras.losses.categorical_crossentropy,
    "binary_cross_entropy": keras.losses.binary_crossentropy,
}


def targets(labels: tf.Tensor, classes: int) -> tf.Tensor:
    """Returns the target probabilities, float32 (batch, classes)."""
    if labels.shape.rank == 2:
        return labels
    return tf.one_hot(labels, classes)


def hard_labels(labels: tf.Tensor) -> tf.Tensor:
    """Returns the label with the largest weight of each example, int32."""
    if labels.shape.rank == 2:
        return tf.argmax(labels, axis=-1, output_type=tf.int32)
    return labels


def per_example(
    labels: tf.Tensor,
    logits: tf.Tensor,
    config: train_config.TrainConfig,
    class_weights: Sequence[float] | None = None,
    multilabel: bool = False,
) -> tf.Tensor:
    """Returns the training loss of each example.

    Args:
      labels: int32 (batch,), or float32 (batch, classes) of a mixed batch or
        of several labels an image.
      logits: float32 (batch, classes).
      config: `loss` and `label_smoothing` are read.
      class_weights: one for each class; None for all alike. The loss is what
        the loss with each label would be, by the label's weight and by its
        part of a mixed target.
      multilabel: whether images have several labels, and so the binary loss.

    Returns:
      float32 tensor (batch,): softmax cross-entropy, or the mean over classes
      of the sigmoid cross-entropies. Smoothing moves the targets towards the
      uniform distribution, or towards a half.

    Source:
      arXiv 1512.00567 (smoothing), arXiv 2110.00476 (binary).
    """
    expected = targets(labels, logits.shape[-1])
    if class_weights is not None:
        expected *= tf.constant(class_weights, tf.float32)
        weights = tf.reduce_sum(expected, axis=-1)
        # The loss is linear in targets that sum to 1.
        expected /= weights[:, None]
    losses = _LOSSES["binary_cross_entropy" if multilabel else config.loss](
        expected,
        logits,
        from_logits=True,
        label_smoothing=config.label_smoothing,
    )
    if class_weights is not None:
        losses *= tf.cast(weights, losses.dtype)
    return losses
