"""Runs on images with several labels: from a folder to the exported files."""

import csv
import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import keras
import numpy as np
import pytest
from absl.testing import absltest

from keras_regnet import open_model
from keras_regnet.export import litert
from tests.support import paths
from tests.support import training_testing
from training.config import config as train_config
from training.config import network as network_lib
from training.data import load
from training.data import pipeline
from training.evaluate import evaluate
from training.evaluate import multilabel
from training.evaluate import predictors
from training.trainer import train
from training.workdir import checkpoint
from training.workdir import files

_NAMES = training_testing.ATTRIBUTES


def _config(folder, data, **fields):
    return training_testing.tiny_config(
        str(folder),
        **{
            "dataset": f"folder:{data}",
            "augmentation": "none",
            "epochs": 4,
            "global_batch_size": 24,
            "base_batch_size": 24,
            "base_learning_rate": 0.2,
            "threshold": 0.4,
            **fields,
        },
    )


def _rows(config):
    with (pathlib.Path(config.workdir) / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


class ExportedRunTest(absltest.TestCase):
    """A run that learns two attributes, and what it exports."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.folder = pathlib.Path(folder)
        cls.set = cls.folder / "set"
        # Not a multiple of the batch: the last one is a part.
        training_testing.write_attributes(cls.set, 124)
        cls.config = _config(
            cls.folder, cls.set, results=str(cls.folder / "results.csv")
        )
        train.train_and_evaluate(cls.config)
        cls.run_folder = pathlib.Path(cls.config.workdir)
        keras.config.set_dtype_policy("float32")

    def test_it_has_learned(self):
        rows = _rows(self.config)
        self.assertEqual(
            tuple(rows[0]), (*files.COLUMNS, *files.MULTILABEL_COLUMNS)
        )
        self.assertLen(rows, 4)
        *_, last = rows
        self.assertGreater(float(last["val_map"]), 97)
        self.assertGreater(float(last["val_f1"]), 90)
        self.assertLess(float(last["val_loss"]), float(rows[0]["val_loss"]))
        self.assertEqual(last["val_threshold"], "0.4")
        for name in ("train_top1", "val_top1", "val_top5"):
            self.assertEqual(last[name], "")
        with (self.folder / "results.csv").open() as file:
            (row,) = csv.DictReader(file)
        self.assertEqual((row["source"], row["top1"]), ("train", ""))
        self.assertEqual(row["map"], last["val_map"])
        self.assertEqual(row["f1"], last["val_f1"])

    def test_the_model_gives_each_class_by_itself(self):
        images, labels = training_testing.attributes(124, seed=1)
        model = keras.saving.load_model(self.run_folder / "model.keras")
        outputs = model.predict(images.astype("float32"), verbose=0)
        self.assertLess(np.abs(outputs - labels).mean(), 0.1)
        text = (self.run_folder / "saved_model" / "labels.txt").read_text()
        self.assertEqual(tuple(text.split()), _NAMES)

    def test_validation_finds_what_the_run_reported(self):
        *_, last = _rows(self.config)
        for path in (self.run_folder, self.run_folder / "saved_model"):
            predictor = predictors.load(str(path))
            settings = evaluate.settings(predictor, {})
            self.assertEqual(settings["threshold"], 0.4)
            config = train_config.TrainConfig(global_batch_size=50, **settings)
            data = load.load_dataset(config)
            found = evaluate.evaluate(predictor, data, config)
            self.assertEqual(found.class_names, _NAMES)
            for name in ("map", "precision", "recall", "f1", "loss"):
                self.assertAlmostEqual(
                    getattr(found.metrics, name),
                    float(last[f"val_{name}"]),
                    delta=0.02,
                )

    def test_the_program_that_validates(self):
        done = subprocess.run(
            [
                sys.executable,
                str(paths.ROOT / "training" / "validate.py"),
                f"--model={self.run_folder}",
                "--threshold=0.9999999",
                f"--results={self.folder / 'validated.csv'}",
                f"--details={self.folder / 'details'}",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        printed = dict(re.findall(r"(?m)^(\w+) +(\S.*)$", done.stdout))
        self.assertGreater(float(printed["map"]), 97)
        self.assertLess(float(printed["recall"]), 50)
        self.assertGreater(float(printed["best_f1"]), 90)
        for name in _NAMES:
            self.assertEqual(printed[name].split()[0], "62")
        with (self.folder / "validated.csv").open() as file:
            (row,) = csv.DictReader(file)
        self.assertEqual(row["threshold"], "1")
        self.assertEqual(os.listdir(self.folder / "details"), ["per_class.csv"])

    def test_the_client_of_an_exported_file(self):
        model = keras.saving.load_model(self.run_folder / "model.keras")
        self.assertEqual(model.record.threshold, 0.4)
        self.assertEqual(model.class_names, _NAMES)
        path = self.folder / "model.tflite"
        litert.save(model, path, image_size=32)
        stored = json.loads(path.with_suffix(".record.json").read_text())
        self.assertEqual(stored["threshold"], 0.4)
        opened = open_model.open_model(path)
        self.assertEqual(opened.record.threshold, 0.4)
        # Of the four cases one each, as the images are in order.
        photos = [self.set / "valid" / f"{i:03d}.png" for i in range(4)]
        done = subprocess.run(
            [
                sys.executable,
                str(paths.ROOT / "examples" / "classify.py"),
                str(path),
                *map(str, photos),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        shown = [
            sorted(re.findall(r"%  (\w+)", part))
            for part in re.split(r"(?m)^.*png .*ms.$", done.stdout)[1:]
        ]
        self.assertEqual(
            shown, [[], ["bright"], ["striped"], ["bright", "striped"]]
        )
        self.assertIn("no class has 40.0%", done.stdout)

    @pytest.mark.long
    def test_another_threshold_exports_again(self):
        run = self.folder / "copy"
        shutil.copytree(self.run_folder, run)
        config = dataclasses.replace(
            self.config, workdir=str(run), threshold=0.6, results=""
        )
        position = checkpoint.newest(run / "checkpoints").position
        self.assertFalse(files.is_finished(run, config, position))
        config = dataclasses.replace(config, threshold=0.4)
        self.assertTrue(files.is_finished(run, config, position))
        files.check(run, config, training_testing.TINY)

    def test_weights_for_another_run(self):
        config = _config(
            self.folder,
            self.set,
            weights=str(self.run_folder),
            workdir=str(self.folder / "again"),
            epochs=1,
            base_learning_rate=1e-9,
        )
        train.train_and_evaluate(config, training_testing.NoExport())
        # The classifier is there too: nothing is left to learn.
        (row,) = _rows(config)
        self.assertGreater(float(row["val_map"]), 97)


class ResumeTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )
        training_testing.write_attributes(self.folder / "set", 50)

    def config(self, name, **fields):
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return _config(
            folder,
            self.folder / "set",
            epochs=2,
            checkpoint_steps=1,
            mixup_alpha=0.3,
            label_smoothing=0.1,
            dropout_rate=0.2,
            **fields,
        )

    def test_to_the_bit(self):
        whole, parts = training_testing.NoExport(), training_testing.NoExport()
        config = self.config("whole")
        train.train_and_evaluate(config, whole)
        resumed = self.config("parts")
        training_testing.train_until_killed(resumed, "before_evaluation", 1)
        training_testing.train_until_killed(resumed, "before_steps", 2)
        train.train_and_evaluate(resumed, parts)
        for layer, arrays in whole.exports[0].items():
            for one, other in zip(arrays, parts.exports[0][layer], strict=True):
                np.testing.assert_array_equal(one, other, layer)
        timed = ("images_per_second", "data_wait", "train_seconds",
                 "eval_seconds")  # fmt: skip
        for one, other in zip(_rows(config), _rows(resumed), strict=True):
            self.assertEqual(
                {k: v for k, v in one.items() if k not in timed},
                {k: v for k, v in other.items() if k not in timed},
            )

    @pytest.mark.long
    def test_two_replicas(self):
        config = self.config("two", strategy="mirrored", num_cpu_devices=2)
        config = dataclasses.replace(config, epochs=1, export_best=True)
        hooks = training_testing.NoExport()
        train.train_and_evaluate(config, hooks)
        (row,) = _rows(config)
        # Those weights, on all images, one batch after the other.
        config = dataclasses.replace(config, strategy="one_device")
        images, labels, weights = (
            np.concatenate(arrays)
            for arrays in zip(
                *pipeline.eval_pipeline(load.load_dataset(config), config),
                strict=True,
            )
        )
        model = network_lib.build(
            config, training_testing.TINY, 2, multilabel=True
        )
        network_lib.set_layer_weights(model, hooks.exports[0])
        scores = model.predict(images, verbose=0)
        expected = multilabel.compute(
            scores[weights > 0], labels[weights > 0], 0.4
        )
        self.assertEqual(expected.images, 50)
        for name in ("map", "precision", "recall", "f1", "loss"):
            self.assertAlmostEqual(
                float(row[f"val_{name}"]), getattr(expected, name), delta=0.05
            )


if __name__ == "__main__":
    absltest.main()
