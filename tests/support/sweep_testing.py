"""Sweeps as processes of their own, into which tests inject faults."""

import contextlib
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable

from training.sweeps import driver
from training.sweeps import regimes
from training.sweeps import spec

SCRIPT = pathlib.Path(driver.__file__).parents[1] / "sweep.py"
PATIENCE = 400
# Three small networks, each trained within seconds.
SPEC = spec.Spec(regime=regimes.get("synthetic"), spaces=("RegNetX",), n=3)


def start(*arguments: str) -> subprocess.Popen:
    """Starts `training/sweep.py`; its output can be read from its stdout."""
    return subprocess.Popen(
        [sys.executable, SCRIPT, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def children(pid: int) -> list[int]:
    """Returns the processes that a process has started."""
    tasks = pathlib.Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def is_running(pid: int) -> bool:
    """Returns whether a process exists and has not ended."""
    with contextlib.suppress(OSError):
        state = pathlib.Path(f"/proc/{pid}/stat").read_text()
        return state.rpartition(")")[2].split()[0] != "Z"
    return False


def lines(path: pathlib.Path) -> int:
    """Returns the number of whole lines of a file, 0 if it does not exist."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_until(
    condition: Callable[[], object], seconds: float = PATIENCE
) -> None:
    """Returns when a condition holds.

    Raises:
      TimeoutError: if it does not within so many seconds.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.05)
