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


# Stands in for a checkout: modules of the names that are imported, whose
# sampler keeps every fourth candidate.
_FAKE_PYCLS = {
    "torch.py": "__version__ = 'none'\ndef set_num_threads(n): pass\n",
    "yacs/config.py": """
class CfgNode(dict):
    def __init__(self, values=(), new_allowed=False):
        super().__init__(values)
    def __getattr__(self, name):
        return self.setdefault(name, CfgNode())
    def __setattr__(self, name, value):
        self[name] = value
""",
    "pycls/core/config.py": "cfg = None\n",
    "pycls/sweep/config.py": """
from yacs.config import CfgNode
sweep_cfg = CfgNode()
def load_sampler(key, value):
    assert value["TYPE"].endswith("_sampler")
    return value
""",
    "tools/sweep_setup.py": """
from pycls.sweep.config import sweep_cfg
def sample_cfgs(seed):
    return range(sweep_cfg.SETUP.CHUNK_SIZE // 4)
""",
}


class SamplingTest(absltest.TestCase):
    def _folder(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return pathlib.Path(folder.name)

    def test_side_by_side(self):
        folder = self._folder()
        for name, text in _FAKE_PYCLS.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        output = folder / "sampling.json"
        result = _run(
            "--candidates=1000",
            "--rounds=1",
            "--pycls_candidates=8",
            f"--pycls={folder}",
            f"--output={output}",
        )
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertLen(result.stdout.splitlines(), 4)
        record = json.loads(output.read_text())
        for name in ("AnyNetX_A", "RegNetX"):
            rates = record["spaces"][name]
            self.assertEqual(rates["pycls"]["kept"], 0.25)
            self.assertGreater(rates["keras_regnet"]["candidates_per_s"], 0)
            self.assertBetween(rates["keras_regnet"]["kept"], 0.001, 0.05)

    def test_not_a_checkout(self):
        folder = self._folder()
        result = _run(f"--pycls={folder}")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("pycls ended early", result.stderr)


if __name__ == "__main__":
    absltest.main()
