"""Tests of the conversion to LiteRT, in float; int8 has a file of its own."""

import collections
import errno
import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

import keras
import numpy as np
from absl.testing import absltest
from absl.testing import parameterized
from ai_edge_litert import interpreter

from keras_regnet import labels
from keras_regnet.export import inference_model
from keras_regnet.export import litert
from keras_regnet.export import runners
from keras_regnet.export.spec import ExportSpec
from tests.support import export_testing

_IN_A_NEW_PROCESS = """
import hashlib
from tests.support import export_testing
from keras_regnet.export import litert
contents = litert.convert(export_testing.network("x"), image_size=32)
print(hashlib.sha256(contents).hexdigest())
"""


def _operations(contents):
    """Returns how often each operation stands in a file."""
    loaded = interpreter.Interpreter(model_content=contents)
    return collections.Counter(
        operation["op_name"] for operation in loaded._get_ops_details()
    )


def _run(contents, images):
    """Runs a file as a client does: no code of ours."""
    loaded = interpreter.Interpreter(model_content=contents)
    runner = loaded.get_signature_runner()
    return runner(images=images)["output_0"]


def _least_channels(contents):
    """Returns the channels of the narrowest groups of 3x3 kernels."""
    loaded = interpreter.Interpreter(model_content=contents)
    kernels = [
        loaded._get_tensor_details(operation["inputs"][1], 0)["shape"]
        for operation in loaded._get_ops_details()
        if operation["op_name"] == "CONV_2D"
    ]
    # The stem's kernel has the three channels of the images.
    return min(shape[3] for shape in kernels[1:] if shape[1] == 3)


class LiteRTTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.models = {
            kind: export_testing.network(kind)
            for kind in export_testing.NETWORKS
        }
        cls.images = export_testing.images(4)
        cls.expected = {
            kind: model.predict_on_batch(cls.images.astype("float32"))
            for kind, model in cls.models.items()
        }
        cls.contents = litert.convert(cls.models["y"], image_size=32)

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )

    @parameterized.parameters(
        ("x", "none", 1e-5),
        ("z", "none", 1e-5),
        ("y", "float16", 5e-3),
        ("z", "float16", 5e-3),
        ("y", "dynamic", 8e-2),
    )
    def test_equals_the_model(self, kind, quantize, tolerance):
        contents = litert.convert(
            self.models[kind], quantize=quantize, batch=4, image_size=32
        )
        found = _run(contents, self.images)
        np.testing.assert_allclose(found, self.expected[kind], atol=tolerance)
        self.assertGreater(np.ptp(found, axis=0).max(), 0.2)

    def test_built_in_operations_without_batch_norm(self):
        operations = _operations(self.contents)
        model = self.models["y"]
        convolutions = [
            layer
            for layer in model.layers
            if isinstance(layer, keras.layers.Conv2D)
        ]
        self.assertEqual(operations["CONV_2D"], len(convolutions))
        gates = sum("_se_scale" in layer.name for layer in model.layers)
        # One product a gate; of the normalization, the subtraction.
        self.assertEqual(operations["MUL"], gates)
        self.assertEqual(operations["SUB"], 1)
        self.assertNoCommonElements(
            operations, ["CUSTOM", "SPLIT", "CONCATENATION"]
        )
        self.assertFalse([name for name in operations if "Flex" in name])

    @parameterized.parameters(("none", 1e-6), ("int8", 0.03))
    def test_merged_groups_give_the_same(self, quantize, tolerance):
        options = {"image_size": 32, "batch": 4}
        if quantize == "int8":
            options.update(representative=self.images, keep_float=())
        contents = [
            litert.convert(
                self.models["y"],
                quantize=quantize,
                group_width=width,
                **options,
            )
            for width in (None, 8)
        ]
        plain, merged = (_run(content, self.images) for content in contents)
        np.testing.assert_allclose(merged, plain, atol=tolerance, rtol=0)
        # Groups of 4 channels have become groups of 8.
        channels = [_least_channels(content) for content in contents]
        self.assertEqual(channels, [4, 8])

    @parameterized.parameters("float", "int8")
    def test_input_types(self, kind):
        contents = litert.convert(
            self.models["x"], input=kind, batch=4, image_size=32
        )
        pixels = {
            "float": self.images.astype(np.float32),
            "int8": (self.images.astype(np.int16) - 128).astype(np.int8),
        }[kind]
        np.testing.assert_allclose(
            _run(contents, pixels), self.expected["x"], atol=1e-5
        )

    def test_the_batch_is_fixed(self):
        # With batches left open there are operations that compute shapes.
        inputs = keras.Input((8, 8, 3))
        pooled = keras.layers.GlobalMaxPooling2D()(inputs)
        outputs = keras.layers.Flatten()(
            keras.layers.Reshape((1, 1, 3))(pooled)
        )
        contents = litert.convert(keras.Model(inputs, outputs), batch=4)
        loaded = interpreter.Interpreter(model_content=contents)
        (images,) = loaded.get_input_details()
        self.assertEqual(images["shape_signature"].tolist(), [4, 8, 8, 3])
        self.assertNotIn("SHAPE", _operations(contents))
        self.assertEqual(runners.LiteRTRunner(contents).batch, 4)

    def test_dynamic_batch_and_size(self):
        model = self.models["y"]
        contents = litert.convert(model, batch="dynamic", image_size="dynamic")
        runner = runners.LiteRTRunner(contents)
        for count, height, width in ((1, 32, 32), (3, 48, 40), (2, 33, 64)):
            images = export_testing.images(count, height, width)
            np.testing.assert_allclose(
                runner.run(images),
                model.predict_on_batch(images.astype("float32")),
                atol=1e-5,
            )

    def test_two_inputs_in_a_row_and_many_threads(self):
        one = runners.LiteRTRunner(self.contents, threads=1)
        many = runners.LiteRTRunner(self.contents, threads=4)
        first, second = self.images[:1], self.images[1:2]
        for images, place in ((first, 0), (second, 1), (first, 0)):
            for runner in (one, many):
                np.testing.assert_allclose(
                    runner.run(images)[0], self.expected["y"][place], atol=1e-5
                )

    def test_same_bytes_again_and_in_a_new_process(self):
        contents = litert.convert(self.models["x"], image_size=32)
        self.assertEqual(
            contents, litert.convert(self.models["x"], image_size=32)
        )
        # From its second on: a process numbers the layers it makes.
        done = subprocess.run(
            [sys.executable, "-c", _IN_A_NEW_PROCESS],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual(
            done.stdout.strip(), hashlib.sha256(contents).hexdigest()
        )

    def test_half_precision_models_become_float32(self):
        keras.config.set_dtype_policy("mixed_bfloat16")
        self.addCleanup(keras.config.set_dtype_policy, "float32")
        model = export_testing.network("x")
        keras.config.set_dtype_policy("float32")
        expected = export_testing.network("x")
        expected.set_weights(model.get_weights())
        contents = litert.convert(model, batch=4, image_size=32)
        np.testing.assert_allclose(
            _run(contents, self.images),
            expected.predict_on_batch(self.images.astype("float32")),
            atol=1e-5,
        )

    def test_normalization_that_was_adapted(self):
        """Joined to the one convolution that reads it, or as a layer."""
        images = self.images.astype("float32")
        normalization = keras.layers.Normalization()
        normalization.adapt(images)
        inputs = keras.Input((32, 32, 3))
        normalized = normalization(inputs)
        conv = keras.layers.Conv2D(2, 3)(normalized)
        activated = keras.layers.ReLU()(normalized)
        for x, subtracted in ((conv, True), (activated, False)):
            model = keras.Model(inputs, keras.layers.GlobalMaxPooling2D()(x))
            contents = litert.convert(model, batch=4)
            np.testing.assert_allclose(
                _run(contents, self.images),
                model.predict_on_batch(images),
                atol=1e-5,
            )
            spec = ExportSpec(batch=4)
            network = inference_model.inference_model(model, spec)
            mean = network.get_layer(inference_model.PIXELS).mean
            self.assertEqual(any(mean), subtracted)

    def test_images_with_two_readers_are_normalized_by_a_layer(self):
        inputs = keras.Input((8, 8, 3))
        x = keras.layers.Normalization(mean=[9.0] * 3, variance=[4.0] * 3)(
            inputs
        )
        x = keras.layers.Conv2D(3, 1)(x) + inputs / 255.0
        model = keras.Model(inputs, keras.layers.GlobalMaxPooling2D()(x))
        images = export_testing.images(4, 8, 8)
        np.testing.assert_allclose(
            _run(litert.convert(model, batch=4), images),
            model.predict_on_batch(images.astype("float32")),
            rtol=1e-5,
        )

    def test_all_options_in_one(self):
        spec = ExportSpec(input="float", image_size=32)
        self.assertEqual(
            litert.convert(self.models["x"], spec, input="uint8"),
            litert.convert(self.models["x"], image_size=32),
        )

    def test_a_sequential_model(self):
        model = keras.Sequential([keras.Input((32, 32, 3)), self.models["x"]])
        found = _run(litert.convert(model, batch=4), self.images)
        np.testing.assert_allclose(found, self.expected["x"], atol=1e-5)

    def test_save_writes_labels_beside(self):
        path = self.folder / "new" / "model.tflite"
        litert.save(self.models["x"], path, tuple("abcd"), image_size=32)
        self.assertCountEqual(
            os.listdir(path.parent),
            ["model.tflite", "model.labels.txt", "model.record.json"],
        )
        self.assertEqual(
            (path.parent / "model.labels.txt").read_text(), "a\nb\nc\nd\n"
        )
        np.testing.assert_allclose(
            _run(path.read_bytes(), self.images[:1]),
            self.expected["x"][:1],
            atol=1e-5,
        )

    def test_failure_leaves_nothing(self):
        path = self.folder / "model.tflite"
        with self.assertRaisesRegex(ValueError, "3 names for 4 outputs"):
            litert.save(self.models["x"], path, tuple("abc"), image_size=32)
        (self.folder / "file").write_text("")
        with self.assertRaises(OSError):
            litert.save(
                self.models["x"],
                self.folder / "file" / "model.tflite",
                image_size=32,
            )
        self.assertEqual(os.listdir(self.folder), ["file"])

    def test_neither_file_nor_labels_without_the_other(self):
        full = OSError(errno.ENOSPC, "No space left on device")
        path = self.folder / "model.tflite"
        with (
            mock.patch.object(labels, "write_labels", side_effect=full),
            self.assertRaisesRegex(OSError, "No space .*model.tflite"),
        ):
            litert.save(self.models["x"], path, tuple("abcd"), image_size=32)
        self.assertEqual(os.listdir(self.folder), [])

    def test_an_operation_that_litert_lacks(self):
        inputs = keras.Input((8, 8, 3))
        x = keras.ops.erfinv(inputs)
        model = keras.Model(inputs, keras.layers.GlobalMaxPooling2D()(x))
        with self.assertRaisesRegex(ValueError, "LiteRT lacks: Erfinv$"):
            litert.convert(model)

    def test_wrong_models(self):
        fixed = export_testing.network("x", 32)
        with self.assertRaisesRegex(ValueError, "must be a functional"):
            litert.convert(keras.layers.Dense(2))
        inputs = keras.Input((3,))
        with self.assertRaisesRegex(ValueError, "one input .batch, height"):
            litert.convert(keras.Model(inputs, keras.layers.Dense(2)(inputs)))
        inputs = keras.Input((3, 32, 32))
        x = keras.layers.Conv2D(2, 1, data_format="channels_first")(inputs)
        with self.assertRaisesRegex(ValueError, "'channels_first': 'conv2d"):
            litert.convert(keras.Model(inputs, x))
        inputs = fixed.input
        flat = keras.layers.Flatten()(fixed.get_layer("head_pool").input)
        head = keras.layers.Dense(2)(flat)
        with self.assertRaisesRegex(ValueError, "does not take images"):
            litert.convert(keras.Model(inputs, head), image_size="dynamic")


if __name__ == "__main__":
    absltest.main()
