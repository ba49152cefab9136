"""Every fault once, with real processes; faults_suite.py strikes more often."""

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

    def test_one_run_survives_every_fault(self):
        bench = faults_bench.Bench(self.folder)
        whole, harmed = bench.run("whole"), bench.run("harmed")
        reference = whole.start()
        for name, fault in faults_bench.FAULTS.items():
            if fault is faults_bench.Bench.kill:
                # Torn checkpoints come with two such kills.
                continue
            lost = fault(bench, harmed)
            most = 3 * faults_bench.CHECKPOINT_STEPS
            if fault is faults_bench.Bench.terminate:
                most = 0
            self.assertBetween(lost, 0, most, name)
        bench.finish(harmed)
        self.assertEqual(reference.wait(), 0, reference.text())
        self.assertEqual(harness.differences(whole, harmed), [])
        # The comparison can fail: another run ends elsewhere.
        self.assertLen(harmed.rows(), 6)
        self.assertEqual(harmed.newest_step(), 72)


if __name__ == "__main__":
    absltest.main()
