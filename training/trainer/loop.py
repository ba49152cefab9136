"""The loop over the epochs and steps of a run."""

import dataclasses
import math
import time

import tensorflow as tf
from absl import logging

from training.data import decode_errors
from training.trainer import checkpointing
from training.trainer import precise_bn
from training.trainer import preemption
from training.trainer import profiling
from training.trainer import progress
from training.trainer import reporting
from training.trainer import run as run_lib
from training.trainer import schedules
from training.trainer import state as state_lib
from training.trainer import step
from training.trainer import validation
from training.workdir import checkpoint
from training.workdir import tensorboard


class Loop:
    """Trains a run from where its state stands."""

    def __init__(
        self,
        run: run_lib.Run,
        state: state_lib.TrainState,
        checkpointer: checkpointing.Checkpointer,
        stop: preemption.Preemption,
    ):
        """Opens the images, those for training from the next step on."""
        self._run = run
        self._state = state
        self._checkpointer = checkpointer
        self._stop = stop
        self._steps_per_epoch = run.steps_per_epoch
        self._step = step.TrainStep(
            run.strategy,
            state,
            run.config,
            class_weights=run.class_weights
            and tuple(run.class_weights.values()),
            multilabel=run.data.multilabel,
        )
        self._batches = iter(run.training_batches(state.position.step))
        self._validation = validation.Validation(run, state, stop)
        self._schedule = schedules.make(run.config, run.steps_per_epoch)
        self._precise = None
        if run.config.precise_bn_images:
            self._precise = precise_bn.PreciseStatistics(
                run.strategy, state.model
            )
        self._progress = progress.Progress(
            run.config,
            run.steps_per_epoch,
            state.replicas.count,
            run.data.multilabel,
        )
        profiled = run.config.profile and run.processes.is_chief
        self._profiler = profiling.Profiler(
            run.folder / tensorboard.FOLDER if profiled else None
        )
        self._reporter = reporting.Reporter(run, state, self._progress)

    def run(self) -> bool:
        """Trains and evaluates; returns False if told to stop before the end.

        Then a checkpoint is written, from which the run resumes.
        """
        self._stop.keep()
        try:
            finished = self._run_epochs()
        finally:
            self._stop.release()
            self._profiler.stop()
        self._reporter.close()
        return finished

    def _run_epochs(self):
        while not self._is_over():
            if self._train_epoch() and self._finish_epoch():
                continue
            self._checkpointer.save()
            logging.info(
                "SIGTERM: stopped after step %d; the same command resumes "
                "from there",
                self._state.position.step,
            )
            return False
        return True

    def _is_over(self):
        """Returns whether nothing is left to train, as the chief finds."""
        return self._run.processes.json_from_chief(
            self._run.is_over(self._state.position)
        )

    def _train_epoch(self):
        """Trains to the epoch's end; returns False if told to stop."""
        end = (self._state.position.epoch + 1) * self._steps_per_epoch
        end = min(end, self._run.num_steps)
        self._progress.start_epoch()
        while self._state.position.step < end:
            count, save, stopped = self._run.processes.agree(
                self._next_count(end - self._state.position.step),
                self._checkpointer.is_due(),
                self._stop.requested,
            )
            if stopped:
                return False
            if save:
                self._checkpointer.save()
            self.train_steps(count)
        self._finish_statistics()
        return True

    def _next_count(self, steps_left):
        """Returns the steps to the next log line, checkpoint or epoch."""
        count = self._profiler.limit(self._progress.pace.next_count())
        return min(count, self._checkpointer.steps_to_next(), steps_left)

    def train_steps(self, count: int) -> None:
        """Trains some steps, all of the epoch under way."""
        state, run = self._state, self._run
        run.hooks.before_steps(state)
        first = state.position.step
        sums = state.position.sums or (0.0,) * len(step.TRAIN_SUMS)
        begin = time.monotonic()
        with (
            self._profiler.profiling(first),
            decode_errors.named_faults(
                run.data.train, run.config, first, count
            ),
        ):
            sums, done = self._step.run(
                self._batches,
                tf.constant(count, tf.int32),
                tf.constant(sums, tf.float64),
            )
            sums = tuple(sums.numpy().tolist())
        seconds = time.monotonic() - begin
        if not math.isfinite(sums[0]):
            self._checkpointer.raise_not_finite(
                f"The loss of step {first + int(done)}"
            )
        state.position = dataclasses.replace(
            state.position,
            step=first + count,
            sums=sums,
            train_seconds=state.position.train_seconds + seconds,
        )
        self._progress.called(
            count, seconds, state.position, self._learning_rate()
        )
        run.hooks.after_steps(state)

    def _learning_rate(self):
        """Returns the learning rate of the last step."""
        return float(self._schedule(self._state.position.step - 1))

    def _finish_statistics(self):
        """Makes batch-norm statistics those to evaluate with, once."""
        position = self._state.position
        if position.averaged:
            return
        if self._precise:
            self._precise.measure(
                self._run.data,
                self._run.config,
                position.epoch,
                self._steps_per_epoch,
            )
        self._state.replicas.average_statistics()
        self._state.position = dataclasses.replace(position, averaged=True)

    def _finish_epoch(self):
        """Evaluates, saves and reports; returns False if told to stop."""
        begin = time.monotonic()
        evaluation = self._validation.evaluate()
        if evaluation is None:
            return False
        position = self._state.position
        row = reporting.epoch_row(
            position,
            evaluation,
            self._progress.images_per_second,
            self._learning_rate(),
            time.monotonic() - begin,
            self._run.data.multilabel,
        )
        self._state.position = checkpoint.Position(
            epoch=position.epoch + 1,
            step=position.step,
            rows=(*position.rows, row),
        )
        # The checkpoint first, then what is made from it.
        self._checkpointer.save()
        self._reporter.report_epoch()
        self._run.hooks.after_epoch(self._state)
        return True
