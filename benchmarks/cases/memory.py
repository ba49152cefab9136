"""The most memory that a process has had after some steps."""

from typing import Any

from benchmarks.cases import steps
from benchmarks.harness import worker

_STEPS = 3
_KILOBYTE = 1024


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Prepares nothing: the turn is all that a process does.

    Args:
      job: as of `steps`.
    """
    return worker.Prepared(lambda: _turn(job), facts={"images": job["batch"]})


def _turn(job):
    library = steps.module(job)
    imported = peak_bytes()
    network = library.build(job)
    built = peak_bytes()
    step = library.make_step(network, job)
    for _ in range(_STEPS):
        step()
    return {"bytes": peak_bytes(), "imported": imported, "built": built}


def peak_bytes() -> int:
    """Returns the most memory that this process has had.

    Not by `getrusage`, which counts that of the process that started it.
    """
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * _KILOBYTE
    raise OSError("/proc/self/status has no VmHWM")
