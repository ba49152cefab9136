"""Sweeps on a Ray cluster of several nodes, which are killed in the middle.

Needs the extra [cluster], and runs only when it is asked for:

    pytest --cluster tests/cluster
"""

import contextlib
import os
import pathlib
import signal
import tempfile
from unittest import mock

from absl.testing import absltest
from ray import cluster_utils

from keras_regnet.design_space import records
from tests.support import sweep_testing as sweeps
from training.sweeps import files
from training.sweeps import regimes
from training.sweeps import spec as spec_lib

_NODE = {"object_store_memory": 100 * 2**20}
_TRAINER = b"ray::_Trainer"


def _trainers(title=_TRAINER):
    """Returns the processes of actors by their titles, which Ray sets."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().startswith(title):
                found.append(int(path.parent.name))
    return found


def _parent(pid):
    state = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return int(state.rpartition(")")[2].split()[1])


def _raylet(node):
    return node.all_processes["raylet"][0].process.pid


class RayClusterTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        # Beside other work, Ray's workers would get next to nothing.
        self.enterContext(mock.patch.dict(os.environ, RAY_worker_niceness="0"))
        # The head trains nothing: whatever is trained can be killed.
        self.cluster = cluster_utils.Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, **_NODE}
        )
        self.addCleanup(self.cluster.shutdown)
        self.nodes = [
            self.cluster.add_node(num_cpus=1, **_NODE) for _ in range(2)
        ]
        self.out = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )
        self.records = self.out / files.RECORDS

    def start(self, *arguments):
        port = self.cluster.address.rpartition(":")[2]
        driver = sweeps.start(
            "run",
            f"--out={self.out}",
            "--engine=ray",
            f"--ray_address=127.0.0.1:{port}",
            *arguments,
        )
        self.addCleanup(driver.wait)
        self.addCleanup(driver.kill)
        self.addCleanup(driver.stdout.close)
        return driver

    def sample(self, n):
        spec_lib.sample(
            spec_lib.Spec(
                regime=regimes.get("synthetic"), spaces=("RegNetX",), n=n
            ),
            self.out,
        )

    def stop_a_trial(self):
        """Returns a process in the middle of a trial, brought to a halt."""
        title = _TRAINER + b".train"
        sweeps.wait_until(lambda: _trainers(title))
        pid = _trainers(title)[0]
        os.kill(pid, signal.SIGSTOP)
        self.assertIn(pid, _trainers(title))
        return pid

    def check_finished(self, driver, n):
        said, _ = driver.communicate(timeout=sweeps.PATIENCE)
        self.assertEqual(driver.returncode, 0, said)
        self.assertIn(f"finished: {n} done, 0 failed", said)
        done = [r.index for r in records.read(self.records) if r.done]
        self.assertCountEqual(done, range(n))
        page = (self.out / files.REPORT).read_text()
        self.assertIn(f"{n} networks trained, 0 failed for good", page)

    def test_node_is_killed(self):
        self.sample(6)
        driver = self.start("--retries=2")
        sweeps.wait_until(lambda: sweeps.lines(self.records) >= 2)
        pid = self.stop_a_trial()
        (node,) = [n for n in self.nodes if _raylet(n) == _parent(pid)]
        self.cluster.remove_node(node, allow_graceful=False)
        os.kill(pid, signal.SIGKILL)
        self.check_finished(driver, 6)
        (failed,) = [r for r in records.read(self.records) if not r.done]
        # Which of the two depends on who notices first.
        self.assertRegex(failed.reason, "^the worker.*node is gone$")
        (again,) = [
            r
            for r in records.read(self.records)
            if r.done and r.trial_id == failed.trial_id
        ]
        self.assertEqual((failed.attempt, again.attempt), (1, 2))

    def test_trial_hangs_then_driver_is_killed(self):
        self.sample(3)
        arguments = ("--workers=1", "--trial_timeout=100")
        driver = self.start(*arguments)
        hung = self.stop_a_trial()
        sweeps.wait_until(lambda: sweeps.lines(self.records))
        (failed,) = records.read(self.records)
        self.assertEqual(failed.reason, "took longer than 100 s, and was ended")
        sweeps.wait_until(lambda: not sweeps.is_running(hung))
        sweeps.wait_until(lambda: sweeps.lines(self.records) == 2)
        driver.kill()
        driver.wait()
        sweeps.wait_until(lambda: not _trainers())
        before = records.read(self.records)
        self.check_finished(self.start(*arguments), 3)
        found = records.read(self.records)
        self.assertEqual(found[: len(before)], before)
        self.assertLen(found, 4)

    def test_no_room(self):
        self.sample(1)
        said, _ = self.start("--threads=64").communicate(timeout=90)
        self.assertRegex(said, r"\nerror: No node .* has the 64 CPU that .*\n$")


if __name__ == "__main__":
    absltest.main()
