"""oneDNN in processes of their own: TensorFlow decides at its import."""

import os
import subprocess
import sys
import tempfile

import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from keras_regnet import onednn
from keras_regnet.export import saved_model
from tests.support import paths

_BUILD = (
    "import keras_regnet; from keras_regnet import processor;"
    "keras_regnet.build('RegNetX-200MF', input_shape=(32, 32, 3));"
    "print(processor.setting())"
)

_GRADIENT = """
import numpy as np, tensorflow as tf
loaded = tf.saved_model.load("{folder}/saved")
serve = loaded.signatures["float_images"]
images = tf.constant(np.load("{folder}/images.npy"))
with tf.GradientTape() as tape:
    tape.watch(images)
    output = serve(images=images)["probabilities"][:, 0]
np.save("{folder}/gradient.npy", tape.gradient(output, images))
"""


def _run(code, **environment):
    """Returns what a process prints, and what it writes to stderr."""
    inherited = {k: v for k, v in os.environ.items() if k != onednn.VARIABLE}
    inherited.pop("TF_CPP_MIN_LOG_LEVEL", None)
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=paths.ROOT,
        env={**inherited, "KERAS_BACKEND": "tensorflow", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout, result.stderr


class OneDnnTest(parameterized.TestCase):
    @parameterized.named_parameters(
        ("as_it_is", {}, "oneDNN on, .* native"),
        ("off", {onednn.VARIABLE: "0"}, "oneDNN off, .* portable"),
        (
            "without_avx512",
            {"ONEDNN_MAX_CPU_ISA": "AVX2"},
            "^AVX2, .* oneDNN on, .* native",
        ),
    )
    def test_says_what_it_uses_and_no_more(self, environment, expected):
        # As it is wherever oneDNN has kernels: on x86.
        output, errors = _run(_BUILD, **environment)
        self.assertRegex(output, expected)
        self.assertNotRegex(
            errors, "rendezvous|feature request|op_kernel|keras_regnet"
        )

    def test_gradient_of_a_saved_model_without_it(self):
        config = keras_regnet.AnyNetConfig((1,), (32,), group_widths=16)
        model = keras_regnet.AnyNet(config, input_shape=(32, 32, 3), classes=2)
        images = tf.constant(
            np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)), "float32"
        )
        with tf.GradientTape() as tape:
            tape.watch(images)
            output = model(images, training=False)[:, 0]
        expected = tape.gradient(output, images).numpy()
        with tempfile.TemporaryDirectory() as folder:
            saved_model.save(model, f"{folder}/saved", verify=False)
            np.save(f"{folder}/images.npy", images.numpy())
            code = _GRADIENT.format(folder=folder)
            _run(code, **{onednn.VARIABLE: "0"})
            actual = np.load(f"{folder}/gradient.npy")
        np.testing.assert_allclose(
            actual, expected, atol=1e-5 * np.abs(expected).max()
        )

    def test_behind_tensorflow_it_is_left_to_tensorflow(self):
        output, _ = _run(
            "import keras, os, keras_regnet;"
            f"print(os.environ.get('{onednn.VARIABLE}'))"
        )
        self.assertEqual(output.strip(), "None")


if __name__ == "__main__":
    absltest.main()
