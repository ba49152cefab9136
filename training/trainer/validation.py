"""Evaluates a run's averaged weights on all validation images."""

import time

import numpy as np
import tensorflow as tf

from training.data import decode_errors
from training.data import pipeline as train_data
from training.evaluate import multilabel
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
        make = step.ScoreStep if run.data.multilabel else step.EvalStep
        self._step = make(run.strategy, state)
        # One iterator for all evaluations: each takes the split once.
        self._batches = iter(run.evaluation_batches())
        self._pace = progress.Pace()

    def evaluate(self) -> dict[str, float | None] | None:
        """Returns loss and accuracies (percent); None if told to stop.

        Those of several labels an image have no top-1 and top-5, but the
        metrics of `multilabel.summary`.
        """
        split = self._run.data.val
        self._run.hooks.before_evaluation(self._state)
        self._state.averages.swap()
        measure = self._scores if self._run.data.multilabel else self._sums
        try:
            measured = measure(train_data.eval_steps(split, self._run.config))
        except tf.errors.OpError as error:
            decode_errors.raise_unreadable(
                split, range(split.num_examples), error
            )
            raise
        self._state.averages.swap()
        if measured is None:
            return None
        if self._run.data.multilabel:
            return self._of_scores(*measured)
        loss, top1, top5, images = measured.numpy()
        self._check_count(images)
        return {
            "val_loss": loss / images,
            "val_top1": 100 * top1 / images,
            "val_top5": 100 * top5 / images,
        }

    def _check_count(self, images):
        expected = self._run.data.val.num_examples
        if images != expected:
            raise RuntimeError(f"evaluated {images} of {expected} images")

    def _of_scores(self, logits, labels, weights):
        real = weights > 0
        self._check_count(real.sum())
        return {
            "val_top1": None,
            "val_top5": None,
            **{
                f"val_{name}": value
                for name, value in multilabel.summary(
                    logits[real], labels[real], self._run.config.threshold
                ).items()
            },
        }

    def _sums(self, steps_left):
        sums = tf.zeros([len(step.EVAL_SUMS)], tf.float64)
        for count in self._counts(steps_left):
            if not count:
                return None
            sums = self._step.run(
                self._batches, tf.constant(count, tf.int32), sums
            )
            sums.numpy()
        return sums

    def _scores(self, steps_left):
        """Returns logits, labels and weights; None if told to stop."""
        parts = []
        for count in self._counts(steps_left):
            if not count:
                return None
            scores = self._step.run(self._batches, tf.constant(count, tf.int32))
            parts.append([values.numpy() for values in scores])
        return [np.concatenate(values) for values in zip(*parts, strict=True)]

    def _counts(self, steps_left):
        """Yields the steps of each call, 0 if told to stop."""
        while steps_left:
            count, _, stopped = self._run.processes.agree(
                min(self._pace.next_count(), steps_left),
                save=False,
                stop=self._stop.requested,
            )
            if stopped:
                yield 0
                return
            begin = time.monotonic()
            yield count
            self._pace.called(count, time.monotonic() - begin)
            steps_left -= count
