"""Tests of ONNX, the SavedModel's further signatures, and the example."""

import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib

import keras
import numpy as np
import onnx as onnx_format
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized
from PIL import Image

import keras_regnet
from keras_regnet import open_model
from keras_regnet.export import litert
from keras_regnet.export import onnx
from keras_regnet.export import runners
from keras_regnet.export import saved_model
from keras_regnet.export import verification
from tests.support import export_testing
from tests.support import image_corpus
from tests.support import paths

_ROOT = paths.ROOT

_NAMES = ("a", "b", "c", "d")
# What the example must do without: as if not installed.
_WITHOUT_TENSORFLOW = """
import runpy, sys
for name in ("tensorflow", "keras", "keras_regnet", "jax"):
    sys.modules[name] = None
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class FormatsTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.models = {
            kind: export_testing.network(kind)
            for kind in export_testing.NETWORKS
        }
        cls.images = export_testing.images(6)
        cls.contents = litert.convert(cls.models["x"], image_size=32)

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )

    def expected(self, kind, images):
        return self.models[kind].predict_on_batch(images.astype("float32"))

    @parameterized.parameters(*export_testing.NETWORKS)
    def test_onnx(self, kind):
        path = self.folder / "model.onnx"
        onnx.save(
            self.models[kind], path, class_names=_NAMES, image_size="dynamic"
        )
        self.assertCountEqual(
            os.listdir(self.folder),
            ["model.onnx", "model.labels.txt", "model.record.json"],
        )
        runner = runners.open_file(path, threads=2)
        self.assertEqual(runner.delegate, "CPUExecutionProvider")
        for count, height, width in ((1, 32, 32), (3, 48, 40)):
            images = export_testing.images(count, height, width)
            np.testing.assert_allclose(
                runner.run(images), self.expected(kind, images), atol=1e-5
            )
        convolutions = [
            node
            for node in onnx_format.load(path).graph.node
            if node.op_type == "Conv"
        ]
        layers = [
            layer
            for layer in self.models[kind].layers
            if isinstance(layer, keras_regnet.layers.Conv2D)
        ]
        self.assertLen(convolutions, len(layers))

    def test_onnx_of_one_batch_size(self):
        path = self.folder / "model.onnx"
        options = {"input": "int8", "batch": 4, "image_size": 32, "opset": 18}
        onnx.save(self.models["x"], path, **options)
        versions = {
            each.domain: each.version
            for each in onnx_format.load(path).opset_import
        }
        self.assertEqual(versions[""], 18)
        report = verification.verify(
            self.models["x"], path, self.images, calls=2
        )
        self.assertTrue(report.passed, report.table())
        self.assertEqual(report.format, "onnx")
        self.assertEqual(report.latency.batch, 4)
        with self.assertRaisesRegex(ValueError, "3 names for 4 outputs"):
            onnx.save(
                self.models["x"], path, class_names=_NAMES[:3], image_size=32
            )

    def test_same_onnx_bytes_again(self):
        paths = [self.folder / name for name in ("first.onnx", "second.onnx")]
        for path in paths:
            onnx.save(self.models["x"], path, image_size="dynamic")
        first, second = (path.read_bytes() for path in paths)
        self.assertEqual(first, second)

    def test_an_operation_that_onnx_lacks(self):
        inputs = keras.Input((8, 8, 3))
        x = keras.ops.erfinv(inputs)
        model = keras.Model(inputs, keras.layers.GlobalMaxPooling2D()(x))
        with self.assertRaisesRegex(ValueError, "what ONNX lacks: .*Erfinv"):
            onnx.save(model, self.folder / "model.onnx", _NAMES[:3])
        self.assertEqual(os.listdir(self.folder), [])

    def test_bfloat16_with_operations_that_are_no_layers(self):
        inputs = keras.Input((8, 8, 3))
        x = keras.layers.Conv2D(2, 3)(inputs / 255.0)
        model = keras.Model(inputs, keras.layers.GlobalMaxPooling2D()(x))
        saved_model.save(model, self.folder / "model", bfloat16=True)
        runner = runners.open_file(self.folder / "model")
        images = self.images[:, :8, :8]
        np.testing.assert_allclose(
            runner.run(images), model.predict_on_batch(images), atol=0.1
        )

    def test_saved_model_signatures(self):
        path = self.folder / "saved_model"
        model = self.models["y"]
        saved_model.save(
            model, path, jpeg_size=32, features=True, fold_batch_norm=True
        )
        loaded = tf.saved_model.load(path)
        signatures = loaded.signatures
        expected = self.expected("y", self.images)
        found = signatures["serving_default"](images=tf.constant(self.images))
        np.testing.assert_allclose(found["probabilities"], expected, atol=1e-5)
        features = signatures["features"](images=tf.constant(self.images))
        head = model.get_layer("head_fc")
        logits = features["features"] @ head.kernel + head.bias
        np.testing.assert_allclose(tf.nn.softmax(logits), expected, atol=1e-5)
        # 256/224 of 32: the center is cut out as it is.
        image = export_testing.images(1, 37, 37)[0]
        files = [
            tf.io.encode_png(image).numpy(),
            image_corpus.encode(image, "bmp"),
            # Of a camera that was held sideways.
            image_corpus.encode(
                np.rot90(image), "webp", lossless=True, exif=image_corpus.tiff()
            ),
        ]
        found = signatures["jpeg"](jpeg=tf.constant(files))
        np.testing.assert_allclose(
            found["probabilities"],
            np.repeat(self.expected("y", image[None, 3:35, 3:35]), 3, 0),
            atol=1e-5,
        )
        graph = signatures["serving_default"].graph.as_graph_def()
        operations = {
            node.op
            for function in graph.library.function
            for node in function.node_def
        }
        self.assertIn("Conv2D", operations)
        # What is left normalizes the images.
        batch_norms = [
            node
            for function in graph.library.function
            for node in function.node_def
            if node.op == "FusedBatchNormV3"
        ]
        self.assertLessEqual(len(batch_norms), 1)
        report = verification.verify(model, path, self.images, calls=2)
        self.assertTrue(report.passed, report.table())
        self.assertEqual(report.latency.delegate, "TensorFlow")

    def test_a_model_that_leaves_normalization_to_its_caller(self):
        """Its files take pixels, as all do, and say so in their record."""
        network = self.models["x"].network
        model = keras_regnet.build(
            network,
            input_shape=(32, 32, 3),
            classes=4,
            include_preprocessing=False,
        )
        images = self.images
        expected = model.predict_on_batch(keras_regnet.preprocess_input(images))
        litert.save(model, self.folder / "a.tflite", batch=len(images))
        onnx.save(model, self.folder / "b.onnx")
        saved_model.save(model, self.folder / "c", jpeg_size=32, features=True)
        for name in ("a.tflite", "b.onnx", "c"):
            opened = open_model.open_model(self.folder / name)
            self.assertTrue(opened.record.normalizes)
            np.testing.assert_allclose(opened(images), expected, atol=1e-5)
        pictures = [tf.io.encode_png(image) for image in images]
        signature = tf.saved_model.load(self.folder / "c").signatures["jpeg"]
        found = signature(tf.stack(pictures))["probabilities"]
        prepared = model.preprocess([x.numpy() for x in pictures])
        np.testing.assert_allclose(
            found, model.predict_on_batch(prepared), atol=1e-5
        )
        report = verification.verify(
            model, self.folder / "a.tflite", images, calls=1, warm_up=0
        )
        self.assertTrue(report.passed)

    def test_saved_model_in_bfloat16(self):
        path = self.folder / "saved_model"
        saved_model.save(self.models["x"], path, bfloat16=True)
        report = verification.verify(
            self.models["x"], path, self.images, tolerance="bfloat16", calls=2
        )
        self.assertTrue(report.passed, report.table())
        # It did compute in another precision.
        self.assertGreater(report.max_absolute_error, 1e-4)

    def test_saved_model_without_features(self):
        model = keras_regnet.build(
            export_testing.NETWORKS["x"],
            input_shape=(32, 32, 3),
            include_top=False,
        )
        with self.assertRaisesRegex(ValueError, "no layer 'head_pool'"):
            saved_model.save(model, self.folder / "new", features=True)
        self.assertEqual(os.listdir(self.folder), [])

    def classify(self, *arguments):
        """Runs the example where there is no TensorFlow."""
        return subprocess.run(
            [
                sys.executable,
                "-c",
                _WITHOUT_TENSORFLOW,
                _ROOT / "examples" / "classify.py",
                *arguments,
            ],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )

    def test_the_example_needs_no_tensorflow(self):
        model = self.folder / "model.tflite"
        litert.save(self.models["x"], model, _NAMES, image_size=32)
        photo = self.folder / "photo.png"
        image = export_testing.images(1, 37, 37)[0]
        Image.fromarray(image).save(photo)
        done = self.classify(model, photo, "--top=2", "--threads=2")
        self.assertEqual(done.returncode, 0, done.stderr)
        first, *classes = done.stdout.splitlines()
        self.assertRegex(first, r"photo.png \(\d+\.\d ms\)")
        (outputs,) = self.expected("x", image[None, 3:35, 3:35])
        self.assertLen(classes, 2)
        name = _NAMES[outputs.argmax()]
        self.assertRegex(classes[0], rf"^ +\d+\.\d%  {name}$")

    def test_the_example_goes_on_after_a_broken_image(self):
        model = self.folder / "model.tflite"
        model.write_bytes(self.contents)
        image = Image.fromarray(export_testing.images(1, 40, 60)[0])
        whole, turned = self.folder / "whole.png", self.folder / "turned.png"
        # What a camera that was held sideways stores.
        sideways = Image.Exif()
        sideways[0x0112] = 6
        image.save(whole)
        image.rotate(90, expand=True).save(turned, exif=sideways)
        half, text = self.folder / "half.png", self.folder / "text.jpg"
        half.write_bytes(whole.read_bytes()[:900])
        text.write_text("nothing")
        # 900 million pixels, says the header: what Pillow calls a bomb.
        bomb = bytearray(whole.read_bytes()[:100])
        bomb[16:24] = struct.pack(">II", 30000, 30000)
        bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
        (self.folder / "bomb.png").write_bytes(bomb)
        broken = [half, text, self.folder / "bomb.png", self.folder / "none"]
        done = self.classify(model, whole, *broken, turned, "--top=4")
        self.assertEqual(done.returncode, 1)
        first, *classes = done.stdout.splitlines()
        self.assertEqual(classes[:4], classes[5:])
        self.assertIn("whole.png", first)
        self.assertIn("turned.png", classes[4])
        lines = [x for x in done.stderr.splitlines() if "INFO" not in x]
        self.assertLen(lines, len(broken))
        for line, path in zip(lines, broken, strict=True):
            self.assertRegex(line, f"^error: .*{path}")

    def test_the_example_makes_probabilities_of_logits(self):
        head = keras.layers.Activation("linear")
        inner = self.models["x"]
        logits = keras.ops.log(inner.output) + 9
        model = keras.Model(inner.input, head(logits))
        photo = self.folder / "photo.png"
        Image.fromarray(export_testing.images(1, 37, 37)[0]).save(photo)
        printed = []
        of_logits = litert.convert(model, image_size=32)
        for contents in (self.contents, of_logits):
            path = self.folder / f"{len(printed)}.tflite"
            path.write_bytes(contents)
            printed.append(self.classify(path, photo).stdout.splitlines()[1:])
        self.assertLen(printed[0], 3)
        self.assertEqual(*printed)

    @parameterized.parameters(
        ("a\nb\n", "labels.txt must have one name .* 2 names for 4 classes"),
        ("", "0 names for 4 classes"),
        (b"\xff\xfea", "labels.txt is not a text in UTF-8"),
    )
    def test_the_example_refuses_labels_that_do_not_fit(self, text, message):
        model = self.folder / "model.tflite"
        model.write_bytes(self.contents)
        text = text if isinstance(text, bytes) else text.encode()
        (self.folder / "model.labels.txt").write_bytes(text)
        done = self.classify(model, "photo.png")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, f"(?m)^error: .*{message}")

    def test_the_example_refuses_a_broken_file_and_no_threads(self):
        model = self.folder / "model.tflite"
        model.write_bytes(b"")
        done = self.classify(model, "photo.png")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "(?m)^error: .*model.tflite cannot be")
        done = self.classify(model, "photo.png", "--threads=0")
        self.assertRegex(done.stderr, "--threads: must be .* Received: '0'")


if __name__ == "__main__":
    absltest.main()
