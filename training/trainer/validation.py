"""Evaluates a run's averaged weights on all validation images."""

import time

import tensorflow as tf

from training.data import decode_errors
from training.data import pipeline as train_data
from training.trainer import preemption
from training.trainer import progress
from training.trainer import run as run_lib
from training.trainer import state as state_lib
from training.trainer import step


class Validation:
    """Evaluates once an epoch."""

    def __init__(
        self,
        run: run_lib.Run,
        state: state_lib.TrainState,
        stop: preemption.Preemption,
    ):
        """Opens the validation images."""
        self._run = run
        self._state = state
        self._stop = stop
        self._step = step.EvalStep(run.strategy, state)
        # One iterator for all evaluations: each takes the split once.
        self._batches = iter(run.evaluation_batches())
        self._pace = progress.Pace()

    def evaluate(self) -> dict[str, float] | None:
        """Returns loss and top-1 and top-5 (percent); None if told to stop."""
        split = self._run.data.val
        self._run.hooks.before_evaluation(self._state)
        self._state.averages.swap()
        try:
            sums = self._sums(train_data.eval_steps(split, self._run.config))
        except tf.errors.OpError as error:
            decode_errors.raise_unreadable(
                split, range(split.num_examples), error
            )
            raise
        self._state.averages.swap()
        if sums is None:
            return None
        loss, top1, top5, images = sums.numpy()
        if images != split.num_examples:
            raise RuntimeError(
                f"evaluated {images} of {split.num_examples} images"
            )
        return {
            "val_loss": loss / images,
            "val_top1": 100 * top1 / images,
            "val_top5": 100 * top5 / images,
        }

    def _sums(self, steps_left):
        sums = tf.zeros([len(step.EVAL_SUMS)], tf.float64)
        while steps_left:
            count, _, stopped = self._run.processes.agree(
                min(self._pace.next_count(), steps_left),
                save=False,
                stop=self._stop.requested,
            )
            if stopped:
                return None
            begin = time.monotonic()
            sums = self._step.run(
                self._batches, tf.constant(count, tf.int32), sums
            )
            sums.numpy()
            self._pace.called(count, time.monotonic() - begin)
            steps_left -= count
        return sums
