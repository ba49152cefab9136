"""Two worker processes on this machine: curves, and one of them killed."""

import json
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest

from tests.system.faults import faults_bench
from tests.system.faults import faults_harness as harness

_STEPS = 40
# 1,437 digits by 128.
_EPOCH_STEPS = 11


class ClusterTest(absltest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.folder = pathlib.Path(folder)
        cls.cluster = faults_bench.Cluster(folder, 2, 4, "--sync_bn")
        cls.losses, cls.workers = cls.cluster.losses("whole", workers=2)
        (cls.one,), _ = cls.cluster.losses("one", workers=1)

    def test_the_curve_of_one_process(self):
        one, two = self.one, self.losses[0]
        np.testing.assert_allclose(one[:_STEPS], two[:_STEPS], atol=1e-4)
        self.assertGreater(np.ptp(one[:_STEPS]), 0.02)

    def test_every_image_reaches_one_worker(self):
        (one,) = _steps(self.cluster.inputs("one", 1))
        first, second = _steps(self.cluster.inputs("whole", 2))
        self.assertEqual(len(one), 4 * _EPOCH_STEPS)
        for whole, *parts in zip(one, first, second, strict=True):
            self.assertTrue(whole == [*parts[0], *parts[1]])
            self.assertEqual(len(parts[0]), len(parts[1]))
        # What a step has once, an epoch has once.
        epoch = [image for step in one[:_EPOCH_STEPS] for image in step]
        self.assertEqual(len(set(epoch)), _EPOCH_STEPS * 128)

    def test_every_worker_logs_the_same_global_loss(self):
        np.testing.assert_array_equal(*self.losses)
        lines = [_lines(worker) for worker in self.workers]
        self.assertEqual(lines[0], lines[1])
        self.assertGreater(len(lines[0]), _STEPS)

    def test_only_the_chief_writes(self):
        self.assertTrue((self.folder / "whole" / "metrics.csv").is_file())
        self.assertFalse((self.folder / "whole.1").exists())

    def test_a_killed_worker_and_a_restart(self):
        # With statistics of its own for each worker.
        cluster = faults_bench.Cluster(self.folder, 2, 3)
        whole, harmed = cluster.job("whole_own"), cluster.job("harmed_own")
        lost = cluster.kill_worker(harmed)
        self.assertBetween(lost, 0, 3 * faults_bench.CHECKPOINT_STEPS)
        self.assertLess(cluster.seconds_to_notice, 120)
        self.assertGreater(harmed.run.newest_step(), 0)
        self.assertEqual(cluster.terminate_worker(harmed), 0)
        cluster.finish(harmed)
        cluster.finish(whole)
        self.assertEqual(harness.differences(whole.run, harmed.run), [])


def _steps(paths):
    """Returns the digests of each step's images, for each worker."""
    return [
        [json.loads(line) for line in path.read_text().splitlines()]
        for path in paths
    ]


def _lines(worker):
    """Returns what a worker logged about losses, without times."""
    return [
        line[line.index("epoch ") : line.index(" | ")]
        for line in worker.text().splitlines()
        if "  loss " in line
    ]


if __name__ == "__main__":
    absltest.main()
