"""Design spaces in a process without Keras."""

import subprocess
import sys

from absl.testing import absltest


class ImportTest(absltest.TestCase):
    def test_needs_no_keras(self):
        code = """
import importlib.util, sys, types
package = types.ModuleType("keras_regnet")
found = importlib.util.find_spec("keras_regnet")
package.__path__ = list(found.submodule_search_locations)
sys.modules["keras_regnet"] = package
import keras_regnet.design_space as d
import numpy as np
print(len(d.space("RegNetX").sample(np.random.default_rng(0), n=2)))
print([m for m in ("keras", "tensorflow", "scipy", "matplotlib")
       if m in sys.modules])
"""
        result = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        )
        self.assertEqual(result.stdout.split("\n")[:2], ["2", "[]"])


if __name__ == "__main__":
    absltest.main()
