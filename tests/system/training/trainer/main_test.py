"""Tests of the entry point, as a user starts it."""

import os
import subprocess
import sys
import tempfile

from absl.testing import absltest

from tests.support import paths
from tests.support import training_testing

_MAIN = paths.ROOT / "training" / "main.py"

# Flags, and what the one line on stderr must say.
_WRONG = {
    "flag": (["--epoch=1"], "Unknown command line flag 'epoch'.*epochs"),
    "argument": (["digits"], r"Unexpected arguments: \['digits'\]"),
    "variant": (["--variant=RegNetX-40MF"], "RegNetX-400MF.*RegNetX-40MF"),
    "dataset": (["--dataset=folder:/nowhere"], "does not exist.*/nowhere"),
    "weights": (["--weights=missing.keras"], "missing.keras"),
    "batch": (
        ["--global_batch_size=7", "--num_cpu_devices=2"],
        "global_batch_size=7, replicas=2",
    ),
}


class MainTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.enterContext(tempfile.TemporaryDirectory())

    def start(self, *arguments):
        # From another folder, and with another backend configured.
        paths = [path for path in sys.path if path]
        return subprocess.Popen(
            [sys.executable, str(_MAIN), *arguments],
            cwd=self.folder,
            env={
                **os.environ,
                "KERAS_BACKEND": "jax",
                "PYTHONPATH": os.pathsep.join(paths),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def test_wrong_flags_end_as_one_line(self):
        """Two at a time: most of it is TensorFlow's start."""
        waiting = list(_WRONG.items())
        while waiting:
            pair, waiting = waiting[:2], waiting[2:]
            running = [self.start(*case[1][0]) for case in pair]
            for (name, (_, message)), process in zip(
                pair, running, strict=True
            ):
                _, errors = process.communicate()
                with self.subTest(name):
                    self.assertNotEqual(process.returncode, 0)
                    self.assertNotIn("Traceback", errors)
                    line = errors.strip().splitlines()[-1]
                    self.assertRegex(line, f"^error: .*{message}")
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_run_from_anywhere(self):
        network = training_testing.write_network(self.folder)
        process = self.start(
            f"--variant={network}",
            "--epochs=1",
            "--global_batch_size=512",
            "--num_cpu_devices=2",
        )
        dry = self.start(f"--variant={network}", "--dry_run", "--workdir=dry")
        _, errors = process.communicate()
        self.assertEqual(process.returncode, 0, errors)
        text, _ = dry.communicate()
        self.assertRegex(text, r"memory of a training step, per replica: \d")
        self.assertNotIn("dry", os.listdir(self.folder))
        run = os.path.join(self.folder, "runs", "quickstart")
        self.assertNotIn("cuInit", errors)
        self.assertNotIn("oneDNN custom operations", errors)
        self.assertIn("runs/quickstart", errors)
        self.assertRegex(errors, r"epoch 1/1 .*top-5 .*images/s .*left 0:00:00")
        self.assertTrue(os.path.isdir(os.path.join(run, "saved_model")))


if __name__ == "__main__":
    absltest.main()
