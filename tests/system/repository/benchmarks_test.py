"""The benchmarks run on tiny settings and write what they measured."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from absl.testing import absltest

from benchmarks.harness import child
from tests.support import paths

_DOUBLE = """
import json, sys
print("noise", file=sys.stderr)
for line in sys.stdin:
    print(json.dumps(2 * json.loads(line)), flush=True)
"""


def _child(program):
    return child.Child([sys.executable, "-c", program])


class ChildTest(absltest.TestCase):
    def test_replies_to_jobs_in_order(self):
        with _child(_DOUBLE) as process:
            self.assertEqual([process.call(21), process.call("a")], [42, "aa"])

    def test_error_says_how_it_ended(self):
        with (
            _child(_DOUBLE) as process,
            self.assertRaisesRegex(
                child.CaseError, "ended early with status 1: TypeError"
            ),
        ):
            process.call(None)

    def test_error_says_what_killed_it(self):
        program = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
        with (
            _child(program) as process,
            self.assertRaisesRegex(child.CaseError, "SIGKILL: it said nothi"),
        ):
            process.call(1)

    def test_no_such_program(self):
        with self.assertRaisesRegex(child.CaseError, "did not start"):
            child.Child(["no_such_python"])

    def test_prints_are_no_replies(self):
        command = [sys.executable, "-m", "benchmarks.harness.worker"]
        with child.Child([*command, "tests.support.noisy_case", "1"]) as noisy:
            noisy.call({})
            self.assertEqual(noisy.call(None), {"cores": 1})


class RunTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )

    def _run(self, *arguments):
        return subprocess.run(
            [sys.executable, "-m", "benchmarks", *arguments],
            cwd=paths.ROOT,
            # No environment can be made: nothing is downloaded.
            env={**os.environ, "PIP_NO_INDEX": "1"},
            capture_output=True,
            text=True,
        )

    def _measure(self, suite, cases):
        output = self.folder / "result.json"
        result = self._run(
            "run",
            f"--suite={suite}",
            "--quick",
            f"--cases={cases}",
            f"--cache={self.folder}",
            f"--output={output}",
        )
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return json.loads(output.read_text()), result.stdout

    def test_inference(self):
        record, said = self._measure("inference", "portable,channels_last")
        (setting,) = record["settings"]
        self.assertEqual(setting["labels"]["network"], "RegNetX-200MF")
        ours = setting["cases"]["keras_regnet"]
        self.assertGreater(ours["rounds"][0]["seconds"], 0)
        self.assertGreater(ours["facts"]["multiply_adds"], 1e6)
        machine = setting["cases"]["machine"]["rounds"][0]
        self.assertGreater(machine["product_gmac_per_s"], 0)
        self.assertGreater(machine["copy_gb_per_s"], 0)
        self.assertIn("oneDNN", record["machine"]["setting"])
        self.assertIn("--output=result.json", record["command"])
        self.assertNotIn(str(self.folder), record["command"])
        self.assertIn("absent: timm, channels_last: its environment", said)

    def test_errors_are_a_line(self):
        for arguments, message in (
            (["run"], "--suite is needed: one of inference, training"),
            (["run", "--suite=gpu"], "--suite=gpu needs an accelerator: jax"),
            (
                ["run", "--suite=inference", "--networks=RegNetX-401MF"],
                "Did you mean 'RegNetX-400MF'",
            ),
        ):
            result = self._run(*arguments)
            self.assertEqual(result.returncode, 1, message)
            self.assertIn(message, result.stderr)
            self.assertLen(result.stderr.splitlines(), 1, result.stderr)


if __name__ == "__main__":
    absltest.main()
