"""Trials in pools of workers of any kind: nothing is started."""

import pathlib
from unittest import mock

from absl.testing import absltest

from keras_regnet.design_space.records import Record
from tests.support import design_space_testing as testing
from training.sweeps import messages
from training.sweeps import pool
from training.sweeps.messages import Job
from training.sweeps.messages import Outcome
from training.sweeps.messages import Ready
from training.sweeps.options import Options


class _Clock:
    """Stands for the module `time`: it goes on when somebody sleeps."""

    def __init__(self):
        self._now = 0.0

    def monotonic(self):
        return self._now

    def sleep(self, seconds):
        self._now += seconds


class _Worker(pool.Worker):
    startup_limit = 0.05

    def __init__(self, number, ready=True):
        super().__init__(number)
        self.ready = ready
        self.sent, self.stopped = [], False

    def send(self, job):
        self.sent.append(job)

    def reason(self):
        return "it died"

    def stop(self):
        self.stopped = True


class _Pool(pool.Pool):
    """Its news is put into `news` by a test."""

    def __init__(self, count, trials_per_worker=50, ready=True):
        self.made, self.news, self.waited = [], [], []
        self.ready = ready
        options = Options(trials_per_worker=trials_per_worker)
        super().__init__(count, pathlib.Path(), options)

    def _start(self, number):
        self.made.append(_Worker(number, self.ready))
        return self.made[-1]

    def _forget(self, worker):
        self.news = [item for item in self.news if item[0] is not worker]

    def _poll(self, timeout):
        self.waited.append(timeout)
        news, self.news = self.news, []
        if not news:
            pool.time.sleep(timeout)
        yield from news


def _job(index=0, attempt=1):
    return Job(testing.trial(index=index), attempt)


def _outcome(job, **changes):
    fields = {"status": "done", "error": 1.0, "attempt": job.attempt}
    return Outcome(Record(**vars(job.trial), **{**fields, **changes}))


class PoolTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.enterContext(mock.patch.object(pool, "time", _Clock()))

    def test_submits_and_yields(self):
        with _Pool(2) as workers:
            jobs = [_job(index) for index in range(3)]
            workers.submit(jobs[0])
            workers.submit(jobs[1])
            self.assertEqual(workers.idle, 0)
            first, second = workers.made
            outcome = _outcome(jobs[1])
            workers.news = [(second, [outcome], False)]
            self.assertEqual(list(workers.wait(1)), [outcome.record])
            self.assertEqual(workers.idle, 1)
            workers.submit(jobs[2])
            self.assertEqual(first.sent, jobs[:1])
            self.assertEqual(second.sent, jobs[1:])
        self.assertTrue(first.stopped and second.stopped)

    def test_only_a_worker_that_hangs_is_ended(self):
        workers = _Pool(2)
        workers.submit(_job(1, attempt=3))
        slow, quick = workers.made
        pool.time.sleep(0.1)
        workers.submit(_job(2))
        (record,) = workers.wait(60, limit=0.2)
        self.assertAlmostEqual(workers.waited[-1], 0.1)
        self.assertEqual((record.index, record.attempt), (1, 3))
        self.assertEqual(record.status, "failed")
        reason = "took longer than 0.2 s, and was ended"
        self.assertEqual(record.reason, reason)
        self.assertEqual(record.backend, "tensorflow")
        self.assertEqual(record.seconds, 0.2)
        self.assertTrue(slow.stopped)
        self.assertFalse(quick.stopped)
        self.assertEqual([w.number for w in workers.made], [1, 2, 1])

    def test_an_outcome_that_arrived_is_not_late(self):
        workers = _Pool(1)
        workers.submit(_job())
        pool.time.sleep(0.1)
        outcome = _outcome(_job())
        workers.news = [(workers.made[0], [outcome], False)]
        self.assertEqual(list(workers.wait(1, limit=0.05)), [outcome.record])
        self.assertLen(workers.made, 1)

    def test_an_idle_worker_has_no_limit(self):
        workers = _Pool(1)
        pool.time.sleep(0.1)
        self.assertEmpty(list(workers.wait(0.01, limit=0.05)))
        self.assertLen(workers.made, 1)

    def test_ended_in_the_middle(self):
        workers = _Pool(1)
        workers.submit(_job(5))
        workers.news = [(workers.made[0], [], True)]
        (record,) = workers.wait(1)
        self.assertEqual((record.index, record.reason), (5, "it died"))
        self.assertLen(workers.made, 2)

    def test_fresh_after_a_failure_and_some_trials(self):
        workers = _Pool(1, trials_per_worker=2)
        failure = _outcome(_job(), status="failed", error=None)
        for outcome in (failure, _outcome(_job()), _outcome(_job())):
            workers.submit(_job())
            workers.news = [(workers.made[-1], [outcome], False)]
            self.assertEqual(list(workers.wait(1)), [outcome.record])
        self.assertEqual([len(w.sent) for w in workers.made], [1, 2, 0])

    def test_workers_that_never_get_ready(self):
        workers = _Pool(1, ready=False)
        with self.assertRaisesRegex(
            pool.WorkerError, r"before they are ready: not ready within 0.05 s"
        ):
            for _ in range(3):
                self.assertEmpty(list(workers.wait(60)))
        self.assertLen(workers.made, 3)

    def test_ready_at_last(self):
        workers = _Pool(1, ready=False)
        workers.news = [(workers.made[0], [Ready()], False)]
        self.assertEmpty(list(workers.wait(1)))
        self.assertEqual(workers.idle, 1)


class MessagesTest(absltest.TestCase):
    def test_survive_json(self):
        job = _job(3, attempt=2)
        self.assertEqual(Job.from_json(job.to_json()), job)
        for message in (Ready(), _outcome(job), Outcome(testing.FAILED)):
            line = message.to_json()
            self.assertNotIn("\n", line)
            self.assertEqual(messages.from_worker(line), message)

    def test_a_record_is_checked(self):
        line = _outcome(_job()).to_json().replace('"done"', '"gone"')
        with self.assertRaisesRegex(ValueError, "outcome: `status` must be"):
            messages.from_worker(line)


if __name__ == "__main__":
    absltest.main()
