"""Tests of the steps, on one device and on two."""

import dataclasses
import pathlib
import tempfile
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import processor
from tests.support import training_testing
from training.config import network as network_lib
from training.data import dataset
from training.data import pipeline as data
from training.trainer import state
from training.trainer import step
from training.trainer import strategy

_STEPS = 12


class Trained:
    """The tiny network on noise, under a strategy."""

    def __init__(self, folder, num_val=21, class_weights=None, **fields):
        defaults = {
            "epochs": 8,
            "global_batch_size": 16,
            "base_batch_size": 16,
            "warmup_epochs": 0.0,
        }
        self.config = training_testing.tiny_config(
            folder, **{**defaults, **fields}
        )
        self.noise = training_testing.noise_set(32, num_val)
        self.strategy = strategy.make(self.config)
        self.model, optimizer = state.build(
            self.config,
            network_lib.resolve("", network_lib.network_config(self.config)),
            self.noise,
            self.strategy,
        )
        self.state = state.TrainState(
            self.strategy, self.model, optimizer, self.config.ema_decay
        )
        self.replicas = self.state.replicas
        self.step = step.TrainStep(
            self.strategy,
            self.state,
            self.config,
            class_weights=class_weights,
        )
        self.batches = iter(
            data.distribute(
                self.strategy,
                self.config,
                lambda shard: data.train_pipeline(
                    self.noise, self.config, 0, shard
                ),
            )
        )

    def losses(self, count):
        """Returns the loss of each of the next steps."""
        zero = tf.zeros([4], tf.float64)
        return [
            float(self.step.run(self.batches, tf.constant(1), zero)[0][0]) / 16
            for _ in range(count)
        ]

    def evaluate(self):
        batches = data.distribute(
            self.strategy,
            self.config,
            lambda shard: data.eval_pipeline(self.noise, self.config, shard),
        )
        count = data.eval_steps(self.noise.val, self.config)
        zero = tf.zeros([4], tf.float64)
        evaluation = step.EvalStep(self.strategy, self.state)
        return evaluation.run(iter(batches), tf.constant(count), zero).numpy()

    def replica_values(self, variable):
        return [
            value.numpy()
            for value in self.strategy.experimental_local_results(
                variable.value
            )
        ]


ON_TWO = {"strategy": "mirrored", "num_cpu_devices": 2}


class StepTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.addCleanup(keras.config.set_dtype_policy, "float32")

    def trained(self, **fields):
        return Trained(self.folder, **fields)

    def test_two_devices_with_sync_bn_give_the_curve_of_one(self):
        one = self.trained(epochs=30).losses(24)
        two = self.trained(epochs=30, sync_bn=True, **ON_TWO).losses(24)
        np.testing.assert_allclose(one, two, atol=1e-5)
        # They learn: it is not the curve of a frozen network.
        self.assertLess(one[-1], one[0] - 0.05)

    def test_without_batch_norm_two_devices_give_the_curve_of_one(self):
        path = pathlib.Path(self.folder) / "group_norm.json"
        network = dataclasses.replace(
            training_testing.TINY, norm="group", norm_group_width=4
        )
        path.write_text(network.to_json())
        one = self.trained(variant=str(path)).losses(_STEPS)
        two = self.trained(variant=str(path), **ON_TWO)
        np.testing.assert_allclose(one, two.losses(_STEPS), atol=1e-5)
        # There are no statistics, and no dropout: nothing to average or keep.
        two.replicas.average_statistics()
        self.assertEqual(two.replicas.gather(), [])

    def test_two_devices_clip_as_one(self):
        fields = {"clip_norm": 0.1, "sync_bn": True}
        one = self.trained(**fields).losses(4)
        two = self.trained(**fields, **ON_TWO).losses(4)
        np.testing.assert_allclose(one, two, atol=1e-4)

    def test_parts_of_a_batch_are_like_replicas(self):
        """Both normalize each half of the batch by itself."""
        fields = {
            "weight_decay": 1e-2,
            "clip_norm": 0.5,
            "class_weights": np.linspace(0.1, 2, 10),
        }
        two = self.trained(**fields, **ON_TWO).losses(_STEPS)
        parts = self.trained(accumulation_steps=2, **fields)
        np.testing.assert_allclose(parts.losses(_STEPS), two, atol=1e-4)
        self.assertLess(two[-1], two[0])

    def test_class_weights_scale_the_gradient_as_they_scale_the_loss(self):
        """Equal ones are a factor of the learning rate, without decay."""
        fields = {"weight_decay": 0.0, "momentum": 0.0}
        halved = self.trained(
            class_weights=[0.5] * 10, base_learning_rate=0.1, **fields
        ).losses(4)
        plain = self.trained(base_learning_rate=0.05, **fields).losses(4)
        np.testing.assert_allclose(2 * np.array(halved), plain, rtol=1e-5)

    def test_parts_under_replicas_with_sync_bn(self):
        """A part is the images 0-3 and 8-11, and then all others."""
        fields = {"accumulation_steps": 2, "sync_bn": True}
        two = self.trained(**fields, **ON_TWO).losses(4)
        one = self.trained(**fields)
        order = np.arange(16).reshape(2, 2, 4).swapaxes(0, 1).ravel()
        one.batches = iter(
            data.train_pipeline(one.noise, one.config).map(
                lambda *batch: tuple(tf.gather(v, order) for v in batch)
            )
        )
        np.testing.assert_allclose(one.losses(4), two, atol=1e-4)

    def test_parts_that_do_not_divide(self):
        with self.assertRaisesRegex(ValueError, "images per replica: 8"):
            self.trained(accumulation_steps=3, **ON_TWO)

    @parameterized.parameters({}, ON_TWO)
    def test_averaged_weights(self, **fields):
        decay = 0.15  # Reached in the second step.
        trained = self.trained(ema_decay=decay, **fields)
        variables = trained.model.get_layer("head_fc").trainable_variables
        expected = [np.array(variable) for variable in variables]
        for step_number in (1, 2, 3, 4):
            trained.losses(1)
            kept = min(decay, (1 + step_number) / (10 + step_number))
            expected = [
                kept * old + (1 - kept) * np.array(variable)
                for old, variable in zip(expected, variables, strict=True)
            ]
        kept = [np.array(variable) for variable in variables]
        trained.state.averages.swap()
        for variable, value in zip(variables, expected, strict=True):
            for replica in trained.replica_values(variable):
                np.testing.assert_allclose(replica, value, atol=1e-6)
        trained.state.averages.swap()
        for variable, value in zip(variables, kept, strict=True):
            np.testing.assert_array_equal(variable, value)

    def test_replicas_are_gathered_and_set_again(self):
        two = self.trained(ema_decay=0.9, **ON_TWO)
        two.losses(2)
        variables = two.replicas.variables
        stacks = two.replicas.gather()
        self.assertGreater(np.ptp(stacks[0], axis=0).max(), 1e-5)
        for variable, stack in zip(variables, stacks, strict=True):
            np.testing.assert_array_equal(two.replica_values(variable), stack)
        changed = [stack[::-1] + 1 for stack in stacks]
        two.replicas.scatter(changed)
        for variable, stack in zip(variables, changed, strict=True):
            np.testing.assert_array_equal(two.replica_values(variable), stack)

    def test_replicas_draw_random_numbers_of_their_own(self):
        two = self.trained(dropout_rate=0.5, **ON_TWO)
        two.replicas.offset_seeds()
        two.losses(3)
        *_, stack = two.replicas.gather()
        one = self.trained(dropout_rate=0.5)
        one.replicas.offset_seeds()
        one.losses(3)
        *_, alone = one.replicas.gather()
        np.testing.assert_array_equal(stack[0], alone[0])
        self.assertNotEqual(stack[0, 0], stack[1, 0])
        self.assertEqual(stack[0, 1], stack[1, 1])

    def test_compiled_by_xla(self):
        """What a TPU would do as well."""
        one = self.trained().losses(3)
        compiled = self.trained(jit_compile=True).losses(3)
        np.testing.assert_allclose(one, compiled, atol=1e-4)

    def test_ends_after_a_loss_that_is_not_finite(self):
        trained = self.trained()
        trained.losses(1)
        bias = trained.model.get_layer("head_fc").bias
        bias.assign(np.full(bias.shape, np.inf))
        sums, done = trained.step.run(
            trained.batches, tf.constant(3), tf.zeros([4], tf.float64)
        )
        self.assertEqual(done, 1)
        self.assertFalse(np.isfinite(sums[0]))

    def test_moving_statistics_are_averaged(self):
        two = self.trained(**ON_TWO)
        two.losses(3)
        variable = two.model.get_layer("stem_conv_bn").moving_mean
        before = two.replica_values(variable)
        self.assertGreater(np.abs(before[0] - before[1]).max(), 1e-4)
        two.replicas.average_statistics()
        after = two.replica_values(variable)
        np.testing.assert_allclose(after[0], np.mean(before, axis=0), 1e-6)
        np.testing.assert_array_equal(after[0], after[1])

    @parameterized.parameters({}, ON_TWO)
    def test_evaluation_is_exact_with_an_uneven_last_batch(self, **fields):
        # 21 images in batches of 16: the second replica ends on padding.
        trained = self.trained(**fields)
        trained.losses(2)
        trained.replicas.average_statistics()
        loss, top1, top5, images = trained.evaluate()
        batches = data.eval_pipeline(trained.noise, trained.config)
        pixels = np.concatenate([batch[0] for batch in batches])[:21]
        labels = np.arange(21) % 10
        probabilities = np.asarray(trained.model(pixels, training=False))
        own = probabilities[np.arange(21), labels]
        rank = (probabilities > own[:, None]).sum(axis=1)
        self.assertEqual(images, 21)
        self.assertEqual(top1, (rank < 1).sum())
        self.assertEqual(top5, (rank < 5).sum())
        self.assertAlmostEqual(loss, -np.log(own).sum(), places=3)

    @parameterized.parameters({}, ON_TWO)
    def test_scores_are_those_of_every_image_once(self, **fields):
        images, _ = training_testing.attributes(21)
        labels = np.random.default_rng(0).uniform(size=(21, 10)) < 0.3
        split = dataset.in_memory(images, labels, "several labels")
        names = tuple("0123456789")
        several = dataset.DataSet(split, split, names, True, multilabel=True)
        trained = self.trained(**fields)
        batches = data.distribute(
            trained.strategy,
            trained.config,
            lambda shard: data.eval_pipeline(several, trained.config, shard),
        )
        scoring = step.ScoreStep(trained.strategy, trained.state)
        found = scoring.run(iter(batches), tf.constant(2))
        logits, scored, weights = (values.numpy() for values in found)
        real = weights > 0
        self.assertEqual((len(weights), real.sum()), (32, 21))
        expected = trained.state.logits(images.astype("float32"))
        order = [np.abs(expected - row).sum(1).argmin() for row in logits[real]]
        self.assertCountEqual(order, range(21))
        np.testing.assert_array_equal(scored[real], labels[order])
        np.testing.assert_allclose(
            logits[real], np.array(expected)[order], atol=1e-4
        )

    @parameterized.product(
        precision=["mixed_float16", "mixed_bfloat16"], fields=[{}, ON_TWO]
    )
    def test_mixed_precision_trains(self, precision, fields):
        self.enterContext(
            mock.patch.object(processor, "computes_bfloat16", return_value=True)
        )
        losses = self.trained(precision=precision, **fields).losses(8)
        self.assertTrue(np.isfinite(losses).all(), losses)
        self.assertLess(losses[-1], losses[0])

    @parameterized.parameters(15, 17)
    def test_a_batch_that_does_not_divide(self, batch):
        with self.assertRaisesRegex(
            ValueError, f"global_batch_size={batch}, replicas=2"
        ):
            self.trained(global_batch_size=batch, **ON_TWO)

    def test_logical_devices_need_mirrored(self):
        with self.assertRaisesRegex(ValueError, "num_cpu_devices=2"):
            self.trained(num_cpu_devices=2)


if __name__ == "__main__":
    absltest.main()
