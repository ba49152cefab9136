"""Workers that train trials, wherever they are, and what becomes of them.

A worker lives for many trials, since importing a framework takes longer than
many a trial; after a failure, and now and then against leaks, its successor
starts afresh. `training/sweeps/workers.py` has workers on this machine,
`training/sweeps/ray_workers.py` those on a Ray cluster.
"""

import abc
import dataclasses
import math
import pathlib
import time
from collections.abc import Iterator
from typing import Any

_MAX_STILLBORN = 3


class WorkerError(Exception):
    """Workers cannot work here at all."""


@dataclasses.dataclass(frozen=True)
class Setup:
    """What workers of any kind need to know.

    Args:
      folder: of the sweep.
      regime: name of the regime.
      threads: cores that each may use; 0 for the backend's choice.
      trials_per_worker: after how many trials a worker is replaced.
      gpus: that each has on a Ray cluster; less than 1 for a share of one.
    """

    folder: pathlib.Path
    regime: str
    threads: int = 1
    trials_per_worker: int = 50
    gpus: float = 0.0


class Worker(abc.ABC):
    """One process that trains.

    Args:
      number: names it; its successor has the same.

    Attributes:
      job: what it is busy with, None if nothing.
      since: when it was started, or given its job.
      trials: how many it was given.
      ready: whether it can take one.
      startup_limit: seconds within which it must be ready.
    """

    startup_limit = math.inf

    def __init__(self, number: int):
        self.number = number
        self.job: dict[str, Any] | None = None
        self.since = time.monotonic()
        self.trials = 0
        self.ready = False

    @property
    def idle(self) -> bool:
        """Whether it waits for a trial."""
        return self.ready and self.job is None

    def give(self, job: dict[str, Any]) -> None:
        """Hands over a trial."""
        self.job, self.since = job, time.monotonic()
        self.trials += 1
        self.send(job)

    def left(self, limit: float) -> float:
        """Returns how many seconds it has yet, infinity if it has nothing on.

        Args:
          limit: seconds that a trial may take.
        """
        if self.ready:
            limit = math.inf if self.job is None else limit
        else:
            limit = self.startup_limit
        return self.since + limit - time.monotonic()

    @abc.abstractmethod
    def send(self, job: dict[str, Any]) -> None:
        """Sends a trial on its way."""

    @abc.abstractmethod
    def reason(self) -> str:
        """Returns why it ended, when it should not have."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Ends it, in the middle of a trial if need be."""


class Pool(abc.ABC):
    """Workers, and the trials that they are busy with.

    Args:
      count: how many workers.
      setup: what they need to know.
    """

    def __init__(self, count: int, setup: Setup):
        self._setup = setup
        self._stillborn = 0
        self._workers: list[Worker] = []
        for number in range(1, count + 1):
            self._workers.append(self._start(number))

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *unused) -> None:
        for worker in self._workers:
            worker.stop()

    @property
    def running(self) -> int:
        """How many trials are being trained."""
        return sum(worker.job is not None for worker in self._workers)

    @property
    def idle(self) -> int:
        """How many workers are ready and wait for a trial."""
        return sum(worker.idle for worker in self._workers)

    def give(self, job: dict[str, Any]) -> None:
        """Hands a trial to an idle worker.

        Args:
          job: "trial", the fields of a `Trial`, and "attempt".
        """
        next(worker for worker in self._workers if worker.idle).give(job)

    def wait(
        self, timeout: float, limit: float = math.inf
    ) -> Iterator[tuple[dict, dict]]:
        """Yields what came of trials, after waiting for something to happen.

        Args:
          timeout: seconds to wait at most.
          limit: seconds that a trial may take; a worker that takes longer is
            ended.

        Yields:
          The job, and the record's fields; where a worker ended in the
          middle, only "status", "reason" and "seconds".

        Raises:
          WorkerError: if workers end before they are ready.
        """
        left = min((worker.left(limit) for worker in self._workers), default=0)
        for worker, messages, ended in self._poll(max(0, min(timeout, left))):
            for message in messages:
                if "ready" in message:
                    worker.ready, self._stillborn = True, 0
                    continue
                job, worker.job = worker.job, None
                yield job, message
                worn = worker.trials >= self._setup.trials_per_worker
                if not ended and (worn or message["status"] == "failed"):
                    self._replace(worker)
            if ended:
                yield from self._bury(worker, worker.reason())
        for worker in [w for w in self._workers if w.left(limit) <= 0]:
            reason = f"not ready within {worker.startup_limit:g} s"
            if worker.ready:
                reason = f"took longer than {limit:g} s, and was ended"
            yield from self._bury(worker, reason)

    def _bury(self, worker, reason):
        """Replaces a worker that has ended; its trial has failed."""
        if not worker.ready:
            self._stillborn += 1
        if self._stillborn >= _MAX_STILLBORN:
            raise WorkerError(f"Workers end before they are ready: {reason}")
        seconds = round(time.monotonic() - worker.since, 3)
        self._replace(worker)
        if worker.job is not None:
            yield (
                worker.job,
                {"status": "failed", "reason": reason, "seconds": seconds},
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
    ) -> Iterator[tuple[Worker, list[dict[str, Any]], bool]]:
        """Yields workers of which there is news.

        Args:
          timeout: seconds to wait at most.

        Yields:
          A worker, its messages, and whether it has ended.
        """
