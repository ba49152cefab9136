"""A TensorBoard profile of some training steps."""

import contextlib
import pathlib
from collections.abc import Iterator

import tensorflow as tf
from absl import logging

# The first call traces, the second is for the stopwatch.
_CALLS_BEFORE = 2
_STEPS = 10


class Profiler:
    """Profiles a few steps of a process, one call each."""

    def __init__(self, folder: pathlib.Path | None):
        """Waits for the first calls; without a folder it profiles nothing."""
        self._folder = folder
        self._calls_left = _CALLS_BEFORE
        self._steps_left = _STEPS if folder else 0
        self._runs = False

    def limit(self, count: int) -> int:
        """Returns the steps of the next call: one, until all are profiled."""
        return 1 if self._steps_left else count

    @contextlib.contextmanager
    def profiling(self, step: int) -> Iterator[None]:
        """Wraps a call that trains a step."""
        if not self._steps_left:
            yield
            return
        if self._calls_left:
            self._calls_left -= 1
            yield
            return
        if not self._runs:
            tf.profiler.experimental.start(str(self._folder))
            self._runs = True
        with tf.profiler.experimental.Trace("train", step_num=step, _r=1):
            yield
        self._steps_left -= 1
        if not self._steps_left:
            self.stop()

    def stop(self) -> None:
        """Writes what was seen; called again, or without a start, nothing."""
        if not self._runs:
            return
        tf.profiler.experimental.stop()
        self._runs, seen = False, _STEPS - self._steps_left
        self._steps_left = 0
        logging.info("wrote a profile of %d steps to %s", seen, self._folder)
