"""Whole sweeps in real processes, which are killed in the middle."""

import json
import math
import os
import pathlib
import signal
import tempfile
import time
from unittest import mock

import pytest
from absl.testing import absltest

from keras_regnet.design_space import records
from tests.support import design_space_testing as testing
from tests.support import sweep_testing as sweeps
from training.sweeps import pool as pool_lib
from training.sweeps import populations
from training.sweeps import stages
from training.sweeps import trial
from training.sweeps import workers

_SPEC = populations.Spec(regime="synthetic", spaces=("RegNetX",), n=3)


class KilledSweepTest(absltest.TestCase):
    def test_goes_on(self):
        """A worker is killed, then the driver, and a line is cut."""
        out = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        populations.sample(_SPEC, out)
        path = out / stages.RECORDS_FILE
        command = ("run", f"--out={out}", "--workers=1", "--retries=1")
        driver = sweeps.start(*command)
        self.addCleanup(driver.wait)
        self.addCleanup(driver.kill)
        with driver.stdout:
            sweeps.wait_until(lambda: sweeps.lines(path) == 1)
            os.kill(sweeps.children(driver.pid)[0], signal.SIGKILL)
            sweeps.wait_until(lambda: sweeps.lines(path) == 2)
            children = sweeps.children(driver.pid)
            self.assertNotEmpty(children)
            driver.send_signal(signal.SIGKILL)
            driver.wait()
            sweeps.wait_until(
                lambda: not any(map(sweeps.is_running, children)), 20
            )
        before = records.read(path)
        self.assertEqual([r.status for r in before], ["done", "failed"])
        self.assertRegex(before[1].reason, r"worker was killed \(SIGKILL\)")
        with open(path, "a") as file:
            file.write(testing.RECORD.to_json()[:200])

        again = sweeps.start(*command)
        self.addCleanup(again.wait)
        self.addCleanup(again.kill)
        said, _ = again.communicate(timeout=sweeps.PATIENCE)
        self.assertEqual(again.returncode, 0, said)
        self.assertIn("cut by a crash", said)
        self.assertIn("3 trials: 1 done, 0 failed, 0 running, 2 wait", said)
        self.assertRegex(said, r"[1-9]\d* models/h; 0 h \d+ min left")
        self.assertIn("finished: 3 done, 0 failed", said)
        found = records.read(path)
        self.assertEqual(found[:2], before)
        self.assertCountEqual([r.index for r in found if r.done], [0, 1, 2])
        self.assertEqual({r.attempt for r in found[2:]}, {1, 2})
        self.assertEqual(records.read(out / stages.PACKED_FILE), found)
        page = (out / stages.REPORT_FILE).read_text()
        self.assertIn("3 networks trained, 0 failed for good", page)
        self.assertTrue((out / stages.SUMMARY_FILE).exists())

        size = path.stat().st_size
        stages.train(out, retries=1)
        self.assertEqual(path.stat().st_size, size)


class PoolTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )
        self.trials = populations.sample(_SPEC, self.folder)
        # Whoever tested before in this process may have left some.
        self.not_ours = set(sweeps.children(os.getpid()))

    def _workers(self):
        return set(sweeps.children(os.getpid())) - self.not_ours

    def _setup(self, regime):
        return pool_lib.Setup(self.folder, regime)

    def _job(self, index, attempt=1):
        return {"trial": vars(self.trials[index]), "attempt": attempt}

    def _trained(self, pool, job):
        sweeps.wait_until(lambda: list(pool.wait(1)) or pool.idle)
        pool.give(job)
        outcomes = []
        sweeps.wait_until(lambda: outcomes.extend(pool.wait(1)) or outcomes)
        return outcomes

    def test_worker_that_hangs_is_replaced(self):
        with workers.Pool(1, self._setup("synthetic")) as pool:
            sweeps.wait_until(lambda: list(pool.wait(1)) or pool.idle)
            (pid,) = self._workers()
            job = self._job(0)
            pool.give(job)
            self.assertEqual((pool.running, pool.idle), (1, 0))
            os.kill(pid, signal.SIGSTOP)
            start = time.monotonic()
            outcomes = []
            while not outcomes:
                outcomes = list(pool.wait(60, limit=1.5))
            self.assertBetween(time.monotonic() - start, 1, 20)
            ((same, result),) = outcomes
            self.assertEqual(same, job)
            self.assertEqual(result["status"], "failed")
            reason = "took longer than 1.5 s, and was ended"
            self.assertEqual(result["reason"], reason)
            self.assertGreaterEqual(result["seconds"], 1.5)
            self.assertFalse(sweeps.is_running(pid))
            ((_, result),) = self._trained(pool, self._job(1))
            record = records.from_dict(result)
            self.assertTrue(record.done, record.reason)
            self.assertEqual(record.trial, self.trials[1].trial)
            (other,) = self._workers()
            self.assertNotEqual(other, pid)
            broken = self._job(2)
            broken["trial"] = {**broken["trial"], "config": "{}"}
            ((_, result),) = self._trained(pool, broken)
            self.assertStartsWith(result["reason"], "ValueError: Unknown")
            self.assertNotIn(other, self._workers())
        self.assertEmpty(self._workers())

    @pytest.mark.long
    def test_workers_that_cannot_start(self):
        """Not every trial of a sweep fails where nothing can be trained."""
        with (
            workers.Pool(1, self._setup("cifar10")) as pool,
            self.assertRaisesRegex(
                pool_lib.WorkerError, "before.*No such file"
            ),
        ):
            sweeps.wait_until(lambda: list(pool.wait(1)) or pool.idle)


class QueueTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.trials = populations.sample(
            _SPEC, self.enterContext(tempfile.TemporaryDirectory())
        )

    def _record(self, index, **changes):
        fields = {**vars(testing.RECORD), **vars(self.trials[index])}
        return records.Record(**{**fields, **changes})

    def _failure(self, index, attempt):
        return self._record(
            index, status="failed", error=None, reason="x", attempt=attempt
        )

    def test_finished_trials_do_not_run_again(self):
        past = [self._record(0), self._failure(1, 1)]
        queue = stages.Queue(self.trials, past, retries=1)
        jobs = []
        while queue.waiting:
            jobs.append(queue.next_job())
        found = [(job["trial"]["index"], job["attempt"]) for job in jobs]
        self.assertEqual(found, [(1, 2), (2, 1)])
        self.assertEqual(
            queue.counts(), "1 done, 0 failed, 2 running, 0 waiting"
        )

    def test_limit(self):
        """As given; else ten times the slowest, once there is one."""
        given = stages.Queue(self.trials, [], 1, trial_timeout=5.0)
        self.assertEqual(given.limit, 5.0)
        queue = stages.Queue(self.trials, [self._record(2, seconds=9e9)], 1)
        self.assertEqual(queue.limit, math.inf)
        for seconds, limit in ((12.34, 600), (100.04, 1000)):
            job = trial.Trial(**queue.next_job()["trial"])
            queue.finish(self._record(job.index, seconds=seconds), job)
            self.assertEqual(queue.limit, limit)

    def test_retries_end(self):
        queue = stages.Queue(self.trials[:1], [], retries=2)
        for attempt in (1, 2, 3):
            job = queue.next_job()
            self.assertEqual(job["attempt"], attempt)
            record = self._failure(0, attempt)
            line = queue.finish(record, trial.Trial(**job["trial"]))
            self.assertIn("FAILED", line)
        self.assertTrue(queue.finished)
        self.assertEqual(
            queue.counts(), "0 done, 1 failed, 0 running, 0 waiting"
        )

    def test_more_retries_take_up_what_failed(self):
        past = [self._failure(0, 1)]
        for retries, waiting in ((0, False), (1, True)):
            queue = stages.Queue(self.trials[:1], past, retries)
            self.assertEqual(queue.waiting, waiting)


class StagesTest(absltest.TestCase):
    def test_nothing_to_report(self):
        out = self.enterContext(tempfile.TemporaryDirectory())
        for stage in (stages.collect, stages.analyze, stages.report):
            with self.assertRaisesRegex(ValueError, "the sweep is empty"):
                stage(out)

    def test_unfinished_sweep(self):
        out = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        trials = populations.sample(_SPEC, out)
        log = records.Log(out / stages.RECORDS_FILE)
        fields = {**vars(testing.RECORD), **vars(trials[0])}
        log.append(records.Record(**fields))
        log.close()
        for stage in (stages.collect, stages.analyze, stages.report):
            stage(out)
        summary = json.loads((out / stages.SUMMARY_FILE).read_text())
        (space,) = summary["spaces"]
        self.assertEqual((space["n"], space["missing"]), (1, 2))
        self.assertIn("2 not run", (out / stages.REPORT_FILE).read_text())

    def test_nothing_but_packed_records(self):
        """As of networks that were trained elsewhere."""
        out = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        population = testing.population("RegNetX", 9, 40)
        records.write_packed(out / stages.PACKED_FILE, population)
        for stage in (stages.analyze, stages.report):
            stage(out)
        page = (out / stages.REPORT_FILE).read_text()
        self.assertIn("9 networks trained, 0 failed for good, 0 not", page)

    def test_packed_records_are_not_trained_again(self):
        out = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        past = [
            records.Record(**{**vars(testing.RECORD), **vars(trial)})
            for trial in populations.sample(_SPEC, out)
        ]
        records.write_packed(out / stages.PACKED_FILE, past)
        with mock.patch.object(stages, "start_pool") as start:
            stages.train(out)
        start.assert_not_called()
        stages.collect(out)
        self.assertEqual(records.read(out / stages.PACKED_FILE), past)

    def test_two_drivers(self):
        out = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        populations.sample(_SPEC, out)
        with (
            stages._locked(out),
            self.assertRaisesRegex(ValueError, "no other process"),
        ):
            stages.train(out)

    def test_bad_limit(self):
        for limit in (0, -1.0, math.nan):
            with self.assertRaisesRegex(ValueError, "`trial_timeout` must be"):
                stages.train("", trial_timeout=limit)

    def test_unknown_engine(self):
        with self.assertRaisesRegex(ValueError, "Did you mean 'ray'"):
            stages.start_pool("", "synthetic", 1, engine="rey")

    def test_bad_gpus(self):
        for engine, gpus, message in (
            ("ray", math.nan, "`gpus` must be a number.*nan"),
            ("ray", -1.0, "`gpus` must be a number.*-1"),
            ("local", 1.0, "`gpus` are shared out on a Ray cluster alone"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                stages.start_pool("", "synthetic", 1, engine=engine, gpus=gpus)

    def test_train_before_sample(self):
        with self.assertRaisesRegex(ValueError, "run `sample` first"):
            stages.train(self.enterContext(tempfile.TemporaryDirectory()))


if __name__ == "__main__":
    absltest.main()
