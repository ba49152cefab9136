"""Tests of the lines that say how fast a run is."""

from absl.testing import absltest

from training.config import config as train_config
from training.trainer import progress


class ProgressTest(absltest.TestCase):
    def test_no_line_before_a_rate_is_known(self):
        config = train_config.TrainConfig(
            epochs=2, global_batch_size=8, log_seconds=0.0
        )
        state = progress.Progress(config, steps_per_epoch=10, num_replicas=2)
        sums = (16.0, 4.0, 8.0, 0.0)
        with self.assertNoLogs("absl", level="INFO"):
            # Mostly tracing.
            state.called(1, 60.0, 1, 0, sums, 0.1)
        with self.assertLogs("absl", level="INFO") as logged:
            state.called(2, 1.0, 3, 0, sums, 0.1)
        (line,) = logged.output
        for words in (
            "epoch 1/2  step 3/10  loss 2.0000  top-1 50.00",
            "16 images/s (8 per replica)",
            # 17 steps of half a second.
            "left 0:00:08",
        ):
            self.assertIn(words, line)


if __name__ == "__main__":
    absltest.main()
