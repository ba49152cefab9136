"""Tests of --dry_run and of the memory that it counts."""

import dataclasses
import json
import os
import pathlib
import tempfile
from unittest import mock

import keras
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from tests.support import training_testing
from training.config import network as network_lib
from training.trainer import dry_run
from training.trainer import memory
from training.workdir import files


class DryRunTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.temp = self.enterContext(tempfile.TemporaryDirectory())

    def report(self, **fields):
        config = training_testing.tiny_config(self.temp, **fields)
        before = sorted(pathlib.Path(self.temp).rglob("*"))
        found = dry_run.report(config)
        self.assertEqual(sorted(pathlib.Path(self.temp).rglob("*")), before)
        return found

    def test_says_what_the_run_would_be(self):
        found = self.report(ema_decay=0.9)
        self.assertIn("\n* ema_decay = 0.9\n", found)
        self.assertIn("\n  momentum = 0.9\n", found)
        # 1437 images: five batches of 256.
        self.assertIn("10 steps of 256 images, 5 in an epoch, 2 epochs", found)
        complexity = keras_regnet.complexity(
            training_testing.TINY, (32, 32, 3), classes=10
        )
        self.assertIn(f"{complexity.flops / 1e6:.3g} M multiply", found)
        # Weights, velocities, averages; and the statistics twice.
        model = network_lib.build(
            training_testing.tiny_config(self.temp), training_testing.TINY, 10
        )
        trainable = sum(v.value.numpy().size for v in model.trainable_variables)
        moving = sum(
            v.value.numpy().size for v in model.weights if "moving" in v.path
        )
        size = 4 * (3 * trainable + 2 * moving) / 1e6
        self.assertIn(f"(variables {size:.2f} MB", found)
        self.assertIn("a new run in ", found)

    def test_class_weights_and_early_stopping(self):
        weights = pathlib.Path(self.temp) / "weights.csv"
        # Twice, but for the tenth of the images that are zeros.
        rows = [f"{n},{2 if n else 4}" for n in range(10)]
        weights.write_text("\n".join(rows))
        found = self.report(
            class_weights=str(weights),
            early_stopping_epochs=7,
            image_size="32x64",
        )
        self.assertRegex(
            found, r"class weights \(.*'0' 4, '1' 2, .*; 2.198 on av"
        )
        self.assertIn("scale the loss, and with it the learning rate", found)
        self.assertIn("stops after 7 epochs that are not better", found)
        self.assertIn("multiply-adds at 32x64 pixels", found)
        found = self.report(class_weights="balanced")
        self.assertRegex(
            found, r"class weights \(balanced\): '0' 1.012, .*\d\n"
        )

    def test_a_run_that_is_there(self):
        config = training_testing.tiny_config(self.temp)
        folder = pathlib.Path(config.workdir)
        files.write_config(
            folder,
            config,
            keras_regnet.weights.resolve(None, training_testing.TINY),
        )
        found = mock.Mock()
        found.position.step, found.position.epoch = 7, 1
        with mock.patch.object(dry_run.checkpoint, "newest") as newest:
            newest.return_value = found
            self.assertIn("would resume from step 7", self.report())
        with self.assertRaisesRegex(ValueError, "seed: 0 in the folder, 1"):
            self.report(seed=1)

    def test_nothing_is_fetched(self):
        with self.assertRaisesRegex(ValueError, "not prepared.*'mnist'"):
            self.report(dataset="mnist", data_dir=self.temp)
        found = self.report(weights="hf:timm/any")
        self.assertIn("the weights hf:timm/any were not looked for", found)

    @parameterized.parameters(
        ({"weights": "imagenet"}, "`weights`.*imagenet"),
        ({"weights": "runs/none/model.keras"}, "does not exist"),
        ({"head_epochs": 1.0}, "`head_epochs` needs `weights`"),
        ({"frozen_bn": True}, "`frozen_bn` needs `weights`"),
        ({"accumulation_steps": 3}, "must divide.*per replica: 256"),
        ({"results": "config.json"}, "`results` must be a file with"),
    )
    def test_what_would_stop_the_run_stops_it(self, fields, message):
        if "results" in fields:
            path = pathlib.Path(self.temp) / fields["results"]
            path.write_text("{}")
            fields = {"results": str(path)}
        with self.assertRaisesRegex(ValueError, message):
            self.report(**fields)

    def test_a_file_in_place_of_the_run_folder(self):
        path = pathlib.Path(self.temp) / "file"
        path.write_text("")
        for workdir in (path, path / "run"):
            with self.assertRaisesRegex(ValueError, "`workdir`.*is a file"):
                self.report(workdir=str(workdir))

    def test_what_a_cluster_cannot_compile(self):
        fields = {"strategy": "multi_worker", "worker_hosts": "one:1,two:2"}
        with self.assertRaisesRegex(ValueError, "`sync_bn`.*replicas=2"):
            self.report(sync_bn=True, jit_compile=True, **fields)

    def test_a_cluster_is_not_waited_for(self):
        found = self.report(
            strategy="multi_worker", worker_hosts="one:1,two:2,six:6,ten:9"
        )
        self.assertIn("strategy multi_worker, 4 replicas", found)
        cluster = {"chief": ["a:1"], "worker": ["b:1"]}
        text = json.dumps(
            {"cluster": cluster, "task": {"type": "worker", "index": 0}}
        )
        with mock.patch.dict(os.environ, {"TF_CONFIG": text}):
            found = self.report(strategy="multi_worker")
        self.assertIn("strategy multi_worker, 2 replicas", found)
        with self.assertRaisesRegex(ValueError, "=256, replicas=3"):
            self.report(strategy="multi_worker", worker_hosts="a:1,b:2,c:3")


class MemoryTest(absltest.TestCase):
    def test_activations_by_hand(self):
        inputs = keras.Input((None, None, 3))
        x = keras.layers.Conv2D(4, 3, padding="same", strides=2)(inputs)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.Activation("relu")(x)
        x = keras.layers.Conv2D(6, 1)(x)
        x = keras.layers.GlobalAveragePooling2D()(x)
        model = keras.Model(inputs, keras.layers.Dense(10)(x))
        # Input; first convolution; relu, once; what the classifier sees.
        expected = 8 * 8 * 3 + 4 * 4 * 4 + 4 * 4 * 4 + 6
        self.assertEqual(memory.activation_bytes(model, (8, 8)), 4 * expected)

    def test_parts_and_replicas(self):
        with tempfile.TemporaryDirectory() as folder:
            config = training_testing.tiny_config(folder)
        model = network_lib.build(config, training_testing.TINY, 10)
        optimizer = keras.optimizers.SGD(0.1)
        optimizer.build(model.trainable_variables)

        def estimate(replicas=1, **fields):
            changed = dataclasses.replace(config, **fields)
            return memory.estimate(model, optimizer, changed, replicas)

        whole, half = estimate(), estimate(replicas=2)
        self.assertEqual(whole.images, 2 * 256 * 32 * 32 * 3 * 4)
        self.assertEqual(half.images, whole.images // 2)
        self.assertEqual(half.activations, whole.activations // 2)
        parts = estimate(accumulation_steps=4)
        self.assertEqual(parts.activations, whole.activations // 4)
        self.assertEqual(parts.gradients, 2 * whole.gradients)
        self.assertEqual(parts.images, whole.images)


if __name__ == "__main__":
    absltest.main()
