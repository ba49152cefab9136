import subprocess
import sys

from absl.testing import absltest

from keras_regnet import variants
from keras_regnet.complexity import complexity
from tests.support import paths

_ROOT = paths.ROOT


def _run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "keras_regnet.info", *arguments],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


class InfoTest(absltest.TestCase):
    def test_a_network_at_a_size(self):
        result = _run("regnety_032", "--image_size=112")
        self.assertEqual(result.returncode, 0, result.stderr)
        row = result.stdout.splitlines()[2].split(" | ")
        self.assertEqual(
            row[:4],
            ["| RegNetY-3.2GF", "2 5 13 1", "72 216 576 1512", "3 9 24 63"],
        )
        config = variants.get_config("RegNetY-3.2GF")
        flops = complexity(config, (112, 112, 3)).flops
        self.assertEqual(row[4:6], ["19.4 M", f"{flops / 1e6:.0f} M"])
        self.assertEqual(row[7:], ["ra_in1k", "82.72 |"])
        self.assertIn("| ra_in1k | 82.72 | 288 of 288 | 1000 |", result.stdout)

    def test_unknown_network(self):
        result = _run("RegNetX-401MF")
        self.assertEqual(result.returncode, 1)
        self.assertIn("Did you mean 'RegNetX-400MF'", result.stderr)
        self.assertNotIn("Traceback", result.stderr)


if __name__ == "__main__":
    absltest.main()
