"""The states of a sweep's trials, and the options of training."""

import math
import tempfile

from absl.testing import absltest

from tests.support import design_space_testing as testing
from training.sweeps import regimes
from training.sweeps import spec as spec_lib
from training.sweeps.options import Options
from training.sweeps.trial_queue import TrialQueue

_SPEC = spec_lib.Spec(regime=regimes.get("synthetic"), spaces=("RegNetX",), n=3)


class QueueTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.trials = spec_lib.sample(
            _SPEC, self.enterContext(tempfile.TemporaryDirectory())
        )

    def _record(self, index, **changes):
        return testing.record_of(self.trials[index], **changes)

    def _failure(self, index, attempt):
        return self._record(
            index, status="failed", error=None, reason="x", attempt=attempt
        )

    def test_finished_trials_do_not_run_again(self):
        past = [self._record(0), self._failure(1, 1)]
        queue = TrialQueue(self.trials, past, retries=1)
        jobs = []
        while queue.waiting:
            jobs.append(queue.next_job())
        result = [(job.trial.index, job.attempt) for job in jobs]
        self.assertEqual(result, [(1, 2), (2, 1)])
        self.assertEqual(
            queue.counts(), "1 done, 0 failed, 2 running, 0 waiting"
        )

    def test_limit(self):
        """As given; else ten times the slowest, once there is one."""
        given = TrialQueue(self.trials, [], 1, trial_timeout=5.0)
        self.assertEqual(given.limit, 5.0)
        queue = TrialQueue(self.trials, [self._record(2, seconds=9e9)], 1)
        self.assertEqual(queue.limit, math.inf)
        for seconds, limit in ((12.34, 600), (100.04, 1000)):
            trial = queue.next_job().trial
            queue.finish(self._record(trial.index, seconds=seconds))
            self.assertEqual(queue.limit, limit)

    def test_retries_end(self):
        queue = TrialQueue(self.trials[:1], [], retries=2)
        for attempt in (1, 2, 3):
            self.assertEqual(queue.next_job().attempt, attempt)
            self.assertIn("FAILED", queue.finish(self._failure(0, attempt)))
        self.assertEqual(queue.remaining, 0)
        self.assertEqual(
            queue.counts(), "0 done, 1 failed, 0 running, 0 waiting"
        )

    def test_more_retries_restore_failed_trials(self):
        past = [self._failure(0, 1)]
        for retries, waiting in ((0, 0), (1, 1)):
            queue = TrialQueue(self.trials[:1], past, retries)
            self.assertEqual(queue.waiting, waiting)


class OptionsTest(absltest.TestCase):
    def test_bad_limit(self):
        for limit in (0, -1.0, math.nan):
            with self.assertRaisesRegex(ValueError, "`trial_timeout` must be"):
                Options(trial_timeout=limit)

    def test_unknown_engine(self):
        with self.assertRaisesRegex(ValueError, "Did you mean 'ray'"):
            Options(engine="rey")

    def test_bad_gpus(self):
        for engine, gpus, message in (
            ("ray", math.nan, "`gpus` must be a number.*nan"),
            ("ray", -1.0, "`gpus` must be a number.*-1"),
            ("local", 1.0, "`gpus` are shared out on a Ray cluster alone"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                Options(engine=engine, gpus=gpus)


if __name__ == "__main__":
    absltest.main()
