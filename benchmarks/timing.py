"""Times cases in alternating rounds, so that a busy machine is fair.

Absolute times say little on a shared machine. Every round times each
case once, in turn; a slow second then falls on all of them.
"""

import contextlib
import dataclasses
import json
import math
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import numpy as np

# Stands before every program of a `Child`: `jobs()` yields what is asked,
# `reply(value)` answers it.
_CHILD_PREAMBLE = """
import json, os, sys
_replies = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # What libraries print must not be taken for a reply.

def jobs():
    for line in sys.stdin:
        yield json.loads(line)

def reply(value):
    _replies.write(json.dumps(value) + "\\n")
    _replies.flush()
"""


class ChildError(RuntimeError):
    """The process of another interpreter ended before it was asked to."""


class Child:
    r"""A program in another interpreter, which takes its turn in the rounds.

    The program replies once when it is ready and once to each job. It ends
    when its input does.

    Args:
        name: Whose process it is, for errors.
        python: Path of the interpreter.
        program: Its code; has `jobs` and `reply` to talk to us.
        *arguments: What the program finds in `sys.argv[1:]`.

    Raises:
        ChildError: If the program fails before it is ready.

    Example:
    >>> import sys
    >>> double = "reply(0)\nfor job in jobs(): reply(2 * job)"
    >>> with Child("double", sys.executable, double) as child:
    ...     child.call(21)
    42
    """

    def __init__(
        self, name: str, python: str, program: str, *arguments: object
    ) -> None:
        self._name = name
        # Not a pipe, which would fill up and block.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (`close`)
        try:
            self._process = subprocess.Popen(
                [python, "-c", _CHILD_PREAMBLE + program, *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
            )
        except OSError as error:
            self._errors.close()
            raise ChildError(f"{name} did not start: {error}") from error
        self.greeting = self._read()

    def call(self, job: object) -> Any:
        """Returns the program's reply to a job; both are JSON values."""
        # If it has ended, reading tells how.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """Ends the process."""
        # Broken if it has ended with a job unread.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._errors.close()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _read(self):
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().split("\n")
        said = [line.strip() for line in lines if line.strip()]
        self.close()
        raise ChildError(
            f"{self._name} ended early with status {status}: "
            f"{said[-1] if said else 'it said nothing'}"
        )


@dataclasses.dataclass
class Case:
    """One that takes turns with others, several steps in each.

    Args:
        run: Runs a number of steps, and returns when they are done.
        rounds: In how many of the first rounds it takes part.
        slow: Whether one step is turn enough, also after only one to warm up.
    """

    run: Callable[[int], object]
    rounds: int
    slow: bool = False
    steps: int = dataclasses.field(default=1, init=False)
    first_seconds: float = dataclasses.field(default=0.0, init=False)
    step_seconds: float = dataclasses.field(default=0.0, init=False)
    seconds: list[float] = dataclasses.field(default_factory=list, init=False)

    def warm_up(self, turn_seconds: float) -> None:
        """Runs a first step, then decides on the steps of a turn.

        Args:
            turn_seconds: About how long a turn takes.
        """
        # The first call also traces and compiles, or plans its memory.
        self.first_seconds = self.step_seconds = self._time(1)
        if not self.slow:
            self.step_seconds = min(self._time(1), self._time(1))
            self.steps = max(1, math.ceil(turn_seconds / self.step_seconds))

    def take_turn(self) -> None:
        """Runs its steps, and appends the seconds of one to `seconds`."""
        if not self.slow:
            # Untimed: see `alternate`.
            self.run(1)
        self.step_seconds = self._time(self.steps)
        self.seconds.append(self.step_seconds)

    def turn_seconds(self) -> float:
        """Returns about how long the next turn takes."""
        return self.step_seconds * (self.steps + (not self.slow))

    def _time(self, steps):
        start = time.perf_counter()
        self.run(steps)
        return (time.perf_counter() - start) / steps


def take_turns(
    cases: Mapping[str, Case],
    rounds: int,
    report: Callable[[int, float], None],
) -> None:
    """Lets cases that are warm run in turn, for some rounds.

    Args:
        cases: By name; their `seconds` are filled.
        rounds: How many.
        report: Called before each round with its number, from zero, and the
            seconds that are left.
    """
    for number in range(rounds):
        left = sum(
            case.turn_seconds() * max(0, case.rounds - number)
            for case in cases.values()
        )
        report(number, left)
        for case in cases.values():
            if number < case.rounds:
                case.take_turn()


def alternate(
    cases: Mapping[str, Callable[[], object]],
    rounds: int = 9,
    seconds: float = 10.0,
) -> dict[str, float]:
    """Returns the median seconds of one call of each case.

    Args:
        cases: Functions without arguments that return when their work
            is done, by name.
        rounds: How often each is timed, each time after a call that is not.
        seconds: A case that has used this much is timed no more, but
            at least once.

    Returns:
        Medians in seconds, by name.

    Example:
    >>> medians = alternate({"sum": lambda: sum(range(10))}, rounds=3)
    >>> list(medians)
    ['sum']
    """
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, call in cases.items():
            if sum(times[name]) > seconds:
                continue
            # Untimed: the case before has left its data in the caches,
            # and perhaps threads that still spin.
            call()
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def product_rate(
    multiply: Callable[[np.ndarray, np.ndarray], object], size: int = 2048
) -> float:
    """Returns the machine's fp32 matrix-product rate in GMAC/s.

    Args:
        multiply: Computes the product of two square matrices.
        size: Rows and columns of both.

    Returns:
        1e9 multiply-adds per second, of the median of the runs.
    """
    matrix = np.random.default_rng(0).normal(size=(size, size))
    matrix = matrix.astype("float32")
    median = alternate({"product": lambda: multiply(matrix, matrix)})
    return size**3 / median["product"] / 1e9


def cpu_threads() -> int:
    """Returns how many threads this process may run at once."""
    return len(os.sched_getaffinity(0))


def write_json(path: str, record: object) -> None:
    """Writes whole files only: beside the target, then renamed.

    Args:
        path: The file.
        record: What JSON can hold.
    """
    with open(f"{path}.part", "w") as file:
        json.dump(record, file, indent=1)
        file.write("\n")
    os.replace(f"{path}.part", path)


def cpu_model() -> str:
    """Returns the processor's name as the system gives it."""
    try:
        with open("/proc/cpuinfo") as file:
            lines = [line for line in file if line.startswith("model name")]
        return lines[0].split(":", 1)[1].strip()
    except (OSError, IndexError):
        return platform.processor() or platform.machine()
