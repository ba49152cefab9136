"""Pools of workers that train trials, on this machine or elsewhere.

A worker lives for many trials, since importing a framework takes longer than
many a trial; after a failure, and now and then against leaks, its successor
starts afresh. `local_pool.py` has workers on this machine, `ray_pool.py`
those on a Ray cluster.
"""

import abc
import math
import pathlib
import time
from collections.abc import Iterator

import keras

from keras_regnet.design_space.records import Record
from training.sweeps.messages import Job
from training.sweeps.messages import Outcome
from training.sweeps.messages import Ready
from training.sweeps.options import Options

_MAX_FAILED_STARTS = 3


class WorkerError(Exception):
    """Workers cannot work here at all."""


class Worker(abc.ABC):
    """One process that trains.

    Args:
      number: names it; its successor has the same.

    Attributes:
      job: what it trains, None if nothing.
      since: when it was started, or given its job.
      trials: number of trials it was given.
      ready: whether it can take one.
      startup_limit: seconds within which it must be ready.
    """

    startup_limit = math.inf

    def __init__(self, number: int):
        self.number = number
        self.job: Job | None = None
        self.since = time.monotonic()
        self.trials = 0
        self.ready = False

    @property
    def idle(self) -> bool:
        """Whether it waits for a job."""
        return self.ready and self.job is None

    def assign(self, job: Job) -> None:
        """Hands over a job."""
        self.job, self.since = job, time.monotonic()
        self.trials += 1
        self.send(job)

    def remaining(self, limit: float) -> float:
        """Returns the seconds it has left, if a trial may take `limit`.

        They are infinite for a worker that waits for a job.
        """
        if self.ready:
            limit = math.inf if self.job is None else limit
        else:
            limit = self.startup_limit
        return self.since + limit - time.monotonic()

    @abc.abstractmethod
    def send(self, job: Job) -> None:
        """Sends a job to the process."""

    @abc.abstractmethod
    def reason(self) -> str:
        """Returns why it ended, when it should not have."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Ends it, in the middle of a trial if need be."""


class Pool(abc.ABC):
    """Workers, and the jobs that they train.

    Args:
      count: number of workers.
      folder: of the sweep.
      options: `trials_per_worker` is read here, more by the kinds of pools.
    """

    def __init__(self, count: int, folder: pathlib.Path, options: Options):
        self._folder = folder
        self._options = options
        self._failed_starts = 0
        self._workers: list[Worker] = []
        for number in range(1, count + 1):
            self._workers.append(self._start(number))

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *unused) -> None:
        for worker in self._workers:
            worker.stop()

    @property
    def idle(self) -> int:
        """Number of workers that are ready and wait for a job."""
        return sum(worker.idle for worker in self._workers)

    def submit(self, job: Job) -> None:
        """Hands a job to an idle worker."""
        next(w for w in self._workers if w.idle).assign(job)

    def wait(self, timeout: float, limit: float = math.inf) -> Iterator[Record]:
        """Yields the records of jobs that ended, after waiting for news.

        Args:
          timeout: seconds to wait at most.
          limit: seconds that a trial may take; a worker that takes longer is
            ended.

        Raises:
          WorkerError: if workers end before they are ready.
        """
        left = min((w.remaining(limit) for w in self._workers), default=0)
        for worker, messages, ended in self._poll(max(0, min(timeout, left))):
            for message in messages:
                if isinstance(message, Ready):
                    worker.ready, self._failed_starts = True, 0
                    continue
                worker.job = None
                yield message.record
                old = worker.trials >= self._options.trials_per_worker
                if not ended and (old or not message.record.done):
                    self._replace(worker)
            if ended:
                yield from self._replace_failed(worker, worker.reason())
        for worker in [w for w in self._workers if w.remaining(limit) <= 0]:
            reason = f"not ready within {worker.startup_limit:g} s"
            if worker.ready:
                reason = f"took longer than {limit:g} s, and was ended"
            yield from self._replace_failed(worker, reason)

    def _replace_failed(self, worker, reason):
        """Replaces a worker that has failed, and its job with it."""
        if not worker.ready:
            self._failed_starts += 1
        if self._failed_starts >= _MAX_FAILED_STARTS:
            raise WorkerError(f"Workers end before they are ready: {reason}")
        seconds = round(time.monotonic() - worker.since, 3)
        self._replace(worker)
        if worker.job is not None:
            yield Record(
                **vars(worker.job.trial),
                status="failed",
                reason=reason,
                attempt=worker.job.attempt,
                seconds=seconds,
                backend=keras.backend.backend(),
            )

    def _replace(self, worker):
        self._workers.remove(worker)
        self._forget(worker)
        worker.stop()
        self._workers.append(self._start(worker.number))

    @abc.abstractmethod
    def _start(self, number: int) -> Worker:
        """Returns a new worker."""

    @abc.abstractmethod
    def _forget(self, worker: Worker) -> None:
        """Waits no more for a worker's messages."""

    @abc.abstractmethod
    def _poll(
        self, timeout: float
    ) -> Iterator[tuple[Worker, list[Ready | Outcome], bool]]:
        """Yields each worker with news, its messages, and whether it ended.

        Waits for news at most `timeout` seconds.
        """
