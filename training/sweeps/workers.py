"""Worker processes on this machine, each isolated from the driver."""

import contextlib
import json
import os
import pathlib
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from training.sweeps import pool

_SCRIPT = pathlib.Path(__file__).parent / "worker.py"
_FOLDER = "logs"
_TAIL = 300
_STARTUP_SECONDS = 900.0
# A process that waits for a disk which is gone does not even die.
_DEATH_SECONDS = 10.0


class Worker(pool.Worker):
    """One process.

    Args:
      number: names its log.
      setup: what it needs to know.
    """

    startup_limit = _STARTUP_SECONDS

    def __init__(self, number: int, setup: pool.Setup):
        super().__init__(number)
        logs = setup.folder / _FOLDER
        logs.mkdir(exist_ok=True)
        self._log = logs / f"worker-{number}.log"
        with open(self._log, "ab") as log:
            self._log_start = log.tell()
            arguments = setup.folder, setup.regime, str(setup.threads)
            self._process = subprocess.Popen(
                [sys.executable, _SCRIPT, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self.pipe = self._process.stdout
        os.set_blocking(self.pipe.fileno(), False)
        self._pending = b""

    def send(self, job: dict[str, Any]) -> None:
        """Sends a trial on its way."""
        # If it died meanwhile, the end of its output will tell.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """Returns the messages that have come, and whether it has ended."""
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
        """Returns why it ended, when it should not have."""
        try:
            code = self._process.wait(_DEATH_SECONDS)
        except subprocess.TimeoutExpired:
            return f"worker fell silent{self._last_words()}"
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
        """Ends it, in the middle of a trial if need be."""
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_DEATH_SECONDS)
        # What it was not sent yet does not matter any more.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self.pipe.close()


class Pool(pool.Pool):
    """Processes on this machine.

    Args:
      count: how many workers.
      setup: what they need to know.
    """

    def __init__(self, count: int, setup: pool.Setup):
        self._selector = selectors.DefaultSelector()
        super().__init__(count, setup)

    def __exit__(self, *unused) -> None:
        super().__exit__(*unused)
        self._selector.close()

    def _start(self, number):
        worker = Worker(number, self._setup)
        self._selector.register(worker.pipe, selectors.EVENT_READ, worker)
        return worker

    def _forget(self, worker):
        self._selector.unregister(worker.pipe)

    def _poll(
        self, timeout: float
    ) -> Iterator[tuple[Worker, list[dict[str, Any]], bool]]:
        for key, _ in self._selector.select(timeout):
            yield key.data, *key.data.read()
