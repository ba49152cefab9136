"""How fast a run is, how far it is, and how long it will take."""

import os
import resource
import time

import tensorflow as tf
from absl import logging

from training.config import config as train_config
from training.workdir import checkpoint

# A call into TensorFlow should take about this long: its own overhead is
# then nothing, and neither a line of progress nor a stop is ever far.
_CALL_SECONDS = 5.0


class Pace:
    """Decides how many steps to run at once."""

    def __init__(self, call_seconds: float = _CALL_SECONDS):
        """Starts without a measurement; a call should take so long."""
        self._call_seconds = call_seconds
        self._calls = 0
        self.seconds_per_step = None

    def next_count(self) -> int:
        """Returns the number of steps of the next call."""
        if not self.seconds_per_step:
            # The first call traces, the second is for the stopwatch.
            return 1
        return max(1, int(self._call_seconds / self.seconds_per_step))

    def called(self, count: int, seconds: float) -> None:
        """Takes the time of a call of so many steps.

        The first call of a run is mostly tracing, and does not count.
        """
        self._calls += 1
        if self._calls > 1:
            self.seconds_per_step = seconds / count


class Progress:
    """Reports how fast training is."""

    def __init__(
        self,
        config: train_config.TrainConfig,
        steps_per_epoch: int,
        num_replicas: int,
        multilabel: bool = False,
    ):
        """Starts the clock."""
        self._multilabel = multilabel
        self._config = config
        self._steps_per_epoch = steps_per_epoch
        self._num_replicas = num_replicas
        self._num_steps = config.num_steps(steps_per_epoch)
        self._num_epochs = config.num_epochs(steps_per_epoch)
        limits = (
            config.log_seconds,
            config.checkpoint_seconds or _CALL_SECONDS,
        )
        self.pace = Pace(min(_CALL_SECONDS, *limits))
        self.images_per_second = 0.0
        self._last_line = time.monotonic()
        self._seconds, self._steps = 0.0, 0
        self._waited = 0.0

    def start_epoch(self) -> None:
        """Begins to count an epoch's steps."""
        self._last_line = time.monotonic()
        self._seconds, self._steps = 0.0, 0
        self._waited = 0.0

    def called(
        self,
        count: int,
        seconds: float,
        position: checkpoint.Position,
        learning_rate: float,
    ) -> None:
        """Takes the time of a call, and logs where the epoch stands.

        Args:
          count: steps of this call.
          seconds: how long it took.
          position: after the call.
          learning_rate: of the last step.
        """
        epoch = position.epoch
        done = position.step - epoch * self._steps_per_epoch
        first = self.pace.seconds_per_step is None
        self.pace.called(count, seconds)
        # The first call counts only where there is nothing else.
        if (
            not first
            or self.pace.seconds_per_step
            or self._steps_per_epoch == 1
        ):
            self._seconds += seconds
            self._steps += count
            self.images_per_second = (
                self._config.global_batch_size * self._steps / self._seconds
            )
        loss, top1, images, waited = position.sums
        now = time.monotonic()
        silence = now - self._last_line
        # After the first call, which traced, no rate is known yet.
        if silence < self._config.log_seconds or not self.images_per_second:
            return
        wait = 100 * (waited - self._waited) / max(silence, seconds)
        self._last_line, self._waited = now, waited
        logging.info(
            "epoch %d/%d  step %d/%d  loss %.4f%s | %.0f images/s (%.0f per "
            "replica)  data wait %.0f %%  lr %.4g  memory %.2f GB  left %s",
            epoch + 1,
            self._num_epochs,
            done,
            self._steps_per_epoch,
            loss / images,
            "" if self._multilabel else f"  top-1 {100 * top1 / images:.2f}",
            self.images_per_second,
            self.images_per_second / self._num_replicas,
            wait,
            learning_rate,
            memory_bytes() / 1e9,
            self.time_left(epoch, 0.0, done),
        )

    def time_left(self, epoch: int, eval_seconds: float, done: int = 0) -> str:
        """Returns the time to the end of training, such as 1:02:03.

        Args:
          epoch: finished epochs.
          eval_seconds: duration of an evaluation.
          done: steps of the epoch under way.
        """
        steps = self._num_steps - epoch * self._steps_per_epoch - done
        rate = self.images_per_second / self._config.global_batch_size
        seconds = max(0, steps) / rate if rate else 0.0
        seconds += (self._num_epochs - epoch) * eval_seconds
        minutes, seconds = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}"


def memory_bytes() -> int:
    """Returns the memory in use: of the first GPU, else of the process."""
    if tf.config.list_physical_devices("GPU"):
        return tf.config.experimental.get_memory_info("GPU:0")["current"]
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[1])
    except OSError:
        # Not Linux: the most that it ever was, in kB.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")
