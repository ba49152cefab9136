"""Benchmarks run on tiny settings and write what they measured."""

import json
import os
import subprocess
import sys
import tempfile

from absl.testing import absltest

from benchmarks import timing
from tests.support import paths

_ROOT = paths.ROOT
_DOUBLE = "reply(sys.argv[1])\nfor job in jobs():\n    reply(2 * job)\n"


def _run_models(*arguments):
    return subprocess.run(
        [sys.executable, "benchmarks/models.py", *arguments],
        cwd=_ROOT,
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
    )


class ChildTest(absltest.TestCase):
    def test_replies_to_jobs_in_order(self):
        with timing.Child("double", sys.executable, _DOUBLE, 7) as child:
            self.assertEqual(child.greeting, "7")
            self.assertEqual([child.call(21), child.call("a")], [42, "aa"])

    def test_prints_are_no_replies(self):
        program = "print('noise')\nos.system('echo noise')\nreply('ready')\n"
        with timing.Child("noisy", sys.executable, program) as child:
            self.assertEqual(child.greeting, "ready")

    def test_error_names_the_child_that_dies_at_work(self):
        with (
            timing.Child("double", sys.executable, _DOUBLE, 7) as child,
            self.assertRaisesRegex(
                timing.ChildError, "double ended early with status 1: TypeErr"
            ),
        ):
            child.call(None)

    def test_error_names_the_child_that_dies_at_its_start(self):
        with self.assertRaisesRegex(
            timing.ChildError, "mute ended early with status 3: it said noth"
        ):
            timing.Child("mute", sys.executable, "sys.exit(3)")

    def test_error_names_the_child_without_interpreter(self):
        with self.assertRaisesRegex(timing.ChildError, "lost did not start"):
            timing.Child("lost", "no_such_python", _DOUBLE)


class TakeTurnsTest(absltest.TestCase):
    def test_cases_alternate_and_slow_ones_stop_early(self):
        calls = []
        cases = {
            "fast": timing.Case(lambda n: calls.append("f"), rounds=3),
            "slow": timing.Case(
                lambda n: calls.append("s"), rounds=1, slow=True
            ),
        }
        for case in cases.values():
            case.warm_up(0.0)
        self.assertEqual("".join(calls), "fffs")
        calls.clear()
        left = []
        timing.take_turns(cases, 3, lambda *report: left.append(report))
        # One untimed call before each timed one, but not of the slow.
        self.assertEqual("".join(calls), "ffsffff")
        self.assertLen(cases["fast"].seconds, 3)
        self.assertLen(cases["slow"].seconds, 1)
        self.assertEqual([number for number, _ in left], [0, 1, 2])
        self.assertGreater(min(seconds for _, seconds in left), 0)

    def test_a_turn_lasts_about_as_long_as_asked(self):
        steps = []
        case = timing.Case(steps.append, rounds=1)
        case.warm_up(1e-3)
        case.take_turn()
        self.assertEqual(steps[:4], [1, 1, 1, 1])
        self.assertGreater(steps[4], 1)


class ModelsTest(absltest.TestCase):
    def test_tiny_run(self):
        folder = self.enter_context(tempfile.TemporaryDirectory())
        output = os.path.join(folder, "models.json")
        result = _run_models(
            "--models=regnetx_002",
            "--image_size=32",
            "--batch_size=2",
            "--inference_batch_size=1",
            "--rounds=2",
            "--stock_rounds=0",
            "--turn_seconds=0",
            f"--output={output}",
        )
        self.assertEqual(result.returncode, 0, result.stderr)
        with open(output) as file:
            record = json.load(file)
        self.assertEqual(record["left_out"], ["torch", "tf_keras"])
        self.assertIn("--output=models.json", record["header"]["command"])
        training, inference = record["settings"]
        self.assertEqual(training["network"], "RegNetX-200MF")
        self.assertEqual(list(training["contestants"]), ["keras_regnet"])
        self.assertEqual(
            list(inference["contestants"]),
            [
                "keras_regnet",
                "keras_regnet, batch norm folded",
                "keras_regnet, portable",
                "Keras's own layers",
            ],
        )
        for result_of_one in inference["contestants"].values():
            self.assertGreater(result_of_one["images_per_s"], 0)
            self.assertGreater(result_of_one["share_of_product_rate"], 0)
            self.assertLen(result_of_one["ours_over_it_by_round"], 2)
        ours = training["contestants"]["keras_regnet"]
        self.assertEqual(ours["ours_over_it"]["median"], 1.0)
        self.assertIn("| RegNetX-200MF | training, 2 |", result.stdout)
        self.assertIn("Left out: tf_keras", result.stdout)

    def test_a_child_that_dies_is_one_line(self):
        result = _run_models("--torch_python=no_such_python")
        self.assertEqual(result.returncode, 1)
        self.assertIn("Error: torch did not start", result.stderr)
        self.assertNotIn("Traceback", result.stderr)

    def test_an_unknown_model_is_a_usage_error(self):
        result = _run_models("--models=RegNetX-401MF")
        self.assertEqual(result.returncode, 1)
        self.assertIn("RegNetX-400MF", result.stderr)
        self.assertNotIn("Traceback", result.stderr)


if __name__ == "__main__":
    absltest.main()
