"""Tests of the schedule, and of the L2 that the step adds."""

import dataclasses
import math
import tempfile

import keras
import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized

from tests.support import training_testing
from training.config import config as train_config
from training.config import config_checks
from training.config import recipes
from training.trainer import optimizer
from training.trainer import schedules
from training.trainer import step
from training.trainer import strategy as train_strategy


def closed_form(epoch, epochs, peak, warmup_epochs=0.0, factor=0.1):
    rate = peak * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
    if epoch < warmup_epochs:
        done = epoch / warmup_epochs
        rate *= factor * (1 - done) + done
    return rate


class ScheduleTest(parameterized.TestCase):
    @parameterized.parameters(
        # As the paper's code (pycls) computes it.
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

    def test_the_other_shapes(self):
        shared = {"epochs": 10, "steps_per_epoch": 10}
        for step_number in (0, 34, 35, 60, 99):
            epoch = step_number / 10
            for kind, expected, fields in (
                ("cosine", 0.1 + 0.45 * (1 + math.cos(math.pi * epoch / 10)),
                 {"floor": 0.1}),
                ("polynomial", (1 - epoch / 10) ** 2, {"power": 2.0}),
                ("exponential", 0.97 ** (epoch / 2.5),
                 {"factor": 0.97, "every": 2.5}),
                ("step", 0.1 ** (epoch // 3.5), {"every": 3.5}),
                ("step", 0.5 ** ((epoch >= 3.5) + (epoch >= 6)),
                 {"milestones": (3.5, 6.0), "factor": 0.5}),
            ):  # fmt: skip
                schedule = optimizer.EpochSchedule(
                    2.0, kind, **shared, **fields
                )
                self.assertAlmostEqual(
                    float(schedule(step_number)), 2 * expected, places=5
                )

    @parameterized.parameters(
        ("5epochs", 5), ("250 steps", 2.5), ("6.4e3examples", 2), ("0steps", 0)
    )
    def test_lengths(self, text, epochs):
        self.assertEqual(schedules.in_epochs(text, 100, 32), epochs)

    @parameterized.parameters("5", "epochs", "-1epochs", "1.2.3steps", "5 km")
    def test_what_is_no_length(self, text):
        with self.assertRaisesRegex(ValueError, f"5epochs. Received: '{text}'"):
            schedules.in_epochs(text, 100, 32)

    def test_lengths_of_a_config(self):
        config = recipes.get("quickstart")
        config = dataclasses.replace(
            config,
            schedule="step",
            milestones="10epochs,1500steps",
            warmup="6400examples",
            warmup_factor=0.0,
            base_learning_rate=1.0,
            base_batch_size=64,
        )
        schedule = optimizer.schedule(config, 100)
        for step_number, expected in (
            (0, 0), (50, 0.5), (100, 1), (999, 1), (1000, 0.1), (1499, 0.1),
            (1500, 0.01),
        ):  # fmt: skip
            self.assertAlmostEqual(float(schedule(step_number)), expected)
        with self.assertRaisesRegex(ValueError, "must rise"):
            optimizer.schedule(
                dataclasses.replace(config, milestones="3epochs,2epochs"), 100
            )


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

    @parameterized.parameters(True, False)
    def test_velocity_without_the_rate_is_torchs(self, nesterov):
        """torch.optim.SGD, written out; the rate changes at every step."""
        rng = np.random.default_rng(0)
        expected = rng.normal(size=(4, 3))
        gradients = rng.normal(size=(5, 4, 3))
        rate = optimizer.EpochSchedule(0.3, "cosine", 5, 1)
        sgd = optimizer.SGD(
            rate, momentum=0.9, nesterov=nesterov, rate_in_velocity=False
        )
        variable = keras.Variable(expected.astype("float32"))
        sgd.build([variable])
        velocity = 0.0
        for number, gradient in enumerate(gradients):
            sgd.apply([tf.constant(gradient, tf.float32)], [variable])
            velocity = 0.9 * velocity + gradient
            update = gradient + 0.9 * velocity if nesterov else velocity
            expected = expected - closed_form(number, 5, 0.3) * update
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5)

    def test_the_paper_recipe_uses_it(self):
        sgd = optimizer.make(
            recipes.get("paper"), 10, [keras.Variable([1.0], name="kernel")]
        )
        self.assertFalse(sgd.rate_in_velocity)
        self.assertTrue(sgd.nesterov)


def _variables():
    names = ("stem_conv", "stage1_block1_conv1", "stage1_block2_conv1",
             "stage2_block1_conv1", "head_fc")  # fmt: skip
    rng = np.random.default_rng(0)
    found = []
    for name in names:
        layer = keras.layers.Dense(3, name=name)
        layer.build([None, 3])
        for variable in layer.variables:
            variable.assign(rng.normal(size=variable.shape))
        found.extend(layer.variables)
    return found


class AnyOptimizerTest(parameterized.TestCase):
    def config(self, **fields):
        defaults = {"schedule": "constant", "warmup_epochs": 0.0,
                    "global_batch_size": 128, "base_learning_rate": 0.01,
                    "weight_decay": 0.1}  # fmt: skip
        return train_config.TrainConfig(**{**defaults, **fields})

    def run_steps(self, made, variables, count=3):
        rng = np.random.default_rng(1)
        for _ in range(count):
            gradients = [
                tf.constant(rng.normal(size=v.shape), tf.float32)
                for v in variables
            ]
            made.apply(gradients, variables)
        return [v.numpy() for v in variables]

    @parameterized.parameters(
        "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "ftrl",
        "lamb", "lion", "muon", "nadam", "rmsprop",
    )  # fmt: skip
    def test_is_keras_own_with_keras_own_decay(self, name):
        classes = {c.lower(): c for c in dir(keras.optimizers)}
        stock_class = getattr(keras.optimizers, classes[name])
        more = {"momentum": 0.9} if name in ("rmsprop", "muon") else {}
        if name == "muon":
            more["adam_weight_decay"] = 0.1
        variables = _variables()
        stock = stock_class(0.01, weight_decay=0.1, **more)
        stock.build(variables)
        expected = self.run_steps(stock, variables)
        variables = _variables()
        ours = optimizer.make(self.config(optimizer=name), 10, variables)
        found = self.run_steps(ours, variables)
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)

    def test_the_list_is_keras_list(self):
        """But for what needs more than a name."""
        not_by_name = {"LossScaleOptimizer", "MultiOptimizer", "Optimizer",
                       "OptimizerMap", "ScheduleFreeAdamW"}  # fmt: skip
        known = {
            name.lower()
            for name in dir(keras.optimizers)
            if isinstance(getattr(keras.optimizers, name), type)
            and name not in not_by_name
        }
        self.assertEqual(set(config_checks.OPTIMIZERS), known)

    def test_arguments(self):
        config = self.config(
            optimizer="adamw", optimizer_arguments="beta_2=0.95,epsilon=1e-6"
        )
        made = optimizer.make(config, 10, _variables())
        self.assertEqual((made.beta_2, made.epsilon), (0.95, 1e-6))
        for text in ("beta_9=1", "beta_2", "beta_2=x"):
            config = self.config(optimizer="adamw", optimizer_arguments=text)
            with self.assertRaisesRegex(ValueError, "`optimizer_arguments`"):
                optimizer.make(config, 10, _variables())

    @parameterized.parameters("sgd", "adamw")
    def test_layer_decay_scales_the_steps(self, name):
        """A constant gradient: each step is the rate times a constant."""
        moves = []
        for layer_decay in (1.0, 0.5):
            variables = _variables()
            config = self.config(
                optimizer=name, layer_decay=layer_decay, weight_decay=0.0
            )
            made = optimizer.make(config, 10, variables)
            before = [v.numpy() for v in variables]
            made.apply([tf.ones(v.shape) for v in variables], variables)
            moves.append(
                [
                    np.mean(v.numpy() - old)
                    for v, old in zip(variables, before, strict=True)
                ]
            )
        ratio = np.array(moves[1]) / np.array(moves[0])
        expected = np.repeat([1 / 16, 1 / 8, 1 / 4, 1 / 2, 1], 2)
        np.testing.assert_allclose(ratio, expected, rtol=1e-3)

    @parameterized.parameters("sgd", "adamw")
    def test_the_head_goes_first(self, name):
        variables = _variables()
        config = self.config(optimizer=name, head_epochs=0.2)
        made = optimizer.make(config, 10, variables)
        start = [v.numpy() for v in variables]
        after_two = self.run_steps(made, variables, 2)
        for v, before, now in zip(variables, start, after_two, strict=True):
            moved = np.abs(now - before).max()
            self.assertEqual(moved > 0, v.path.startswith("head_fc"), v.path)
        after_three = self.run_steps(made, variables, 1)
        for before, now in zip(after_two, after_three, strict=True):
            self.assertGreater(np.abs(now - before).max(), 0)

    def test_on_two_replicas(self):
        config = self.config(optimizer="lamb", layer_decay=0.5, head_epochs=0.1)
        variables = _variables()
        made = optimizer.make(config, 10, variables)
        expected = self.run_steps(made, variables, 2)
        # There must be but one over the same devices in a process.
        strategy = train_strategy.make(
            self.config(strategy="mirrored", num_cpu_devices=2)
        )
        with strategy.scope():
            variables = _variables()
            made = optimizer.make(config, 10, variables)
        rng = np.random.default_rng(1)

        @tf.function
        def step_on_both(gradients):
            # Each gives a half: they are summed.
            strategy.run(
                lambda: made.apply([g / 2 for g in gradients], variables)
            )

        for _ in range(2):
            step_on_both(
                [
                    tf.constant(rng.normal(size=v.shape), tf.float32)
                    for v in variables
                ]
            )
        for one, v in zip(expected, variables, strict=True):
            np.testing.assert_allclose(one, v.numpy(), rtol=1e-4, atol=1e-6)


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
