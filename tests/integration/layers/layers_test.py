"""Layers in exported files, and in processes of their own."""

import os
import subprocess
import sys
import tempfile

import keras
import numpy as np
from absl.testing import absltest

from keras_regnet import layers
from tests.support import paths


class GroupedConvolutionTest(absltest.TestCase):
    def test_trains_on_two_replicas(self):
        code = (
            "import tensorflow as tf, numpy as np;"
            "cpus = tf.config.list_physical_devices('CPU');"
            "split = [tf.config.LogicalDeviceConfiguration()] * 2;"
            "tf.config.set_logical_device_configuration(cpus[0], split);"
            "import keras; from keras_regnet import layers;"
            "s = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1']);"
            "scope = s.scope(); scope.__enter__();"
            "l = layers.GroupedConv2D(4, 3, groups=2); l.build((2, 5, 5, 4));"
            "b = layers.BatchNormalization(); b.build((2, 3, 3, 4));"
            "x = np.ones((2, 5, 5, 4), 'float32');"
            "f = tf.function(lambda: s.run(lambda: b(l(x), training=True)));"
            "assert len(f().values) == 2"
        )
        _run_python("-c", code)


class OneDnnTest(absltest.TestCase):
    def test_strided_1x1_of_few_channels_survives_an_odd_batch(self):
        # In a process of its own: it used to end with a signal.
        code = """
import numpy as np
import tensorflow as tf
import keras
from keras_regnet import layers
for channels in (4, 8, 12, 16):
    images = np.random.default_rng(0).normal(size=(5, 16, 16, channels))
    images = tf.constant(images, "float32")
    gradients = []
    for cls in (layers.GroupedConv2D, keras.layers.Conv2D):
        layer = cls(16, 1, strides=2, padding="same", use_bias=False)
        layer.build(images.shape)
        kernel = np.random.default_rng(1).normal(size=(1, 1, channels, 16))
        layer.kernel.assign(kernel)
        if cls is keras.layers.Conv2D:
            # What crashes, from an even batch.
            images = tf.concat([images, images], 0)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(images) ** 2)
        gradients.append(tape.gradient(loss, layer.kernel.value))
    np.testing.assert_allclose(2 * gradients[0], gradients[1], rtol=1e-4)
print("survived")
"""
        root = str(paths.ROOT)
        result = subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertIn("survived", result.stdout, result.stderr[-2000:])


class ProbeTest(absltest.TestCase):
    def test_prints_nothing(self):
        """Kernels that fail would ask for a feature request."""
        code = (
            "import keras, numpy as np; from keras_regnet import layers;"
            "x = np.ones((1, 5, 5, 4));"
            "[layers.GroupedConv2D(4, 3, groups=2, dtype=d)(x.astype(d))"
            " for d in ('float32', 'float64', 'float16')]"
        )
        environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"}
        environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
        errors = subprocess.run(
            [sys.executable, "-c", code],
            cwd=str(paths.ROOT),
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stderr
        self.assertNotRegex(errors, "rendezvous|feature request|op_kernel")

    def test_without_onednn(self):
        """The fallback gives the same numbers where no kernel is native."""
        _run_python(
            str(paths.TESTS / "unit/layers/layers_test.py"),
            "GroupedConvolutionTest.test_random_shapes",
            "GroupedConvolutionTest.test_inside_functions0",
            "GroupedConvolutionTest.test_inside_functions1",
            "PortableFormTest",
            "BatchNormalizationTest",
            "PaddedMaxPooling2DTest",
            TF_ENABLE_ONEDNN_OPTS="0",
        )


class ExportTest(absltest.TestCase):
    def _model(self):
        inputs = keras.Input((16, 16, 8), batch_size=1)
        x = inputs
        for _ in range(2):
            x = layers.GroupedConv2D(
                8, 3, groups=4, padding="same", use_bias=False
            )(x)
            x = keras.layers.ReLU()(layers.BatchNormalization()(x))
        return keras.Model(inputs, layers.PaddedMaxPooling2D()(x))

    def _litert_ops(self, model, folder, x):
        from ai_edge_litert import interpreter

        path = os.path.join(folder, "model.tflite")
        model.export(path, format="litert", verbose=False)
        runner = interpreter.Interpreter(model_path=path)
        runner.allocate_tensors()
        runner.set_tensor(runner.get_input_details()[0]["index"], x)
        runner.invoke()
        output = runner.get_output_details()[0]["index"]
        names = [op["op_name"] for op in runner._get_ops_details()]
        return names, runner.get_tensor(output)

    def test_litert_has_builtin_grouped_convolutions(self):
        model = self._model()
        x = np.random.default_rng(0).normal(size=(1, 16, 16, 8))
        x = x.astype("float32")
        with tempfile.TemporaryDirectory() as folder, layers.native_ops():
            names, y = self._litert_ops(model, folder, x)
        self.assertEqual(names.count("CONV_2D"), 2)
        self.assertFalse([name for name in names if "Flex" in name])
        np.testing.assert_allclose(
            y, model.predict(x, verbose=0), rtol=0, atol=1e-5
        )

    def test_portable_saved_model_runs_without_onednn(self):
        model = self._model()
        x = np.random.default_rng(0).normal(size=(1, 16, 16, 8))
        x = x.astype("float32")
        expected = model.predict(x, verbose=0)
        with tempfile.TemporaryDirectory() as folder:
            with layers.portable_ops():
                model.export(os.path.join(folder, "saved"), verbose=False)
            np.save(os.path.join(folder, "x.npy"), x)
            code = (
                "import sys, numpy as np, tensorflow as tf;"
                "folder = sys.argv[1];"
                "x = np.load(folder + '/x.npy');"
                "model = tf.saved_model.load(folder + '/saved');"
                "np.save(folder + '/y.npy', model.serve(x).numpy())"
            )
            _run_python("-c", code, folder, TF_ENABLE_ONEDNN_OPTS="0")
            actual = np.load(os.path.join(folder, "y.npy"))
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


def _run_python(*arguments, **environment):
    """Runs this interpreter in a process of its own; raises if it fails."""
    root = str(paths.ROOT)
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise AssertionError(result.stdout[-2000:] + result.stderr[-6000:])


if __name__ == "__main__":
    absltest.main()
