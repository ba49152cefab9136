"""Tests of the comparison of exported files with their model."""

import json
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import export
from keras_regnet.export import litert
from keras_regnet.export import runners
from keras_regnet.export import verification
from tests.support import export_testing


class VerifyTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = export_testing.network("x")
        cls.images = export_testing.images(10)
        cls.folder = pathlib.Path(
            cls.enterClassContext(tempfile.TemporaryDirectory())
        )
        cls.file = cls.folder / "model.tflite"
        litert.save(cls.model, cls.file, image_size=32)
        cls.outputs = cls.model.predict_on_batch(cls.images.astype("float32"))

    def verify(self, **arguments):
        values = dict(model=self.model, file=self.file, images=self.images)
        return export.verify(**{**values, "calls": 3, **arguments})

    def test_equal(self):
        labels = self.outputs.argmax(-1)
        labels[0] += 1
        report = self.verify(labels=labels, threads=2)
        self.assertTrue(report.passed)
        self.assertEqual(report.format, "litert")
        self.assertEqual(report.images, 10)
        self.assertEqual(report.bytes, self.file.stat().st_size)
        self.assertLess(report.max_absolute_error, 1e-5)
        self.assertEqual(report.top1_agreement, 1.0)
        self.assertEqual(report.model_accuracy, 0.9)
        self.assertEqual(report.file_accuracy, 0.9)
        latency = report.latency
        self.assertEqual((latency.threads, latency.batch), (2, 1))
        self.assertEqual((latency.calls, latency.warm_up), (3, 5))
        self.assertEqual(latency.delegate, "XNNPACK")
        self.assertBetween(latency.milliseconds, latency.min, latency.max)

    def test_another_model_is_beyond_the_tolerance(self):
        head = self.model.get_layer("head_fc")
        kernel, bias = head.get_weights()
        self.addCleanup(head.set_weights, [kernel, bias])
        head.set_weights([-kernel, -bias])
        changed = self.model.predict_on_batch(self.images.astype("float32"))
        report = self.verify(tolerance=verification.Tolerance(0.1, 0.01, 0.9))
        difference = np.abs(changed - self.outputs)
        self.assertAlmostEqual(
            report.max_absolute_error, difference.max(), places=4
        )
        self.assertAlmostEqual(
            report.mean_difference, difference.mean(), places=4
        )
        agree = changed.argmax(-1) == self.outputs.argmax(-1)
        self.assertAlmostEqual(report.top1_agreement, agree.mean())
        self.assertFalse(report.passed)
        self.assertLen(report.failures, 3)

    def test_table_and_json(self):
        report = self.verify(tolerance="float16")
        table = report.table()
        for words in ("allowed 0.02", "10\n", "XNNPACK", "5 to warm up"):
            self.assertIn(words, table)
        self.assertNotIn("accuracy", table)
        record = json.loads(report.to_json())
        self.assertTrue(record["passed"])
        self.assertEqual(record["latency"]["calls"], 3)
        self.assertIsNone(record["file_accuracy"])

    def test_without_delegate(self):
        runner = runners.open_file(self.file, delegate=False)
        self.assertEqual(runner.delegate, "built-in kernels")
        np.testing.assert_allclose(
            runner.run(self.images), self.outputs, atol=1e-5
        )

    @parameterized.parameters(
        (np.zeros([2, 32, 32]), "`images` must be of shape"),
        (np.zeros([0, 32, 32, 3]), "n above 0"),
        (np.full([1, 32, 32, 3], 0.5), "values from 0.5 to 0.5"),
        (np.full([1, 32, 32, 3], -1), "values from -1 to -1"),
        (np.full([1, 32, 32, 3], 256), "in 0..255"),
        (np.full([1, 40, 32, 3], 9), r"must be of shape \(n, \*\(32, 32, 3"),
    )
    def test_wrong_images(self, images, message):
        with self.assertRaisesRegex(ValueError, message):
            self.verify(images=images)

    def test_wrong_labels(self):
        for labels, message in (
            ([1], r"shape \(1,\) for 10 images"),
            (np.eye(10), r"shape \(10, 10\) for 10"),
            ([4] * 10, "from 0 to 3, .* from 4 to 4"),
            ([-1] * 10, "from -1 to -1"),
            ([0.5] * 10, "float64 from 0.5"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                self.verify(labels=labels)

    def test_not_a_number_fails(self):
        head = self.model.get_layer("head_fc")
        weights = head.get_weights()
        self.addCleanup(head.set_weights, weights)
        head.set_weights([np.full_like(weights[0], np.nan), weights[1]])
        for quantize in ("none", "float16", "dynamic", "int8"):
            report = self.verify(tolerance=quantize)
            self.assertFalse(report.passed, quantize)
            record = json.loads(report.to_json())
            self.assertIsNone(record["max_absolute_error"])
            self.assertFalse(record["passed"])

    def test_pixels_are_rounded_for_files_that_take_whole_ones(self):
        images = self.images - 0.25 * (self.images > 0)
        report = self.verify(images=images)
        runner = runners.open_file(self.file)
        np.testing.assert_array_equal(
            runner.run(images), runner.run(self.images)
        )
        self.assertGreater(report.max_absolute_error, 0)

    def test_wrong_files(self):
        with self.assertRaisesRegex(FileNotFoundError, "nothing.tflite"):
            self.verify(file=self.folder / "nothing.tflite")
        for name, kind in (
            ("broken.tflite", "a LiteRT file"),
            ("broken.onnx", "an ONNX file"),
        ):
            (self.folder / name).write_bytes(self.file.read_bytes()[:999])
            with self.assertRaisesRegex(ValueError, f"is not {kind}"):
                self.verify(file=self.folder / name)
        (self.folder / "empty").mkdir()
        with self.assertRaisesRegex(ValueError, "is not a SavedModel"):
            self.verify(file=self.folder / "empty")
        (self.folder / "model.h5").write_text("")
        with self.assertRaisesRegex(ValueError, "Unknown `file`"):
            self.verify(file=self.folder / "model.h5")


if __name__ == "__main__":
    absltest.main()
