"""A pool of processes on this machine, each isolated from the driver."""

import contextlib
import os
import pathlib
import selectors
import signal
import subprocess
import sys

from training.sweeps import files
from training.sweeps import messages
from training.sweeps import pool
from training.sweeps.options import Options

_SCRIPT = pathlib.Path(__file__).parent / "worker_main.py"
_TAIL = 300
_STARTUP_SECONDS = 900.0
# Large pages of memory: results stay, steps are some percent faster. The C
# library reads it as a process starts.
_LARGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
# A process that waits for a disk which is gone does not even die.
_DEATH_SECONDS = 10.0


class LocalWorker(pool.Worker):
    """One process, whose number names its log."""

    startup_limit = _STARTUP_SECONDS

    def __init__(self, number: int, folder: pathlib.Path, threads: int):
        super().__init__(number)
        logs = folder / files.LOGS
        logs.mkdir(exist_ok=True)
        self._log = logs / f"worker-{number}.log"
        with open(self._log, "ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, _SCRIPT, folder, str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**_LARGE_PAGES, **os.environ},
            )
        self.pipe = self._process.stdout
        os.set_blocking(self.pipe.fileno(), False)
        self._pending = b""

    def send(self, job: messages.Job) -> None:
        """Sends a job to the process."""
        # If it has died meanwhile, the end of its output tells so.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(job.to_json().encode() + b"\n")
            self._process.stdin.flush()

    def read(self) -> tuple[list[messages.Ready | messages.Outcome], bool]:
        """Returns the messages that arrived, and whether it has ended."""
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
        return [messages.from_worker(line) for line in lines], ended

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


class LocalPool(pool.Pool):
    """Processes on this machine."""

    def __init__(self, count: int, folder: pathlib.Path, options: Options):
        self._selector = selectors.DefaultSelector()
        super().__init__(count, folder, options)

    def __exit__(self, *unused) -> None:
        super().__exit__(*unused)
        self._selector.close()

    def _start(self, number):
        worker = LocalWorker(number, self._folder, self._options.threads)
        self._selector.register(worker.pipe, selectors.EVENT_READ, worker)
        return worker

    def _forget(self, worker):
        self._selector.unregister(worker.pipe)

    def _poll(self, timeout):
        for key, _ in self._selector.select(timeout):
            yield key.data, *key.data.read()
