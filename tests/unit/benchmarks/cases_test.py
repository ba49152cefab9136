"""What processes of benchmark cases do, here without a process."""

import io
import json
import time
from unittest import mock

from absl.testing import absltest

from benchmarks.cases import parts
from benchmarks.cases import sampler
from benchmarks.harness import worker
from benchmarks.suites import common


class WorkerTest(absltest.TestCase):
    def test_prepares_and_takes_turns(self):
        module = mock.Mock()
        module.prepare = lambda job: worker.Prepared(
            lambda: {"seconds": job["a"]}, {"x": "1"}, {"images": 2}
        )
        lines = io.StringIO('{"a": 3}\nnull\nnull\n{"a": 4}\nnull\n')
        replies = []
        worker.serve(module, lines, replies.append)
        ready = {"versions": {"x": "1"}, "facts": {"images": 2}}
        self.assertEqual(
            replies,
            [ready, *[{"seconds": 3}] * 2, ready, {"seconds": 4}],
        )

    def test_a_turn_lasts_about_as_long_as_asked(self):
        calls = []
        turn = worker.Repeated(lambda: calls.append(time.sleep(1e-3)), 0.02)
        self.assertLen(calls, 3)  # The first also plans, two tell the time.
        seconds = turn()["seconds"]
        self.assertGreaterEqual(seconds, 1e-3)
        self.assertBetween(len(calls), 4 + 5, 4 + 20)

    def test_a_slow_step_is_a_turn(self):
        calls = []
        turn = worker.Repeated(lambda: calls.append(0), turn_seconds=0.0)
        self.assertLen(calls, 2)
        turn()
        self.assertLen(calls, 3)


class PartsTest(absltest.TestCase):
    def test_sum(self):
        clock = parts.Parts()
        self.assertEqual(clock.timed("a", lambda: 7), 7)
        clock.did("b")
        measured = clock.measured()
        self.assertEqual(list(measured), ["a", "b", "seconds"])
        self.assertEqual(measured["seconds"], measured["a"] + measured["b"])


class SamplerTest(absltest.TestCase):
    def test_candidates(self):
        job = {"space": "RegNetX", "flops": [360e6, 400e6], "candidates": 1000}
        prepared = sampler.prepare(job)
        measured = prepared.turn()
        json.dumps(measured)
        self.assertBetween(measured["seconds"], 1e-9, 1e-2)
        self.assertBetween(measured["kept"], 5e-4, 0.05)


class LibraryNamesTest(absltest.TestCase):
    def test_names(self):
        self.assertEqual(
            common.library_names("RegNetY-3.2GF"),
            {
                "timm": "regnety_032",
                "torchvision": "regnet_y_3_2gf",
                "tf_keras": "RegNetY032",
            },
        )

    def test_others_have_none(self):
        with self.assertRaisesRegex(ValueError, "RegNetX or RegNetY.*'Vit'"):
            common.library_names("Vit")


if __name__ == "__main__":
    absltest.main()
