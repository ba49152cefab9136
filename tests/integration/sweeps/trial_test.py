"""Trials that train a network."""

import dataclasses
import json
import os
import subprocess
import sys
from unittest import mock

import keras
import numpy as np
from absl.testing import absltest

import keras_regnet
from keras_regnet.config import AnyNetConfig
from keras_regnet.design_space import records
from tests.support import backend_steps
from tests.support import paths
from training.sweeps import arrays as arrays_lib
from training.sweeps import regimes
from training.sweeps import spec
from training.sweeps import trial

_REGIME = regimes.get("synthetic")
_NETWORK = AnyNetConfig(
    (1, 1), (8, 16), strides=4, group_widths=8, stem="cifar", stem_width=8
)


def _trial(seed=0, config=_NETWORK, regime=_REGIME):
    config = config.to_json()
    return records.Trial(
        trial_id=spec.identify(config, seed, regime),
        space="test",
        index=0,
        seed=seed,
        regime=regime.name,
        config=config,
        depth=2,
        flops=1,
        params=1,
        activations=1,
    )


def _steps_by_hand():
    """Returns losses and hits of softmax regression, in plain NumPy."""
    images, labels, kernel = backend_steps.data()
    kernel = kernel.astype(np.float64)
    velocity = np.zeros_like(kernel)
    losses, hits = [], []
    for pixels, truth, rate in zip(
        images, labels, backend_steps.RATES, strict=True
    ):
        x = pixels.reshape(len(truth), -1).astype(float)
        logits = x @ kernel
        chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        losses.append(-np.log(chances[np.arange(len(truth)), truth]).mean())
        hits.append((logits.argmax(1) == truth).sum())
        wrong = chances - np.eye(backend_steps.CLASSES)[truth]
        gradient = x.T @ wrong / len(truth) + backend_steps.DECAY * kernel
        velocity = backend_steps.MOMENTUM * velocity + gradient
        kernel -= rate * (gradient + backend_steps.MOMENTUM * velocity)
    x = images.reshape(labels.size, -1).astype(float)
    right = (x @ kernel).argmax(1) == labels.ravel()
    seen = right.sum() - right[-3:].sum()
    return losses, hits, seen


def _hits(model, images, labels):
    pixels = images.reshape(-1, *images.shape[2:]).astype(np.float32)
    logits = np.asarray(model(pixels, training=False))
    return (logits.argmax(1) == labels.ravel()).sum()


class StepsTest(absltest.TestCase):
    def _check(self, found):
        losses, hits, seen = _steps_by_hand()
        expected = [losses[0], sum(losses[1:])]
        np.testing.assert_allclose(found["losses"], expected, rtol=1e-4)
        self.assertEqual(found["hits"], [hits[0], sum(hits[1:])])
        self.assertEqual(found["evaluated"], seen)

    def test_tensorflow_equals_steps_by_hand(self):
        """The velocity holds no learning rate, as in PyTorch's SGD."""
        self.assertEqual(keras.backend.backend(), "tensorflow")
        self._check(backend_steps.run())

    def test_moving_statistics(self):
        """Steps move their own, and evaluate with them; the model's stay."""
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((4, 4, 3)),
                keras.layers.BatchNormalization(momentum=0.5),
                keras.layers.Flatten(),
                keras.layers.Dense(5),
            ]
        )
        rng = np.random.default_rng(0)
        images = rng.integers(0, 255, (3, 32, 4, 4, 3)).astype(np.uint8)
        labels = rng.integers(0, 5, (3, 32)).astype(np.int32)
        steps = trial.steps_module().Steps(model, 0.9, 0.0)
        steps.compile(32, 32, 4)
        before = steps.evaluate(images, labels)
        steps.train(images, labels, np.zeros(3, np.float32))
        after = steps.evaluate(images, labels)
        self.assertEqual(before, _hits(model, images, labels))
        for batch in images:
            model(batch.astype(np.float32), training=True)
        self.assertEqual(after, _hits(model, images, labels))
        self.assertNotEqual(before, after)

    def test_jax_equals_steps_by_hand(self):
        result = subprocess.run(
            [sys.executable, backend_steps.__file__],
            env={
                **os.environ,
                "KERAS_BACKEND": "jax",
                "JAX_PLATFORMS": "cpu",
                "PYTHONPATH": str(paths.ROOT),
            },
            capture_output=True,
            text=True,
            check=True,
        )
        self._check(json.loads(result.stdout.splitlines()[-1]))


class TrialTest(absltest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.arrays = arrays_lib.load(_REGIME, "")
        cls.record = trial.run(_trial(), _REGIME, cls.arrays)

    def test_done(self):
        record = self.record
        self.assertEqual((record.status, record.reason), ("done", ""))
        self.assertLen(record.train_losses, 2)
        self.assertLen(record.train_errors, 2)
        self.assertEqual(record.error, record.test_errors[-1])
        self.assertEqual(record.test_images, [16, 16])
        self.assertGreater(record.seconds_train, 0)
        self.assertIn(f"keras {keras.__version__}", record.versions)
        self.assertIn(keras_regnet.__version__, record.versions)
        self.assertEqual(record.network, _NETWORK)

    def test_same_seed_same_numbers(self):
        again = trial.run(_trial(), _REGIME, self.arrays, attempt=2)
        self.assertEqual(again.train_losses, self.record.train_losses)
        self.assertEqual(again.test_errors, self.record.test_errors)
        self.assertEqual(again.attempt, 2)

    def test_other_seed_other_numbers(self):
        other = trial.run(_trial(seed=1), _REGIME, self.arrays)
        self.assertNotEqual(other.train_losses, self.record.train_losses)

    def test_nan_fails_with_reason(self):
        wild = dataclasses.replace(_REGIME, learning_rate=1e30)
        record = trial.run(_trial(), wild, self.arrays)
        self.assertEqual(record.status, "failed")
        self.assertRegex(record.reason, r"^loss is (nan|inf) in epoch 1")
        self.assertIsNone(record.error)
        self.assertIn("failed", record.to_json())

    def test_out_of_memory_has_its_reason(self):
        with mock.patch.object(keras_regnet, "build", side_effect=MemoryError):
            record = trial.run(_trial(), _REGIME, self.arrays)
        self.assertEqual(record.reason, "out of memory")

    def test_other_errors_are_quoted(self):
        error = RuntimeError("no\nluck")
        with mock.patch.object(keras_regnet, "build", side_effect=error):
            record = trial.run(_trial(), _REGIME, self.arrays)
        self.assertEqual(record.reason, "RuntimeError: no luck")


if __name__ == "__main__":
    absltest.main()
