"""The same weights give the same logits on JAX as on TensorFlow.

Keras takes its backend once per process, so JAX runs in one of its own.
"""

import os
import subprocess
import sys
import tempfile

import numpy as np
from absl.testing import absltest

from tests.support import backend_logits
from tests.support import paths


class BackendsTest(absltest.TestCase):
    def test_jax_computes_what_tensorflow_computes(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "jax.npz")
            search = [str(paths.ROOT), *sys.path]
            subprocess.run(
                [sys.executable, backend_logits.__file__, path],
                env=os.environ
                | {
                    "KERAS_BACKEND": "jax",
                    "PYTHONPATH": os.pathsep.join(filter(None, search)),
                },
                check=True,
            )
            with np.load(path) as stored:
                jax = dict(stored)
        self.assertEqual(str(jax.pop("backend")), "jax")
        for name, logits in backend_logits.outputs().items():
            scale = np.abs(logits).max()
            self.assertGreater(scale, 0.1)
            np.testing.assert_allclose(
                jax[name] / scale, logits / scale, atol=1e-4, err_msg=name
            )


if __name__ == "__main__":
    absltest.main()
