"""Worker processes on this machine, each isolated from the driver.

A worker lives for many trials, since importing a framework takes longer than
many a trial; after a failure, and now and then against leaks, its successor
starts afresh.
"""

import json
import os
import pathlib
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

_SCRIPT = pathlib.Path(__file__).parent / "worker.py"
_FOLDER = "logs"
_TAIL = 300
_MAX_STILLBORN = 3


class Worker:
    """One process.

    Args:
      number: names its log.
      folder: of the sweep.
      regime: name of the regime.
      threads: cores that an operation may use; 0 for the backend's choice.
    """

    def __init__(
        self, number: int, folder: pathlib.Path, regime: str, threads: int
    ):
        logs = folder / _FOLDER
        logs.mkdir(exist_ok=True)
        self._log = logs / f"worker-{number}.log"
        self.number = number
        self.job: dict[str, Any] | None = None
        self.started = 0.0
        self.trials = 0
        self.ready = False
        with open(self._log, "ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, _SCRIPT, folder, regime, str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self.pipe = self._process.stdout
        os.set_blocking(self.pipe.fileno(), False)
        self._pending = b""

    @property
    def idle(self) -> bool:
        """Whether it waits for a trial."""
        return self.ready and self.job is None

    def give(self, job: dict[str, Any]) -> None:
        """Hands over a trial."""
        self.job, self.started = job, time.monotonic()
        self.trials += 1
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            # It died meanwhile: the end of its output will tell.
            pass

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """Returns the records that have come, and whether it has ended."""
        ended = False
        while True:
            try:
                piece = os.read(self.pipe.fileno(), 1 << 16)
            except BlockingIOError:
                break
            if not piece:
                ended = True
                break
            self._pending += piece
        *lines, self._pending = self._pending.split(b"\n")
        return [json.loads(line) for line in lines], ended

    def reason(self) -> str:
        """Returns why a worker ended that should not have."""
        code = self._process.wait()
        said = self._last_words()
        if code >= 0:
            return f"worker exited with status {code}{said}"
        name = signal.Signals(-code).name
        if -code == signal.SIGKILL:
            return f"worker was killed ({name}), perhaps for lack of memory"
        return f"worker crashed ({name}){said}"

    def _last_words(self):
        with open(self._log, "rb") as log:
            log.seek(self._log_start)
            lines = log.read()[-10_000:].decode(errors="replace").split("\n")
        lines = [line.strip() for line in lines if line.strip()]
        return f": {lines[-1][-_TAIL:]}" if lines else ""

    def stop(self) -> None:
        """Ends the process, in the middle of a trial if need be."""
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self.pipe.close()


class Pool:
    """Workers, and the trials that they are busy with.

    Args:
      count: how many workers.
      folder: of the sweep.
      regime: name of the regime.
      threads: cores that each may use; 0 for the backend's choice.
      trials_per_worker: after how many trials a worker is replaced.
    """

    def __init__(
        self,
        count: int,
        folder: str | os.PathLike,
        regime: str,
        threads: int = 0,
        trials_per_worker: int = 50,
    ):
        self._folder = pathlib.Path(folder)
        self._regime = regime
        self._threads = threads
        self._trials_per_worker = trials_per_worker
        self._selector = selectors.DefaultSelector()
        self._stillborn = 0
        self._workers: list[Worker] = []
        for number in range(1, count + 1):
            self._start(number)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *unused) -> None:
        for worker in self._workers:
            worker.stop()
        self._selector.close()

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

    def wait(self, timeout: float) -> Iterator[tuple[dict, dict]]:
        """Yields what came of trials, after waiting for something to happen.

        Args:
          timeout: seconds to wait at most.

        Yields:
          The job, and the record's fields; where a worker ended in the
          middle, only "status", "reason" and "seconds".

        Raises:
          WorkerError: if workers end before they are ready.
        """
        for key, _ in self._selector.select(timeout):
            worker = key.data
            results, ended = worker.read()
            for result in results:
                if "ready" in result:
                    worker.ready, self._stillborn = True, 0
                    continue
                job, worker.job = worker.job, None
                yield job, result
                worn = worker.trials >= self._trials_per_worker
                if not ended and (worn or result["status"] == "failed"):
                    self._replace(worker)
            if ended:
                yield from self._bury(worker)

    def _bury(self, worker):
        """Replaces a worker that has ended; its trial has failed."""
        reason = worker.reason()
        if not worker.ready:
            self._stillborn += 1
        if self._stillborn >= _MAX_STILLBORN:
            raise WorkerError(f"Workers end before they are ready: {reason}")
        seconds = round(time.monotonic() - worker.started, 3)
        self._replace(worker)
        if worker.job is not None:
            yield (
                worker.job,
                {"status": "failed", "reason": reason, "seconds": seconds},
            )

    def _start(self, number):
        worker = Worker(number, self._folder, self._regime, self._threads)
        self._selector.register(worker.pipe, selectors.EVENT_READ, worker)
        self._workers.append(worker)

    def _replace(self, worker):
        self._selector.unregister(worker.pipe)
        self._workers.remove(worker)
        worker.stop()
        self._start(worker.number)


class WorkerError(Exception):
    """Workers cannot work here at all."""
