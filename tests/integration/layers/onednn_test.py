"""oneDNN in processes of their own: TensorFlow decides at its import."""

import os
import subprocess
import sys

from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import onednn
from tests.support import paths

_BUILD = (
    "import keras_regnet; from keras_regnet import processor;"
    "keras_regnet.build('RegNetX-200MF', input_shape=(32, 32, 3));"
    "print(processor.setting())"
)


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

    def test_behind_tensorflow_it_is_left_to_tensorflow(self):
        output, _ = _run(
            "import keras, os, keras_regnet;"
            f"print(os.environ.get('{onednn.VARIABLE}'))"
        )
        self.assertEqual(output.strip(), "None")


if __name__ == "__main__":
    absltest.main()
