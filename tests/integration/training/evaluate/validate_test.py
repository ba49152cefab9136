"""Tests of validate.py with every kind of model."""

import csv
import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile

import keras
import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import results
from keras_regnet.export import saved_model
from tests.support import paths
from tests.support import training_testing
from training.config import config as train_config
from training.config import network as network_lib
from training.data import load
from training.data import pipeline as train_data
from training.evaluate import evaluate
from training.evaluate import predictors


class ModelsTest(parameterized.TestCase):
    """One network in all its forms gives one result."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.folder = pathlib.Path(folder)
        config = training_testing.tiny_config(folder)
        cls.variant = config.variant
        keras.utils.set_random_seed(0)
        network = network_lib.network_config(config)
        model = network_lib.build(config, network, 10)
        # Something else than one probability for all.
        head = model.get_layer(network_lib.HEAD)
        head.kernel.assign(head.kernel * 300)
        cls.run_folder = cls.folder / "run"
        cls.run_folder.mkdir()
        model.save(cls.run_folder / "model.keras")
        record = {"config": dataclasses.asdict(config)}
        (cls.run_folder / "config.json").write_text(json.dumps(record))
        saved_model.save(model, cls.folder / "saved")
        fixed = keras.Sequential([keras.Input((32, 32, 3), 1), model])
        converter = tf.lite.TFLiteConverter.from_keras_model(fixed)
        (cls.folder / "model.tflite").write_bytes(converter.convert())
        cls.config = train_config.TrainConfig(
            dataset="digits", eval_image_size=32, global_batch_size=64
        )
        cls.data = load.load_dataset(cls.config)
        images, labels, weights = (
            np.concatenate(arrays)
            for arrays in zip(
                *train_data.eval_pipeline(
                    cls.data, cls.config
                ).as_numpy_iterator(),
                strict=True,
            )
        )
        cls.images, cls.labels = images[weights > 0], labels[weights > 0]
        cls.model = model

    def path_of(self, kind):
        return {
            "run": str(self.run_folder),
            "keras": str(self.run_folder / "model.keras"),
            "saved_model": str(self.folder / "saved"),
            "tflite": str(self.folder / "model.tflite"),
            "variant": self.variant,
        }[kind]

    @parameterized.parameters("run", "keras", "saved_model", "tflite",
                              "variant")  # fmt: skip
    def test_every_kind(self, kind):
        weights = str(self.run_folder) if kind == "variant" else ""
        predictor = predictors.load(self.path_of(kind), weights)
        found = evaluate.evaluate(predictor, self.data, self.config)
        expected = self.model.predict(self.images, verbose=0)
        hits = expected.argmax(1) == self.labels
        self.assertEqual(found.metrics.images, 360)
        self.assertAlmostEqual(found.metrics.top1, 100 * hits.mean(), places=5)
        self.assertAlmostEqual(
            found.metrics.loss,
            -np.log(expected[np.arange(360), self.labels]).mean(),
            places=3,
        )
        self.assertGreater(found.row["images_per_second"], 0)
        self.assertEqual(found.row["model"], self.path_of(kind))
        self.assertEqual(found.row["weights"], weights)

    def test_one_batch_is_not_timed(self):
        predictor = predictors.load(self.path_of("keras"))
        config = dataclasses.replace(self.config, global_batch_size=360)
        found = evaluate.evaluate(predictor, self.data, config)
        self.assertIsNone(found.row["images_per_second"])

    def test_flip_tta(self):
        predictor = predictors.load(self.path_of("keras"))
        found = evaluate.evaluate(
            predictor, self.data, self.config, flip_tta=True
        )
        expected = self.model.predict(self.images, verbose=0)
        expected += self.model.predict(self.images[:, :, ::-1], verbose=0)
        self.assertAlmostEqual(
            found.metrics.loss,
            -np.log(expected[np.arange(360), self.labels] / 2).mean(),
            places=3,
        )

    def test_what_is_wrong(self):
        for arguments, message in (
            (("RegNetX-200MF", ""), "needs `weights`"),
            (("RegNetX-201MF", "x"), "Did you mean"),
            ((str(self.run_folder), "x"), "a file or folder has its own"),
            ((str(self.folder / "no.keras"), ""), "does not exist"),
            ((str(self.folder / "no.tflite"), ""), "does not exist"),
            (("runs/none", ""), "`model` does not exist"),
            (("runs/none.json", "x"), "`variant` names a file that does not"),
            ((str(self.folder), ""), "must be a run folder"),
            ((str(self.folder / "no.pth"), ""), "does not exist"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                predictors.load(*arguments)
        for suffix, message in (
            (".keras", "is not a readable .keras file"),
            (".tflite", "is not a LiteRT file"),
        ):
            broken = self.folder / f"broken{suffix}"
            broken.write_bytes(b"nothing of the kind")
            with self.assertRaisesRegex(ValueError, message):
                predictors.load(str(broken))
        with self.assertRaisesRegex(ValueError, "must be 32 for this model"):
            evaluate.evaluate(
                predictors.load(self.path_of("tflite")),
                self.data,
                dataclasses.replace(self.config, eval_image_size=48),
            )
        other = training_testing.noise_set(8, 8)
        other = dataclasses.replace(other, class_names=("a", "b"))
        for arguments in (
            (self.path_of("run"),),
            (self.variant, self.path_of("run")),
        ):
            with self.assertRaisesRegex(ValueError, "10 classes .* for 2"):
                evaluate.evaluate(
                    predictors.load(*arguments), other, self.config
                )

    def test_the_command(self):
        tool = paths.ROOT / "training" / "validate.py"
        results = self.folder / "results.csv"
        result = subprocess.run(
            [sys.executable, str(tool), f"--model={self.run_folder}",
             f"--results={results}", f"--details={self.folder / 'more'}"],
            cwd=self.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("calibration_error", result.stdout)
        with results.open() as file:
            rows = list(csv.DictReader(file))
        # Size and data set are the run's.
        self.assertEqual([row["image_size"] for row in rows], ["32"])
        self.assertEqual(rows[0]["source"], "validate")
        self.assertEqual(rows[0]["model"], str(self.run_folder))
        expected = self.model.predict(self.images, verbose=0).argmax(1)
        self.assertAlmostEqual(
            float(rows[0]["top1"]),
            100 * (expected == self.labels).mean(),
            places=3,
        )
        with (self.folder / "more" / "per_class.csv").open() as file:
            per_class = list(csv.DictReader(file))
        self.assertEqual(sum(int(row["images"]) for row in per_class), 360)
        with (self.folder / "more" / "confusion.csv").open() as file:
            counts = [row[1:] for row in csv.reader(file)][1:]
        self.assertEqual(np.array(counts, int).sum(), 360)

    def test_a_file_of_other_columns(self):
        path = self.folder / "other.csv"
        path.write_text("a,b\n1,2\n")
        with self.assertRaisesRegex(ValueError, "with a,b"):
            results.append(path, {})


if __name__ == "__main__":
    absltest.main()
