"""Tests that everything opens as a function from images to probabilities."""

import json
import pathlib
import tempfile
import warnings

import keras
import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from keras_regnet import open_model
from keras_regnet.export import litert
from keras_regnet.export import onnx
from keras_regnet.export import saved_model
from tests.support import export_testing

_NAMES = ("a", "b", "c", "d")


class OpenModelTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.folder = pathlib.Path(folder)
        cls.model = export_testing.network("x")
        cls.images = export_testing.images(5)
        cls.expected = cls.model.predict_on_batch(cls.images.astype("float32"))
        run = cls.folder / "run"
        run.mkdir()
        cls.model.save(run / "model.keras")
        (run / "config.json").write_text(
            json.dumps({"config": {"image_size": 32, "dataset": "digits"}})
        )
        saved_model.save(cls.model, run / "saved_model", _NAMES)
        litert.save(
            cls.model, cls.folder / "model.tflite", _NAMES, image_size=32
        )
        onnx.save(cls.model, cls.folder / "model.onnx", _NAMES, image_size=32)

    def open(self, name, **arguments):
        return open_model.open_model(self.folder / name, **arguments)

    @parameterized.parameters(
        ("run", (None, None), True),
        ("run/model.keras", (None, None), True),
        ("run/saved_model", (None, None), True),
        ("model.tflite", (32, 32), True),
        ("model.onnx", (32, 32), True),
    )
    def test_each_kind(self, name, image_size, has_names):
        opened = self.open(name)
        for images in (self.images, self.images.astype("float32")):
            found = opened(images)
            self.assertEqual(found.dtype, np.float32)
            np.testing.assert_allclose(found, self.expected, atol=1e-5)
        self.assertEqual(opened.name, str(self.folder / name))
        self.assertEqual(opened.image_size, image_size)
        self.assertEqual(opened.class_names, _NAMES if has_names else None)
        is_run = name.startswith("run")
        settings = {"image_size": 32, "dataset": "digits"} if is_run else {}
        self.assertEqual(opened.settings, settings)
        is_keras = name in ("run", "run/model.keras")
        self.assertEqual(opened.keras_model is not None, is_keras)

    def test_a_model_that_takes_normalized_pixels(self):
        """Pixels are what all that was opened takes."""
        plain = keras_regnet.build(
            self.model.network,
            classes=4,
            input_shape=(None, None, 3),
            include_preprocessing=False,
        )
        for layer in plain.layers:
            if layer.weights:
                layer.set_weights(
                    self.model.get_layer(layer.name).get_weights()
                )
        plain.save(self.folder / "plain.keras")
        litert.save(
            plain,
            self.folder / "plain.tflite",
            image_size=32,
            input="float",
            verify=False,
        )
        for name in ("plain.keras", "plain.tflite"):
            np.testing.assert_allclose(
                self.open(name)(self.images), self.expected, atol=1e-5
            )

    def test_labels_beside_a_keras_file(self):
        folder = self.folder / "alone"
        folder.mkdir()
        self.model.save(folder / "other.keras")
        self.assertIsNone(self.open("alone/other.keras").class_names)
        for text, expected in (
            ("a\nb\n", None),
            ("a\nb\nc\nd\n", _NAMES),
        ):
            (folder / "labels.txt").write_text(text)
            opened = self.open("alone/other.keras")
            self.assertEqual(opened.class_names, expected)
        (folder / "other.labels.txt").write_text("a\nb\n")
        with self.assertRaisesRegex(ValueError, "2 names for 4 outputs"):
            self.open("alone/other.keras")

    def test_a_variant(self):
        opened = open_model.open_model("RegNetX-200MF")
        self.assertEqual(opened(self.images).shape, (5, 1000))
        self.assertEqual(opened.name, "RegNetX-200MF")
        self.assertEqual((opened.classes, opened.weights), (1000, ""))

    def test_a_configuration_with_weights(self):
        run = self.folder / "run"
        opened = open_model.open_model(self.model.network, run)
        np.testing.assert_allclose(
            opened(self.images), self.expected, atol=1e-5
        )
        self.assertEqual(opened.classes, export_testing.CLASSES)
        self.assertEqual(opened.weights, str(run / "model.keras"))

    def test_pixels_that_are_not_whole_stay_so_in_a_saved_model(self):
        images = self.images * np.float32(0.99)
        np.testing.assert_allclose(
            self.open("run/saved_model")(images),
            self.model.predict_on_batch(images),
            atol=1e-5,
        )

    def test_a_saved_model_and_a_file_of_other_programs(self):
        """Of another signature; quantized throughout, outputs too."""

        class Module(tf.Module):
            @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3])])
            def serve(self, pixels):
                return {"means": tf.reduce_mean(pixels, [1, 2])}

        module = Module()
        tf.saved_model.save(
            module, str(self.folder / "other"), signatures=module.serve
        )
        images = self.images[:, :8, :8]
        opened = self.open("other")
        self.assertEqual(opened.image_size, (8, 8))
        means = images.mean((1, 2))
        np.testing.assert_allclose(opened(images), means, rtol=1e-5)
        inputs = keras.Input((8, 8, 3), batch_size=1)
        pooled = keras.layers.GlobalAveragePooling2D()(inputs)
        converter = tf.lite.TFLiteConverter.from_keras_model(
            keras.Model(inputs, pooled)
        )
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [image[None].astype("float32")] for image in images
        )
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.uint8
        with warnings.catch_warnings():
            # The converter warns that statistics of old files were not given.
            warnings.simplefilter("ignore", UserWarning)
            contents = converter.convert()
        (self.folder / "quantized.tflite").write_bytes(contents)
        found = self.open("quantized.tflite")(images)
        np.testing.assert_allclose(found, means, atol=2)

    def test_refuses(self):
        (self.folder / "empty").mkdir()
        (self.folder / "unfinished").mkdir()
        (self.folder / "unfinished" / "config.json").write_text("{}")
        for suffix in (".keras", ".tflite", ".onnx"):
            path = self.folder / f"broken{suffix}"
            path.write_bytes(b"nothing of the kind")
        for name, message in (
            ("none.keras", "`model` does not exist"),
            ("none.onnx", "`model` does not exist"),
            ("runs/none", "`model` does not exist"),
            ("empty", "must be a run folder"),
            ("unfinished", "The run has no model yet"),
            ("broken.keras", "is not a readable .keras file"),
            ("broken.tflite", "is not a LiteRT file"),
            ("broken.onnx", "is not an ONNX file"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                self.open(name)
        inputs = keras.Input((3,))
        outputs = keras.layers.Dense(2)(inputs)
        keras.Model(inputs, outputs).save(self.folder / "vectors.keras")
        with self.assertRaisesRegex(ValueError, "must have one input"):
            self.open("vectors.keras")
        with self.assertRaisesRegex(ValueError, "`weights` is for a variant"):
            self.open("run", weights="imagenet")
        with self.assertRaisesRegex(ValueError, "Did you mean"):
            open_model.open_model("RegNetX-201MF")

    def test_configuration_that_is_none(self):
        folder = self.folder / "other_run"
        folder.mkdir()
        self.model.save(folder / "model.keras")
        self.assertEqual(self.open("other_run").settings, {})
        (folder / "config.json").write_text("[]")
        with self.assertRaisesRegex(ValueError, "Not a config.json of a run"):
            self.open("other_run")


if __name__ == "__main__":
    absltest.main()
