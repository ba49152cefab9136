"""The benchmark of sampling runs on tiny settings."""

import json
import pathlib
import subprocess
import sys
import tempfile

from absl.testing import absltest

from tests.support import paths

_ROOT = paths.ROOT


# The benchmark without Keras, whose import takes longer than all the rest.
_WITHOUT_KERAS = """
import runpy, sys, types
package = types.ModuleType("keras_regnet")
package.__path__ = ["keras_regnet"]
sys.modules["keras_regnet"] = package
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def _run(*arguments):
    script = "benchmarks/sampling.py"
    return subprocess.run(
        [sys.executable, "-c", _WITHOUT_KERAS, script, *arguments],
        cwd=_ROOT,
        capture_output=True,
        text=True,
    )


class SamplingTest(absltest.TestCase):
    def _folder(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return pathlib.Path(folder.name)

    def test_ours_alone(self):
        output = self._folder() / "sampling.json"
        result = _run("--candidates=1000", "--rounds=1", f"--output={output}")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertLen(result.stdout.splitlines(), 2)
        record = json.loads(output.read_text())
        for name in ("AnyNetX_A", "RegNetX"):
            rates = record["spaces"][name]["keras_regnet"]
            self.assertGreater(rates["candidates_per_s"], 0)
            self.assertBetween(rates["kept"], 0.001, 0.05)

    def test_not_a_checkout(self):
        folder = self._folder()
        result = _run(f"--pycls={folder}")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("pycls ended early", result.stderr)


if __name__ == "__main__":
    absltest.main()
