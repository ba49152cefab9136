"""Tests of the command line of the export."""

import csv
import json
import os
import shutil
from unittest import mock

import keras
import numpy as np
from absl.testing import absltest

import keras_regnet
from keras_regnet import export
from keras_regnet import open_model
from keras_regnet.export import images as export_images
from tests.support import command_testing
from tests.support import export_testing
from training.config import config as train_config
from training.data import folder as folder_data
from training.data import pipeline


class CommandTest(command_testing.CommandTestCase):
    def test_int8_of_a_run(self):
        status, output, errors = self.command(
            "{inputs}/run",
            "--quantize=int8",
            "--representative={inputs}/photos",
            "--report={out}/report.json",
            "--results={out}/results.csv",
            "--out={out}/model.tflite",
        )
        self.assertEqual((status, errors), (0, ""))
        self.assertCountEqual(
            os.listdir(self.folder),
            [
                "model.tflite",
                "model.labels.txt",
                "model.record.json",
                "report.json",
                "results.csv",
            ],
        )
        for words in (
            "int8 ranges of 6 images of the folder",
            "worst layers",
            "top-1 accuracy",
            "XNNPACK",
        ):
            self.assertIn(words, output)
        report = json.loads((self.folder / "report.json").read_text())
        self.assertEqual(report["images"], 6)
        self.assertTrue(report["passed"])
        with (self.folder / "results.csv").open() as file:
            (row,) = csv.DictReader(file)
        self.assertEqual((row["source"], row["images"]), ("export", "6"))
        self.assertAlmostEqual(
            float(row["top1"]), 100 * report["file_accuracy"], 3
        )

    def test_a_run_that_is_evaluated_at_another_size(self):
        run = self.folder / "run"
        shutil.copytree(self.run_folder, run)
        settings = {
            "image_size": 32,
            "eval_image_size": 48,
            "eval_crop_fraction": 0.75,
            "interpolation": "bicubic",
            "antialias": True,
        }
        (run / "config.json").write_text(json.dumps({"config": settings}))
        status, _, errors = self.command(
            "{out}/run",
            "--images={inputs}/photos",
            "--results={out}/results.csv",
            "--out={out}/model.tflite",
        )
        self.assertEqual((status, errors), (0, ""))
        with (self.folder / "results.csv").open() as file:
            (row,) = csv.DictReader(file)
        self.assertEqual(
            (row["image_size"], row["crop_share"], row["interpolation"]),
            ("48", "0.75", "bicubic"),
        )
        self.assertEqual(row["antialias"], "True")
        opened = open_model.open_model(self.folder / "model.tflite")
        self.assertEqual(opened.image_size, (48, 48))
        # As the trainer evaluates the same photographs.
        data = folder_data.load_folder(
            self.inputs / "photos" / "deep",
            train_config.TrainConfig(val_fraction=0.1),
        )
        config = train_config.TrainConfig(global_batch_size=6, **settings)
        batches = pipeline.eval_pipeline(data, config).as_numpy_iterator()
        images, labels, _ = next(batches)
        images = np.clip(np.rint(images), 0, 255).astype("uint8")
        compared = export_images.load(
            str(self.inputs / "photos"),
            48,
            crop=open_model.open_model(run).crop,
        )
        np.testing.assert_array_equal(compared.pixels, images)
        outputs = opened(images)
        hits = outputs.argmax(axis=1) == labels
        self.assertAlmostEqual(float(row["top1"]), 100 * hits.mean(), places=3)

    def test_classes_that_the_model_does_not_know(self):
        photos = self.folder / "photos"
        shutil.copytree(self.inputs / "photos", photos)
        (photos / "deep" / "d").rename(photos / "deep" / "D")
        _, output, _ = self.command(
            "{inputs}/run", "--images={out}/photos", "--out={out}/model.tflite"
        )
        self.assertRegex(output, "no accuracy on .*'D' .did you mean 'd'")

    def test_onnx_of_a_keras_file_and_its_comparison(self):
        status, output, _ = self.command(
            "{inputs}/run/model.keras",
            "--format=onnx",
            "--batch=dynamic",
            "--image_size=32x48",
            "--out={out}/model.onnx",
        )
        self.assertEqual(status, 0)
        self.assertIn("compared on noise", output)
        status, output, _ = self.command(
            "{inputs}/run/model.keras",
            "--image_size=32x48",
            "--tolerance=1e-12",
            "--existing={out}/model.onnx",
        )
        self.assertEqual(status, 1)
        self.assertRegex(output, "verdict +max absolute error .* is above")
        status, _, errors = self.command(
            "{out}/model.onnx", "--out={out}/model.tflite"
        )
        self.assertEqual(status, 1)
        self.assertIn("an exported file is compared by --existing", errors)

    def test_gray_photographs(self):
        model = keras_regnet.build(
            export_testing.NETWORKS["x"], input_shape=(32, 32, 1), classes=2
        )
        model.save(self.folder / "gray.keras")
        for images in ((), ("--images={inputs}/photos",)):
            status, output, errors = self.command(
                "{out}/gray.keras", "--out={out}/model.tflite", *images
            )
            self.assertEqual((status, errors), (0, ""))
        self.assertRegex(output, "images compared +6\n")
        self.assertRegex(output, "no accuracy on .*2 classes of .* for 4 of")

    def test_a_sequential_model(self):
        model = export_testing.network("x", 32)
        keras.Sequential([keras.Input((32, 32, 3)), model]).save(
            self.folder / "sequential.keras"
        )
        for form, name in (("litert", "model.tflite"), ("saved_model", "m")):
            status, _, errors = self.command(
                "{out}/sequential.keras",
                f"--format={form}",
                f"--out={{out}}/{name}",
            )
            self.assertEqual((status, errors), (0, ""))

    def test_saved_model_without_comparison(self):
        status, output, _ = self.command(
            "{inputs}/run",
            "--format=saved_model",
            "--fold_batch_norm",
            "--noverify",
            "--out={out}/saved_model",
        )
        self.assertEqual(
            (status, output), (0, f"wrote {self.folder}/saved_model\n")
        )
        self.assertIn("labels.txt", os.listdir(self.folder / "saved_model"))

    def test_a_file_that_cannot_be_written(self):
        status, _, errors = self.command(
            "{inputs}/run", "--out={inputs}/broken.keras/a.tflite"
        )
        self.assertEqual(status, 1)
        self.assertRegex(errors, r"^error: [^\n]*broken.keras[^\n]*\n$")

    def test_a_limit_of_time(self):
        out = "--out={out}/a.tflite"
        status, _, errors = self.command(
            "{inputs}/run", out, "--time_limit=0.01"
        )
        self.assertEqual(status, 1)
        self.assertRegex(errors, r"^error: `time_limit` was too short[^\n]+\n$")
        self.assertEqual(os.listdir(self.folder), [])


class LatencyTest(absltest.TestCase):
    def test_latency(self):
        model = export_testing.network("x")
        found = export.latency(model, image_size=32, threads=2, calls=4)
        self.assertEqual((found.threads, found.calls), (2, 4))
        self.assertGreater(found.milliseconds, 0)
        self.assertEqual(found.delegate, "XNNPACK")
        found = export.latency(
            model, image_size=32, calls=2, runtime="compiled_model"
        )
        self.assertEqual((found.threads, found.delegate), (1, "CompiledModel"))
        with self.assertRaisesRegex(ValueError, "Did you mean 'interpreter'"):
            export.latency(model, image_size=32, runtime="interpretr")
        with mock.patch("time.perf_counter", side_effect=[0, 1, 5, 7, 9, 12]):
            found = export.latency(
                model, quantize="none", image_size=32, calls=3, warm_up=0
            )
        self.assertEqual(found.milliseconds, 2000)
        self.assertEqual((found.min, found.max), (1000, 3000))
        with self.assertRaisesRegex(ValueError, "`group_width` must be"):
            export.latency(model, quantize="none", image_size=32, group_width=0)


if __name__ == "__main__":
    absltest.main()
