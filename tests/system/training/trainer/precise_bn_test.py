"""A run with precise batch norm resumes exactly."""

import dataclasses
import pathlib
import signal
import tempfile
from unittest import mock

import numpy as np
from absl.testing import absltest

from tests.support import training_testing
from training.trainer import precise_bn
from training.trainer import train
from training.workdir import checkpoint


class PreciseTest(absltest.TestCase):
    def test_a_run_with_it_resumes_exactly(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        measured = self.enterContext(
            mock.patch.object(
                precise_bn.PreciseStatistics,
                "measure",
                autospec=True,
                side_effect=precise_bn.PreciseStatistics.measure,
            )
        )
        config = training_testing.tiny_config(
            folder, precise_bn_images=512, checkpoint_steps=2, log_seconds=0.0
        )
        stopped = dataclasses.replace(config, workdir=f"{folder}/stopped")
        no_export = training_testing.NoExport()
        train.train_and_evaluate(config, no_export)
        self.assertEqual([call.args[3] for call in measured.mock_calls], [0, 1])
        # Killed when it is measured, and not yet saved; told to stop when it
        # is: the first evaluation begins anew both times.
        training_testing.train_until_killed(stopped, "before_evaluation", 1)
        train.train_and_evaluate(
            stopped,
            training_testing.StopAt("before_evaluation", 1, signal.SIGTERM),
        )
        train.train_and_evaluate(stopped, no_export)
        epochs = [call.args[3] for call in measured.mock_calls]
        self.assertEqual(epochs, [0, 1, 0, 0, 1])
        ends = [
            checkpoint.newest(pathlib.Path(c.workdir) / "checkpoints")
            for c in (config, stopped)
        ]
        for name, expected in ends[0].arrays.items():
            np.testing.assert_array_equal(expected, ends[1].arrays[name], name)
        for whole, row in zip(
            *(end.position.rows for end in ends), strict=True
        ):
            for name in ("train_loss", "val_loss", "val_top5"):
                self.assertEqual(whole[name], row[name])


if __name__ == "__main__":
    absltest.main()
