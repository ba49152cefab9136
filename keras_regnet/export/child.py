"""A process of its own for what leaks memory, crashes or never ends.

TensorFlow's converter keeps memory at each call, and a crash of it ends the
process that it is in. See `child_main` for what the process does.
"""

import contextlib
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
from typing import Any
from typing import Self

_SCRIPT = pathlib.Path(__file__).with_name("child_main.py")
# Seconds, about three years: timers have a limit.
_LONGEST = 100_000_000


class Child:
    """A process that answers one job after the other. To be entered.

    Args:
      module: dotted name of the module whose functions are its jobs.

    Attributes:
      pid: number of the process.
      peak_bytes: most memory that it has had, as of its last answer.
    """

    def __init__(self, module: str) -> None:
        self.peak_bytes = 0
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._is_late = threading.Event()
        self._one_at_a_time = threading.Lock()
        # -P: the modules beside it do not stand for packages of their names.
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_SCRIPT), module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._pipes: tuple[Any, Any] = (
            self._process.stdin,
            self._process.stdout,
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.stop()

    def answer(self, job: str, time_limit: float, **arguments: Any) -> Any:
        """Returns the result of a job.

        Args:
          job: name of a function of the module.
          time_limit: seconds after which the process is ended.
          **arguments: of the function, as JSON has them.

        Raises:
          ValueError: if the job fails, with what it says.
          TimeoutError: if it takes longer.
          ChildProcessError: if the process ends, with its last words.
        """
        line = json.dumps({"job": job, "time_limit": time_limit, **arguments})
        with self._one_at_a_time:
            timer = threading.Timer(time_limit, self._end_late)
            timer.start()
            try:
                answered = self._exchange(line)
            except BaseException:
                # What stays unread would be taken for the next job's answer.
                self._process.kill()
                raise
            finally:
                timer.cancel()
        # Less than a line is of a process that was ended while it wrote.
        if not answered.endswith("\n"):
            raise self._why_not(job, time_limit)
        answer = json.loads(answered)
        self.peak_bytes = answer["peak_bytes"]
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer["result"]

    def stop(self) -> None:
        """Ends the process, at once."""
        self._process.kill()
        self._process.wait()
        for pipe in self._pipes:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self._errors.close()

    def _exchange(self, line):
        jobs, answers = self._pipes
        # If it has died meanwhile, the end of its output tells so.
        with contextlib.suppress(BrokenPipeError):
            jobs.write(f"{line}\n")
            jobs.flush()
        return answers.readline()

    def _end_late(self):
        self._is_late.set()
        self._process.kill()

    def _why_not(self, job, time_limit):
        """Returns the error of a process that has ended."""
        status = self._process.wait()
        if self._is_late.is_set():
            return TimeoutError(
                f"`time_limit` was too short: {job} took longer than "
                f"{time_limit:g} s. Received: time_limit={time_limit!r}"
            )
        if status < 0:
            return ChildProcessError(
                f"the process of {job} was ended by {_signal(-status)}"
            )
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()
        why = f": {said.splitlines()[-1]}" if said else f" with status {status}"
        return ChildProcessError(f"the process of {job} ended{why}")


def _signal(number):
    if number == signal.SIGKILL:
        return "SIGKILL; that is often a lack of memory"
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def check_time_limit(time_limit: float) -> None:
    """Raises a ValueError unless it is a number that a timer takes."""
    is_number = isinstance(time_limit, int | float) and time_limit is not True
    if not (is_number and 0 < time_limit <= _LONGEST):
        raise ValueError(
            "`time_limit` must be a number of seconds above 0 and at most "
            f"{_LONGEST}. Received: time_limit={time_limit!r}"
        )
