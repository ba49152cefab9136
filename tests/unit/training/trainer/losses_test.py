"""Tests of the training losses against their formulas."""

import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized

from training.config import config as train_config
from training.trainer import losses

_LABELS = np.array([0, 3, 6, 1, 1], np.int32)


def _setting(**fields):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=[5, 7]).astype("float32")
    mixed = rng.dirichlet(np.ones(7), 5).astype("float32")
    return logits, mixed, train_config.TrainConfig(**fields)


class LossesTest(parameterized.TestCase):
    @parameterized.product(smoothing=(0.0, 0.2), soft=(True, False))
    def test_softmax(self, smoothing, soft):
        logits, mixed, config = _setting(label_smoothing=smoothing)
        targets = mixed if soft else np.eye(7)[_LABELS]
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        smooth = (1 - smoothing) * targets + smoothing / 7
        found = losses.per_example(
            tf.constant(mixed if soft else _LABELS), logits, config
        )
        np.testing.assert_allclose(found, -(smooth * log_p).sum(1), rtol=1e-5)

    @parameterized.product(smoothing=(0.0, 0.2), soft=(True, False))
    def test_sigmoid(self, smoothing, soft):
        logits, mixed, config = _setting(
            label_smoothing=smoothing, loss="binary_cross_entropy"
        )
        targets = mixed if soft else np.eye(7)[_LABELS]
        smooth = (1 - smoothing) * targets + smoothing / 2
        p = 1 / (1 + np.exp(-logits))
        expected = smooth * np.log(p) + (1 - smooth) * np.log(1 - p)
        found = losses.per_example(
            tf.constant(mixed if soft else _LABELS), logits, config
        )
        np.testing.assert_allclose(found, -expected.mean(1), rtol=1e-5)

    @parameterized.product(
        smoothing=(0.0, 0.2), loss=("cross_entropy", "binary_cross_entropy")
    )
    def test_several_labels(self, smoothing, loss):
        """The loss is the binary one, whatever that of one label would be."""
        logits, _, config = _setting(label_smoothing=smoothing, loss=loss)
        labels = np.zeros((5, 7), np.float32)  # The first has none.
        labels[1, [0, 3]], labels[2] = 1, 1
        labels[3, 6], labels[4, 2] = 1, 0.3  # The last is mixed.
        smooth = (1 - smoothing) * labels + smoothing / 2
        p = 1 / (1 + np.exp(-logits.astype(np.float64)))
        expected = smooth * np.log(p) + (1 - smooth) * np.log(1 - p)
        found = losses.per_example(
            tf.constant(labels), logits, config, multilabel=True
        )
        np.testing.assert_allclose(found, -expected.mean(1), rtol=1e-5)

    def test_several_labels_of_large_logits(self):
        logits = tf.constant([[300.0, -300.0]])
        _, _, config = _setting()
        with tf.GradientTape() as tape:
            tape.watch(logits)
            found = losses.per_example(
                tf.constant([[0.0, 0.0]]), logits, config, multilabel=True
            )
        np.testing.assert_allclose(found, [150.0])
        np.testing.assert_allclose(tape.gradient(found, logits), [[0.5, 0.0]])

    @parameterized.product(
        loss=("cross_entropy", "binary_cross_entropy"), smoothing=(0.0, 0.2)
    )
    def test_class_weights(self, loss, smoothing):
        """A mixed target is so much of each label, with the label's weight."""
        logits, mixed, config = _setting(label_smoothing=smoothing, loss=loss)
        weights = np.array([0.5, 3, 1, 0.1, 1, 2, 7], np.float32)
        of_labels = np.stack(
            [
                losses.per_example(tf.fill([5], label), logits, config)
                for label in range(7)
            ],
            axis=1,
        )
        np.testing.assert_allclose(
            losses.per_example(
                tf.constant(mixed), logits, config, class_weights=weights
            ),
            (mixed * weights * of_labels).sum(1),
            rtol=1e-5,
        )
        np.testing.assert_allclose(
            losses.per_example(
                tf.constant(_LABELS), logits, config, class_weights=weights
            ),
            weights[_LABELS] * of_labels[np.arange(5), _LABELS],
            rtol=1e-6,
        )

    def test_hard_labels(self):
        _, mixed, _ = _setting()
        np.testing.assert_array_equal(
            losses.hard_labels(tf.constant(mixed)), mixed.argmax(1)
        )
        np.testing.assert_array_equal(
            losses.hard_labels(tf.constant(_LABELS)), _LABELS
        )


if __name__ == "__main__":
    absltest.main()
