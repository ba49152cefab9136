"""The program that writes shards."""

import pathlib
import subprocess
import sys
import tempfile

from absl.testing import absltest

from tests.support import paths
from tests.support import training_testing


class ShardsTest(absltest.TestCase):
    def test_the_tool(self):
        root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        photos, out = root / "photos", root / "shards"
        training_testing.write_folder(photos)
        tool = paths.ROOT / "training" / "make_shards.py"
        result = subprocess.run(
            [sys.executable, str(tool), str(photos), str(out)],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertIn("12 training and 12 validation images", result.stdout)
        self.assertTrue((out / "shards.json").is_file())


if __name__ == "__main__":
    absltest.main()
