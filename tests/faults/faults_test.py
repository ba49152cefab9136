"""Every fault once, with real processes; faults_suite.py strikes more often."""

import pathlib
import tempfile

import faults_harness as harness
import faults_suite as suite
from absl.testing import absltest


class FaultsTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.folder = pathlib.Path(folder)

    def test_one_run_survives_every_fault(self):
        bench = suite.Bench(self.folder, epochs=6)
        whole, harmed = bench.run("whole"), bench.run("harmed")
        reference = whole.start()
        for name, fault in suite.FAULTS.items():
            lost = fault(bench, harmed)
            most = 3 * suite.CHECKPOINT_STEPS
            if fault is suite.Bench.terminate:
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
