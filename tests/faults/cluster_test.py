"""Two worker processes on this machine: curves, and one of them killed."""

import pathlib
import tempfile

import faults_harness as harness
import faults_suite as suite
import numpy as np
from absl.testing import absltest

_STEPS = 40


class ClusterTest(absltest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.folder = pathlib.Path(folder)
        cls.cluster = suite.Cluster(folder, 2, 0, 4, "--sync_bn")
        cls.job = cls.cluster.job("whole")
        cls.workers = cls.cluster.finish(cls.job, cls.recording("whole", 2))

    @classmethod
    def recording(cls, name, workers):
        return [
            harness.Harm(losses=str(cls.folder / f"{name}.{index}.losses"))
            for index in range(workers)
        ]

    def losses(self, name, index=0):
        return harness.losses(self.folder / f"{name}.{index}.losses")

    def test_the_curve_of_one_process(self):
        run = harness.Run(
            self.folder / "one",
            [*self.cluster.arguments, "--strategy=one_device", "--sync_bn"],
        )
        process = run.start(self.recording("one", 1)[0])
        self.assertEqual(process.wait(), 0, process.text())
        one, two = self.losses("one") / 128, self.losses("whole") / 128
        np.testing.assert_allclose(one[:_STEPS], two[:_STEPS], atol=1e-4)
        self.assertGreater(np.ptp(one[:_STEPS]), 0.02)

    def test_every_worker_logs_the_same_global_loss(self):
        np.testing.assert_array_equal(
            self.losses("whole", 0), self.losses("whole", 1)
        )
        lines = [_lines(worker) for worker in self.workers]
        self.assertEqual(lines[0], lines[1])
        self.assertGreater(len(lines[0]), _STEPS)

    def test_only_the_chief_writes(self):
        self.assertTrue((self.job.run.folder / "metrics.csv").is_file())
        self.assertFalse(self.job.run.folder.with_suffix(".1").exists())

    def test_a_killed_worker_and_a_restart(self):
        # With statistics of its own for each worker.
        cluster = suite.Cluster(self.folder, 2, 1, 4)
        whole, harmed = cluster.job("whole_own"), cluster.job("harmed_own")
        lost = cluster.kill_worker(harmed)
        self.assertBetween(lost, 0, 3 * suite.CHECKPOINT_STEPS)
        self.assertLess(cluster.seconds_to_notice, 120)
        self.assertGreater(harmed.run.newest_step(), 0)
        self.assertEqual(cluster.terminate_worker(harmed), 0)
        cluster.finish(harmed)
        cluster.finish(whole)
        self.assertEqual(harness.differences(whole.run, harmed.run), [])


def _lines(worker):
    """Returns what a worker logged about losses, without times."""
    return [
        line[line.index("epoch ") : line.index(" | ")]
        for line in worker.text().splitlines()
        if "  loss " in line
    ]


if __name__ == "__main__":
    absltest.main()
