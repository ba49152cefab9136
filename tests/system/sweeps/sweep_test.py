"""Whole sweeps in real processes, which are killed in the middle."""

import dataclasses
import os
import pathlib
import signal
import tempfile

import pytest
from absl.testing import absltest

from keras_regnet.design_space import records
from tests.support import design_space_testing as testing
from tests.support import sweep_testing as sweeps
from training.sweeps import driver
from training.sweeps import files
from training.sweeps import local_pool
from training.sweeps import pool as pool_lib
from training.sweeps import spec as spec_lib
from training.sweeps.messages import Job
from training.sweeps.options import Options


class KilledSweepTest(absltest.TestCase):
    def test_resumes(self):
        """A worker is killed, then the driver, and a line is truncated."""
        out = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        spec_lib.sample(sweeps.SPEC, out)
        path = out / files.RECORDS
        command = ("run", f"--out={out}", "--workers=1", "--retries=1")
        first = sweeps.start(*command)
        self.addCleanup(first.wait)
        self.addCleanup(first.kill)
        with first.stdout:
            sweeps.wait_until(lambda: sweeps.lines(path) == 1)
            os.kill(sweeps.children(first.pid)[0], signal.SIGKILL)
            sweeps.wait_until(lambda: sweeps.lines(path) == 2)
            children = sweeps.children(first.pid)
            self.assertNotEmpty(children)
            first.send_signal(signal.SIGKILL)
            first.wait()
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
        self.assertEqual(records.read(out / files.PACKED), found)
        page = (out / files.REPORT).read_text()
        self.assertIn("3 networks trained, 0 failed for good", page)
        self.assertTrue((out / files.SUMMARY).exists())

        size = path.stat().st_size
        driver.train(out, Options(retries=1))
        self.assertEqual(path.stat().st_size, size)


class PoolTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )
        self.trials = spec_lib.sample(sweeps.SPEC, self.folder)
        # Whoever tested before in this process may have left some.
        self.not_ours = set(sweeps.children(os.getpid()))

    def _workers(self):
        return set(sweeps.children(os.getpid())) - self.not_ours

    def _pool(self):
        return local_pool.LocalPool(1, self.folder, Options())

    def _trained(self, pool, trial):
        sweeps.wait_until(lambda: list(pool.wait(1)) or pool.idle)
        pool.submit(Job(trial))
        ended = []
        sweeps.wait_until(lambda: ended.extend(pool.wait(1)) or ended)
        return ended

    def test_worker_that_hangs_is_replaced(self):
        with self._pool() as pool:
            sweeps.wait_until(lambda: list(pool.wait(1)) or pool.idle)
            (pid,) = self._workers()
            pool.submit(Job(self.trials[0]))
            self.assertEqual(pool.idle, 0)
            os.kill(pid, signal.SIGSTOP)
            ended = []
            while not ended:
                ended = list(pool.wait(60, limit=1.5))
            (record,) = ended
            self.assertEqual(record.trial_id, self.trials[0].trial_id)
            self.assertEqual(record.status, "failed")
            reason = "took longer than 1.5 s, and was ended"
            self.assertEqual(record.reason, reason)
            # It was not waited until the timeout.
            self.assertBetween(record.seconds, 1.5, 60)
            self.assertFalse(sweeps.is_running(pid))
            (record,) = self._trained(pool, self.trials[1])
            self.assertTrue(record.done, record.reason)
            self.assertEqual(record.trial_id, self.trials[1].trial_id)
            (other,) = self._workers()
            self.assertNotEqual(other, pid)
            broken = dataclasses.replace(self.trials[2], seed=-1)
            (record,) = self._trained(pool, broken)
            self.assertStartsWith(record.reason, "ValueError: ")
            self.assertNotIn(other, self._workers())
        self.assertEmpty(self._workers())

    @pytest.mark.long
    def test_workers_that_cannot_start(self):
        """Not every trial of a sweep fails where nothing can be trained."""
        (self.folder / files.SPEC).unlink()
        with (
            self._pool() as pool,
            self.assertRaisesRegex(
                pool_lib.WorkerError, "before.*sample. first"
            ),
        ):
            sweeps.wait_until(lambda: list(pool.wait(1)) or pool.idle)


if __name__ == "__main__":
    absltest.main()
