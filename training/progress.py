"""How fast a run is, how far it is, and how long it will take."""

import time
from collections.abc import Sequence

from absl import logging

from training import config as train_config

# A call into TensorFlow should take about this long: its own overhead is
# then nothing, and a line of progress is never far.
_CALL_SECONDS = 5.0


class Progress:
    """Decides how many steps to run at once, and reports how fast it is."""

    def __init__(self, config: train_config.TrainConfig, steps_per_epoch: int):
        """Starts the clock.

        Args:
          config: the run; batch, epochs and `log_seconds` are read.
          steps_per_epoch: steps.
        """
        self._config = config
        self._steps_per_epoch = steps_per_epoch
        self._seconds_per_step = None
        self._calls = 0
        self._last_line = self._last_call = time.monotonic()
        self.images_per_second = 0.0

    def start_epoch(self) -> None:
        """Begins to count an epoch's steps."""
        self._last_line = self._last_call = time.monotonic()
        self._seconds = self._steps = 0

    def next_call(self) -> int:
        """Returns the number of steps of the next call."""
        if not self._seconds_per_step:
            # The first call traces, the second is for the stopwatch.
            return 1
        return max(1, int(_CALL_SECONDS / self._seconds_per_step))

    def called(
        self, count: int, done: int, epoch: int, sums: Sequence[float]
    ) -> None:
        """Takes the time of a call, and logs where the epoch stands.

        Args:
          count: steps of this call.
          done: steps of the epoch so far.
          epoch: finished epochs.
          sums: as `step.TRAIN_SUMS` names them.
        """
        now = time.monotonic()
        seconds = now - self._last_call
        self._last_call = now
        self._calls += 1
        # The first call of a run is mostly tracing: it counts only where
        # there is nothing else.
        if self._calls > 1:
            self._seconds += seconds
            self._steps += count
            self._seconds_per_step = self._seconds / self._steps
            self.images_per_second = (
                self._config.global_batch_size / self._seconds_per_step
            )
        elif self._steps_per_epoch == 1:
            self.images_per_second = self._config.global_batch_size / seconds
        if now - self._last_line < self._config.log_seconds:
            return
        self._last_line = now
        loss, top1, images, _ = sums
        logging.info(
            "epoch %d/%d  step %d/%d  loss %.4f  top-1 %.2f | %.0f images/s  "
            "left %s",
            epoch + 1,
            self._config.epochs,
            done,
            self._steps_per_epoch,
            loss / images,
            100 * top1 / images,
            self.images_per_second,
            self.time_left(epoch, 0.0, done),
        )

    def time_left(self, epoch: int, eval_seconds: float, done: int = 0) -> str:
        """Returns the time to the end of training, such as 1:02:03.

        Args:
          epoch: finished epochs.
          eval_seconds: what one evaluation takes.
          done: steps of the epoch so far.
        """
        steps = (self._config.epochs - epoch) * self._steps_per_epoch - done
        seconds = steps * (self._seconds_per_step or 0.0)
        seconds += (self._config.epochs - epoch) * eval_seconds
        minutes, seconds = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}"
