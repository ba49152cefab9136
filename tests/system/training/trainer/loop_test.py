"""Tests of whole runs: files, resuming, and what stops them."""

import csv
import dataclasses
import errno
import json
import os
import pathlib
import signal
import tempfile
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized

from tests.support import training_testing
from training.config import config as train_config
from training.config import network as network_lib
from training.data import load
from training.data import pipeline as train_data
from training.trainer import train as train_lib
from training.workdir import checkpoint
from training.workdir import files


def train(config, hooks=None):
    return train_lib.train_and_evaluate(config, hooks).folder


def train_without_export(config):
    return train(config, training_testing.NoExport())


def newest(folder):
    return checkpoint.newest(folder / "checkpoints")


def rows(folder):
    with open(folder / "metrics.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def without_times(found):
    timed = ("images_per_second", "data_wait", "train_seconds", "eval_seconds")
    return [
        {name: value for name, value in row.items() if name not in timed}
        for row in found
    ]


class RunTest(parameterized.TestCase):
    """One run of two epochs, looked at from all sides."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.temp = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.config = training_testing.tiny_config(cls.temp)
        cls.folder = train(cls.config)

    def again(self, **fields):
        return train(dataclasses.replace(self.config, **fields))

    def test_metrics(self):
        found = rows(self.folder)
        self.assertEqual(tuple(found[0]), files.COLUMNS)
        self.assertEqual([row["epoch"] for row in found], ["1", "2"])
        self.assertEqual([row["step"] for row in found], ["5", "10"])
        for row in found:
            self.assertBetween(float(row["val_top1"]), 0, 100)
            self.assertGreater(float(row["images_per_second"]), 0)

    def test_config(self):
        stored = json.loads((self.folder / "config.json").read_text())
        self.assertEqual(stored["config"], dataclasses.asdict(self.config))
        self.assertEqual(stored["network"]["depth"], 2)
        self.assertEqual(stored["versions"]["tensorflow"], tf.__version__)
        self.assertIn("git_revision", stored)

    def test_events(self):
        (path,) = (self.folder / "events").iterdir()
        found = list(tf.compat.v1.train.summary_iterator(str(path)))
        values = {
            value.tag: value for event in found for value in event.summary.value
        }
        self.assertEqual(set(values), {*files.COLUMNS[2:], "training images"})
        (graph,) = [event.graph_def for event in found if event.graph_def]
        graph = tf.compat.v1.GraphDef.FromString(graph)
        self.assertIn("images", {node.name for node in graph.node})
        self.assertIn("Conv2D", str({node.op for node in graph.node}))
        images = values["training images"]
        self.assertEqual(images.metadata.plugin_data.plugin_name, "images")
        width, height, *pictures = images.tensor.string_val
        self.assertEqual((width, height), (b"32", b"32"))
        # What the first step trains on, in its order.
        (batch, labels), *_ = train_data.train_pipeline(
            load.load_dataset(self.config), self.config
        ).take(1)
        self.assertLen(pictures, 16)
        for file, expected in zip(pictures, batch, strict=False):
            np.testing.assert_array_equal(
                tf.io.decode_png(file), np.round(expected)
            )
        names = images.metadata.summary_description.split(", ")
        self.assertEqual([int(name) for name in names], list(labels[:16]))

    def test_model_and_saved_model_agree(self):
        model = keras.saving.load_model(self.folder / "model.keras")
        loaded = tf.saved_model.load(self.folder / "saved_model")
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (2, 40, 50, 3), np.uint8)
        served = loaded.signatures["serving_default"](
            images=tf.constant(images)
        )["probabilities"]
        np.testing.assert_allclose(
            served, model.predict_on_batch(images), atol=1e-5
        )
        self.assertEqual(
            (self.folder / "saved_model" / "labels.txt").read_text(),
            "".join(f"{digit}\n" for digit in range(10)),
        )

    def test_no_temporary_files_are_left(self):
        self.assertCountEqual(
            os.listdir(self.folder),
            [
                "config.json",
                "data.json",
                "exported_step.txt",
                "outcome.json",
                "metrics.csv",
                "curves.png",
                "events",
                "checkpoints",
                "model.keras",
                "saved_model",
            ],
        )

    def test_a_finished_run_is_left_alone(self):
        before = (self.folder / "model.keras").stat().st_mtime_ns
        with self.assertLogs("absl", "INFO") as logs:
            self.again()
        self.assertRegex(logs.output[-1], "is finished: 2 epochs")
        self.assertEqual(
            before, (self.folder / "model.keras").stat().st_mtime_ns
        )

    def test_another_configuration(self):
        with self.assertRaisesRegex(
            ValueError,
            "seed: 0 in the folder, 1 requested; flip: False in the folder",
        ):
            self.again(seed=1, flip=True)

    def test_fewer_epochs(self):
        with self.assertRaisesRegex(ValueError, "epochs: 2 in the folder, 1"):
            self.again(epochs=1)

    def test_another_network_under_the_same_name(self):
        other = os.path.join(self.temp, "other.json")
        config = dataclasses.replace(self.config, variant=other)
        with mock.patch.object(train_config, "differences", return_value=[]):
            wider = dataclasses.replace(training_testing.TINY, stem_width=16)
            pathlib.Path(other).write_text(wider.to_json())
            with self.assertRaisesRegex(ValueError, "variant: what"):
                train(config)

    def start(self, weights, network=training_testing.TINY, classes=10):
        """Returns the model that a run from some weights begins with."""
        names = tuple(str(number) for number in range(classes))
        resolved = network_lib.resolve(str(weights), network, names)
        return network_lib.build(
            self.config, resolved.config, classes, resolved
        )

    def assert_starts(self, model, *, with_head):
        donor = keras.saving.load_model(self.folder / "model.keras")
        for ours, theirs in zip(model.weights, donor.weights, strict=True):
            if with_head or not ours.path.startswith("head_fc"):
                np.testing.assert_array_equal(ours, theirs, ours.path)

    def test_weights_of_a_run(self):
        """A new run may start from another run's weights."""
        for source in (self.folder, self.folder / "model.keras"):
            self.assert_starts(self.start(source), with_head=True)
        with self.assertLogs("absl") as logs:
            model = self.start(self.folder, classes=7)
        self.assertIn("classifies 10 classes and the model 7", logs.output[0])
        self.assert_starts(model, with_head=False)

    def test_h5_weights(self):
        model = keras.saving.load_model(self.folder / "model.keras")
        path = os.path.join(self.temp, "tiny.weights.h5")
        model.save_weights(path)
        for classes, kept in ((10, True), (7, False)):
            self.assert_starts(
                self.start(path, classes=classes), with_head=kept
            )

    def test_weights_of_another_network(self):
        wider = dataclasses.replace(training_testing.TINY, stem_width=16)
        with self.assertRaisesRegex(
            ValueError, "holds .*stem_width=8, but .*stem_width=16 was req"
        ):
            self.start(self.folder, wider)


class ResumeTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.temp = self.enterContext(tempfile.TemporaryDirectory())

    def config(self, name, **fields):
        fields = {"augmentation": "pad_crop", "epochs": 3, **fields}
        return training_testing.tiny_config(
            self.temp, workdir=os.path.join(self.temp, name), **fields
        )

    def assert_equal_runs(self, one, other):
        for name, expected in newest(one).arrays.items():
            np.testing.assert_array_equal(
                expected, newest(other).arrays[name], name
            )
        self.assertEqual(without_times(rows(one)), without_times(rows(other)))

    @parameterized.named_parameters(
        (
            "one_device",
            {
                "accumulation_steps": 2,
                "dropout_rate": 0.3,
                "drop_path_rate": 0.2,
            },
        ),
        (
            "mirrored",
            {
                "strategy": "mirrored",
                "num_cpu_devices": 2,
                "drop_path_rate": 0.2,
            },
        ),
    )
    def test_killed_and_restarted_equals_uninterrupted(self, fields):
        # One step per call; five in an epoch.
        fields = {"ema_decay": 0.9, "log_seconds": 0.0, **fields}
        whole = train_without_export(self.config("whole", **fields))
        config = self.config("killed", checkpoint_steps=2, **fields)
        folder = pathlib.Path(config.workdir)
        # Before a step of the second epoch, and in its evaluation.
        for hook, call, step in (
            ("before_steps", 8, 6),
            ("before_evaluation", 1, 8),
        ):
            training_testing.train_until_killed(config, hook, call)
            self.assertEqual(newest(folder).position.step, step)
        with self.assertLogs("absl", "INFO") as logs:
            train_without_export(config)
        self.assertIn("from step 8 ", "\n".join(logs.output))
        self.assert_equal_runs(whole, folder)

    @parameterized.parameters("before_steps", "before_evaluation")
    def test_sigterm_saves_and_returns(self, hook):
        fields = {
            "strategy": "mirrored",
            "num_cpu_devices": 2,
            "ema_decay": 0.9,
            "log_seconds": 0.0,
            "epochs": 2,
        }
        whole = train_without_export(self.config("whole", **fields))
        config = self.config("stopped", **fields)
        stop = training_testing.StopAt(hook, 2, signal.SIGTERM)
        with self.assertLogs("absl", "INFO") as logs:
            train(config, stop)
        folder = pathlib.Path(config.workdir)
        step = 2 if hook == "before_steps" else 10
        self.assertEqual(newest(folder).position.step, step)
        self.assertIn(f"stopped after step {step};", logs.output[-1])
        self.assertFalse((folder / "exported_step.txt").exists())
        train_without_export(config)
        self.assert_equal_runs(whole, folder)

    def test_sigterm_with_nothing_to_save(self):
        config = self.config("early")
        with (
            mock.patch.object(
                load,
                "load_dataset",
                side_effect=lambda _: os.kill(os.getpid(), signal.SIGTERM),
            ),
            self.assertRaisesRegex(SystemExit, "^0$"),
        ):
            train_without_export(config)

    def test_more_epochs_go_on(self):
        config = self.config("longer", epochs=1)
        train_without_export(config)
        folder = train_without_export(dataclasses.replace(config, epochs=2))
        self.assertEqual([row["epoch"] for row in rows(folder)], ["1", "2"])
        stored = json.loads((folder / "config.json").read_text())
        self.assertEqual(stored["config"]["epochs"], 2)

    def test_not_finite(self):
        config = self.config("nan", base_learning_rate=1e30, epochs=20)
        with self.assertRaisesRegex(
            ValueError,
            r"step \d+.* is not finite; the last good checkpoint is "
            r"(none|.*npz)",
        ) as raised:
            train_without_export(config)
        # What it names holds no such number.
        folder = pathlib.Path(config.workdir)
        if found := newest(folder):
            self.assertIn(found.path.name, str(raised.exception))
            for name, array in found.arrays.items():
                self.assertTrue(np.isfinite(array).all(), name)

    def test_a_full_disk_names_the_last_good_checkpoint(self):
        config = self.config("full", checkpoint_steps=2, log_seconds=0.0)
        fsync, calls = os.fsync, []

        def full(handle):
            # A checkpoint's file and its folder, and so for the next.
            name = os.readlink(f"/proc/self/fd/{handle}")
            calls.append(name)
            if "step-000000004" in name:
                raise OSError(errno.ENOSPC, "No space left on device")
            fsync(handle)

        with (
            mock.patch.object(os, "fsync", full),
            self.assertRaisesRegex(
                OSError,
                "No space left.*last good checkpoint is .*step-000000002.npz.*"
                "step-000000004",
            ),
        ):
            train_without_export(config)
        found = newest(pathlib.Path(config.workdir))
        self.assertEqual(found.position.step, 2)

    def test_a_corrupt_image_is_named(self):
        root = pathlib.Path(self.temp) / "set"
        training_testing.write_folder(root)
        path = root / "train" / "dog" / "3.jpg"
        path.write_bytes(path.read_bytes()[:300])
        config = self.config(
            "corrupt",
            dataset=f"folder:{root}",
            augmentation="auto",
            global_batch_size=4,
        )
        with self.assertRaisesRegex(ValueError, r"Corrupt.*train/dog/3\.jpg"):
            train_without_export(config)

    def test_a_corrupt_validation_image_is_named(self):
        root = pathlib.Path(self.temp) / "set"
        training_testing.write_folder(root)
        (root / "val" / "cat" / "0.jpg").write_bytes(b"no image")
        config = self.config(
            "corrupt_val", dataset=f"folder:{root}", global_batch_size=4
        )
        with self.assertRaisesRegex(ValueError, r"Corrupt.*val/cat/0\.jpg"):
            train_without_export(config)


if __name__ == "__main__":
    absltest.main()
