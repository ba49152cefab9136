"""The command line of weights, as a process."""

import os
import pathlib
import subprocess
import sys
import tempfile

import h5py
from absl.testing import absltest

from tests.support import paths


class WeightsMainTest(absltest.TestCase):
    def test_from_the_shell(self):
        folder = self.enter_context(tempfile.TemporaryDirectory())
        damaged = pathlib.Path(folder) / "damaged.h5"
        with h5py.File(damaged, "w") as file:
            file["x"] = 0
        result = subprocess.run(
            [sys.executable, "-m", "keras_regnet.weights", "verify", damaged],
            cwd=paths.ROOT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stdout, "")
        self.assertNotIn("Traceback", result.stderr)
        self.assertIn("error: '", result.stderr.splitlines()[-1])


if __name__ == "__main__":
    absltest.main()
