"""What becomes of trials, with workers of any kind: nothing is started."""

import pathlib
import time

from absl.testing import absltest

from training.sweeps import pool


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
    """News is what a test puts into `news`."""

    def __init__(self, count, trials_per_worker=50, ready=True):
        self.made, self.news, self.waited = [], [], []
        self.ready = ready
        setup = pool.Setup(
            pathlib.Path(), "synthetic", trials_per_worker=trials_per_worker
        )
        super().__init__(count, setup)

    def _start(self, number):
        self.made.append(_Worker(number, self.ready))
        return self.made[-1]

    def _forget(self, worker):
        self.news = [item for item in self.news if item[0] is not worker]

    def _poll(self, timeout):
        self.waited.append(timeout)
        news, self.news = self.news, []
        if not news:
            time.sleep(timeout)
        yield from news


_DONE = {"status": "done"}


class PoolTest(absltest.TestCase):
    def test_gives_and_takes(self):
        with _Pool(2) as workers:
            workers.give({"trial": 1})
            workers.give({"trial": 2})
            self.assertEqual((workers.running, workers.idle), (2, 0))
            first, second = workers.made
            workers.news = [(second, [_DONE], False)]
            self.assertEqual(list(workers.wait(1)), [({"trial": 2}, _DONE)])
            self.assertEqual((workers.running, workers.idle), (1, 1))
            workers.give({"trial": 3})
            self.assertEqual(second.sent, [{"trial": 2}, {"trial": 3}])
        self.assertTrue(first.stopped and second.stopped)

    def test_only_what_hangs_is_ended(self):
        workers = _Pool(2)
        workers.give("slow")
        slow, quick = workers.made
        time.sleep(0.1)
        workers.give("quick")
        ((job, result),) = workers.wait(60, limit=0.2)
        self.assertLess(workers.waited[-1], 0.11)
        self.assertEqual(job, "slow")
        self.assertEqual(result["status"], "failed")
        reason = "took longer than 0.2 s, and was ended"
        self.assertEqual(result["reason"], reason)
        self.assertBetween(result["seconds"], 0.2, 5)
        self.assertTrue(slow.stopped)
        self.assertFalse(quick.stopped)
        self.assertEqual([w.number for w in workers.made], [1, 2, 1])

    def test_a_result_that_came_is_not_late(self):
        workers = _Pool(1)
        workers.give("slow")
        time.sleep(0.1)
        workers.news = [(workers.made[0], [_DONE], False)]
        self.assertEqual(list(workers.wait(1, limit=0.05)), [("slow", _DONE)])
        self.assertLen(workers.made, 1)

    def test_who_waits_has_no_limit(self):
        workers = _Pool(1)
        time.sleep(0.1)
        self.assertEmpty(list(workers.wait(0.01, limit=0.05)))
        self.assertLen(workers.made, 1)

    def test_ended_in_the_middle(self):
        workers = _Pool(1)
        workers.give("x")
        workers.news = [(workers.made[0], [], True)]
        ((job, result),) = workers.wait(1)
        self.assertEqual((job, result["reason"]), ("x", "it died"))
        self.assertLen(workers.made, 2)

    def test_fresh_after_a_failure_and_some_trials(self):
        workers = _Pool(1, trials_per_worker=2)
        for result in ({"status": "failed"}, _DONE, _DONE):
            workers.give("x")
            workers.news = [(workers.made[-1], [result], False)]
            self.assertEqual(list(workers.wait(1)), [("x", result)])
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
        workers.news = [(workers.made[0], [{"ready": True}], False)]
        self.assertEmpty(list(workers.wait(1)))
        self.assertEqual(workers.idle, 1)


if __name__ == "__main__":
    absltest.main()
