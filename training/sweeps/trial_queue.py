"""The queue of a sweep: which trials wait, run, are done, or have failed."""

import collections
import math
import time

from keras_regnet.design_space.records import Record
from keras_regnet.design_space.records import Trial
from training.sweeps import messages

# Default limit of a trial's time: far longer than any other has taken.
_LIMIT_FACTOR = 10
_MIN_LIMIT = 600.0


class TrialQueue:
    """The trials of a sweep by their states.

    Args:
      trials: in the order in which they are run.
      past: the records of earlier attempts.
      retries: how often a failed trial is tried again.
      trial_timeout: seconds that a trial may take, None for a multiple of
        the slowest trial's time.
      test: whether errors are measured on the test images, see `Job`.
    """

    def __init__(
        self,
        trials: list[Trial],
        past: list[Record],
        retries: int,
        trial_timeout: float | None = None,
        test: bool = False,
    ):
        self._retries = retries
        self._test = test
        self._trial_timeout = trial_timeout
        self._slowest = 0.0
        self._attempts = collections.Counter(r.trial_id for r in past)
        done = {record.trial_id for record in past if record.done}
        self._done = sum(trial.trial_id in done for trial in trials)
        left = [trial for trial in trials if trial.trial_id not in done]
        self._waiting = collections.deque(
            t for t in left if self._attempts[t.trial_id] <= retries
        )
        self._failed = len(left) - len(self._waiting)
        self._running: dict[str, Trial] = {}
        self._start = time.monotonic()
        self._finished_now = 0

    @property
    def waiting(self) -> int:
        """Number of trials that wait to be run."""
        return len(self._waiting)

    @property
    def remaining(self) -> int:
        """Number of trials that wait or run."""
        return len(self._waiting) + len(self._running)

    @property
    def limit(self) -> float:
        """Seconds that a trial may take.

        The default is learned from this run alone: an earlier one may have
        been on another machine. Until a trial has finished there is no limit.
        """
        if self._trial_timeout is not None:
            return self._trial_timeout
        if not self._finished_now:
            return math.inf
        return max(_MIN_LIMIT, round(_LIMIT_FACTOR * self._slowest))

    def next_job(self) -> messages.Job:
        """Returns the next trial to run, which counts as running."""
        trial = self._waiting.popleft()
        self._running[trial.trial_id] = trial
        self._attempts[trial.trial_id] += 1
        attempt = self._attempts[trial.trial_id]
        return messages.Job(trial, attempt, self._test)

    def finish(self, record: Record) -> str:
        """Takes the record of a running trial; returns a line for the user."""
        trial = self._running.pop(record.trial_id)
        name = f"{record.space} #{record.index}"
        if record.done:
            self._done += 1
            self._finished_now += 1
            self._slowest = max(self._slowest, record.seconds)
            return f"{name}: error {record.error:.2f} %"
        again = record.attempt <= self._retries
        if again:
            self._waiting.append(trial)
        else:
            self._failed += 1
        outlook = "will be tried again" if again else "for good"
        return (
            f"{name}: FAILED (attempt {record.attempt}, {outlook}): "
            f"{record.reason}"
        )

    def counts(self) -> str:
        """Returns the number of trials in each state, as text."""
        return (
            f"{self._done} done, {self._failed} failed, {len(self._running)} "
            f"running, {len(self._waiting)} waiting"
        )

    def progress(self) -> str:
        """Returns counts, models per hour and the time left, as text."""
        hours = (time.monotonic() - self._start) / 3600
        if not self._finished_now:
            return self.counts()
        rate = self._finished_now / hours
        left = self.remaining / rate * 60
        return (
            f"{self.counts()}; {rate:.0f} models/h; "
            f"{left // 60:.0f} h {left % 60:.0f} min left"
        )
