"""The loss of each training example, from labels or from mixed targets."""

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
    multilabel: bool = False,
) -> tf.Tensor:
    """Returns the training loss of each example.

    Args:
      labels: int32 (batch,), or float32 (batch, classes) of a mixed batch or
        of several labels an image.
      logits: float32 (batch, classes).
      config: `loss` and `label_smoothing` are read.
      multilabel: whether images have several labels, and so the binary loss.

    Returns:
      float32 tensor (batch,): softmax cross-entropy, or the mean over classes
      of the sigmoid cross-entropies. Smoothing moves the targets towards the
      uniform distribution, or towards a half.

    Source:
      arXiv 1512.00567 (smoothing), arXiv 2110.00476 (binary).
    """
    return _LOSSES["binary_cross_entropy" if multilabel else config.loss](
        targets(labels, logits.shape[-1]),
        logits,
        from_logits=True,
        label_smoothing=config.label_smoothing,
    )
