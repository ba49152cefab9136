"""Precise batch norm against statistics computed by NumPy."""

from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized

from tests.support import training_testing
from training.config import config as train_config
from training.data import pipeline as train_data
from training.trainer import precise_bn
from training.trainer import strategy as train_strategy


def _config(**fields):
    defaults = {"image_size": 32, "augmentation": "none", "flip": False,
                "epochs": 2, "global_batch_size": 8}  # fmt: skip
    return train_config.TrainConfig(**{**defaults, **fields})


class PreciseTest(parameterized.TestCase):
    @parameterized.parameters(1, 2)
    def test_is_the_mean_and_variance_of_what_was_seen(self, replicas):
        """With one layer, which sees the images themselves."""
        config = _config(precise_bn_images=24)
        noise = training_testing.noise_set(40, 8)
        strategy = tf.distribute.get_strategy()
        if replicas == 2:
            # There must be but one over the same devices in a process.
            strategy = train_strategy.make(
                _config(strategy="mirrored", num_cpu_devices=2)
            )
        with strategy.scope():
            inputs = keras.Input((32, 32, 3))
            norm = keras.layers.BatchNormalization(momentum=0.9)
            model = keras.Model(inputs, norm(inputs))
        precise = precise_bn.PreciseStatistics(strategy, model)
        precise.measure(noise, config, 1, 5)
        batches = train_data.train_pipeline(noise, config, 5)
        images = np.concatenate([x for x, _ in batches.take(3)])
        np.testing.assert_allclose(
            norm.moving_mean, images.mean((0, 1, 2)), rtol=1e-4
        )
        np.testing.assert_allclose(
            norm.moving_variance, images.var((0, 1, 2)), rtol=1e-3
        )

    def test_the_network_is_traced_once(self):
        config = _config(precise_bn_images=24)
        noise = training_testing.noise_set(40, 8)
        inputs = keras.Input((32, 32, 3))
        norm = keras.layers.BatchNormalization()
        model = keras.Model(inputs, norm(inputs))
        strategy = tf.distribute.get_strategy()
        precise = precise_bn.PreciseStatistics(strategy, model)
        with mock.patch.object(norm, "call", wraps=norm.call) as call:
            precise.measure(noise, config, 0, 5)
            precise.measure(noise, config, 1, 5)
        self.assertEqual(call.call_count, 1)

    def test_never_more_than_an_epoch(self):
        self.assertEqual(precise_bn.steps(_config(precise_bn_images=17), 5), 3)
        self.assertEqual(precise_bn.steps(_config(precise_bn_images=900), 5), 5)

    def test_needs_the_weights_themselves(self):
        with self.assertRaisesRegex(ValueError, "`ema_decay` to be 0"):
            _config(precise_bn_images=8, ema_decay=0.9)


if __name__ == "__main__":
    absltest.main()
