"""Tests of the schedule, and of the L2 that the step adds."""

import math
import tempfile

import keras
import numpy as np
import tensorflow as tf
import training_testing
from absl.testing import absltest
from absl.testing import parameterized

from training import optimizer
from training import recipes
from training import step


def closed_form(epoch, epochs, peak, warmup_epochs=0.0, factor=0.1):
    rate = peak * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
    if epoch < warmup_epochs:
        done = epoch / warmup_epochs
        rate *= factor * (1 - done) + done
    return rate


class ScheduleTest(parameterized.TestCase):
    @parameterized.parameters(
        # shared/reference/training_recipes.md, section 2.
        (0, 0.08), (1, 0.223945), (2, 0.367637), (4, 0.653414),
        (5, 0.795075), (10, 0.780423), (50, 0.4), (90, 0.019577),
        (99, 0.000197),
    )  # fmt: skip
    def test_paper_holds_the_rate_for_an_epoch(self, epoch, expected):
        schedule = optimizer.schedule(recipes.get("paper"), 1251)
        for step_in_epoch in (0, 1250):
            rate = schedule(epoch * 1251 + step_in_epoch)
            self.assertAlmostEqual(float(rate), expected, places=6)

    @parameterized.parameters(0, 1, 7, 13, 26, 100, 129, 130)
    def test_per_step(self, step_number):
        schedule = optimizer.EpochSchedule(0.3, "cosine", 10, 13, 2.0, 0.1)
        self.assertAlmostEqual(
            float(schedule(step_number)),
            closed_form(step_number / 13, 10, 0.3, 2.0),
            places=6,
        )

    def test_counts_more_steps_than_float32_can(self):
        schedule = optimizer.EpochSchedule(
            1.0, "cosine", 2, 2**25, per_epoch=True
        )
        self.assertAlmostEqual(float(schedule(2**25 - 1)), 1.0)
        self.assertAlmostEqual(float(schedule(2**25)), 0.5)

    def test_survives_serialisation(self):
        schedule = optimizer.EpochSchedule(0.3, "constant", 10, 13, 2.0, 0.5)
        copy = optimizer.EpochSchedule.from_config(schedule.get_config())
        self.assertEqual(float(copy(13)), float(schedule(13)))
        self.assertAlmostEqual(float(copy(13)), 0.225)


class SGDTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        rng = np.random.default_rng(0)
        self.start = rng.normal(size=(4, 3)).astype("float32")
        self.gradients = rng.normal(size=(5, 4, 3)).astype("float32")

    def _end(self, sgd):
        variable = keras.Variable(self.start)
        sgd.build([variable])
        for gradient in self.gradients:
            sgd.apply([tf.constant(gradient)], [variable])
        return np.asarray(variable)

    @parameterized.product(nesterov=(True, False), momentum=(0.0, 0.9))
    def test_is_keras_sgd(self, nesterov, momentum):
        rate = optimizer.EpochSchedule(0.3, "cosine", 5, 1)
        ours, stock = (
            self._end(cls(rate, momentum=momentum, nesterov=nesterov))
            for cls in (optimizer.SGD, keras.optimizers.SGD)
        )
        np.testing.assert_allclose(ours, stock, rtol=1e-5, atol=1e-6)

    @parameterized.parameters(True, False)
    def test_velocity_holds_gradients_where_the_rate_changes(self, nesterov):
        """As in `torch.optim.SGD`, which the paper's code uses."""
        schedule = optimizer.EpochSchedule(0.3, "cosine", 5, 1)
        expected, velocity = self.start.astype("float64"), 0.0
        for step_number, gradient in enumerate(self.gradients):
            velocity = 0.9 * velocity + gradient
            ahead = gradient + 0.9 * velocity if nesterov else velocity
            expected = expected - closed_form(step_number, 5, 0.3) * ahead
        sgd = optimizer.SGD(
            schedule,
            momentum=0.9,
            nesterov=nesterov,
            rate_in_velocity=False,
        )
        np.testing.assert_allclose(self._end(sgd), expected, rtol=1e-5)


class DecayTest(parameterized.TestCase):
    @parameterized.parameters(True, False)
    def test_l2_is_coupled_with_the_rate(self, decay_all):
        """Two steps equal torch-style SGD written out by hand."""
        rate, decay, momentum = 0.05, 0.1, 0.9
        config = training_testing.tiny_config(
            self.enterContext(tempfile.TemporaryDirectory()),
            global_batch_size=128,
            base_learning_rate=rate,
            schedule="constant",
            warmup_epochs=0.0,
            weight_decay=decay,
            decay_norm_and_bias=decay_all,
        )
        inputs = keras.Input([4])
        x = keras.layers.Dense(3, name="head_fc")(inputs)
        model = keras.Model(inputs, keras.layers.Softmax()(x))
        sgd = optimizer.make(config, 10, model.trainable_variables)
        strategy = tf.distribute.get_strategy()
        steps = step.Steps(strategy, model, sgd, config)
        rng = np.random.default_rng(0)
        images = rng.normal(size=[128, 4]).astype("float32")
        labels = rng.integers(0, 3, 128).astype("int32")
        batches = iter(tf.data.Dataset.from_tensors((images, labels)).repeat())
        kernel, bias = (v.numpy() for v in model.trainable_variables)
        velocities = [0.0, 0.0]
        for _ in range(2):
            steps.train(batches, tf.constant(1), tf.zeros([4], tf.float64))
            odds = np.exp(images @ kernel + bias)
            error = odds / odds.sum(1, keepdims=True) - np.eye(3)[labels]
            gradients = [
                images.T @ error / 128 + decay * kernel,
                error.mean(0) + decay * bias * decay_all,
            ]
            for i, gradient in enumerate(gradients):
                velocities[i] = momentum * velocities[i] + gradient
            updates = [
                rate * (gradient + momentum * velocity)
                for gradient, velocity in zip(
                    gradients, velocities, strict=True
                )
            ]
            kernel, bias = kernel - updates[0], bias - updates[1]
        np.testing.assert_allclose(model.layers[1].kernel, kernel, atol=2e-6)
        np.testing.assert_allclose(model.layers[1].bias, bias, atol=2e-6)

    def test_adamw_leaves_excluded_variables_alone(self):
        config = training_testing.tiny_config(
            self.enterContext(tempfile.TemporaryDirectory()),
            optimizer="adamw",
            weight_decay=0.5,
            decay_norm_and_bias=False,
            schedule="constant",
            warmup_epochs=0.0,
        )
        kernel = keras.Variable([2.0], name="kernel")
        gamma = keras.Variable([2.0], name="gamma")
        adamw = optimizer.make(config, 10, [kernel, gamma])
        zero = tf.zeros([1])
        adamw.apply([zero, zero], [kernel, gamma])
        rate = config.learning_rate()
        np.testing.assert_allclose(kernel.numpy(), [2 - rate * 0.5 * 2], 1e-6)
        np.testing.assert_allclose(gamma.numpy(), [2.0])


if __name__ == "__main__":
    absltest.main()
