"""Every fault once, with real processes; faults_suite.py injects more."""

import pathlib
import tempfile

from absl.testing import absltest

from tests.system.faults import faults_bench
from tests.system.faults import faults_harness as harness


class FaultsTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.folder = pathlib.Path(folder)

    def test_one_run_tolerates_every_fault(self):
        bench = faults_bench.Bench(self.folder)
        whole, faulty = bench.run("whole"), bench.run("faulty")
        reference = whole.start()
        for name, fault in faults_bench.FAULTS.items():
            if fault is faults_bench.Bench.kill:
                # Truncated checkpoints come with two such kills.
                continue
            lost = fault(bench, faulty)
            most = 3 * faults_bench.CHECKPOINT_STEPS
            if fault is faults_bench.Bench.terminate:
                most = 0
            self.assertBetween(lost, 0, most, name)
        bench.finish(faulty)
        self.assertEqual(reference.wait(), 0, reference.text())
        self.assertEqual(harness.differences(whole, faulty), [])
        # The comparison can fail: another run ends elsewhere.
        self.assertLen(faulty.rows(), 6)
        self.assertEqual(faulty.newest_step(), 72)


if __name__ == "__main__":
    absltest.main()
