"""A benchmark case's process: prepares, warms up, and takes a turn when asked.

    python -m benchmarks.harness.worker MODULE THREADS

Jobs come as lines of JSON from the input, and one line answers each. MODULE is
one of `benchmarks.cases`, with a function `prepare(job) -> Prepared`. This
module needs no more than Python: the interpreter may have any library, and need
not have ours.
"""

import dataclasses
import importlib
import importlib.metadata
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

_POOLS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR")


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A case that is warm.

    Args:
      turn: runs once more, and returns what it measured, by name.
      versions: of the libraries, by name.
      facts: what else there is to say of the case, as JSON values.
    """

    turn: Callable[[], dict[str, float]]
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)


class Repeated:
    """A turn that repeats a step for about some seconds.

    Args:
      step: returns when its work is done.
      turn_seconds: about how long a turn takes; a step that takes longer is a
        turn alone.

    Attributes:
      first_seconds: of the first step, which also compiles or plans.
    """

    def __init__(self, step: Callable[[], object], turn_seconds: float) -> None:
        self._step = step
        self.first_seconds = self._time(1)
        seconds = self._time(1)
        if seconds < turn_seconds:
            seconds = min(seconds, self._time(1))
        self._steps = max(1, math.ceil(turn_seconds / max(seconds, 1e-9)))

    def __call__(self) -> dict[str, float]:
        """Returns the seconds of a step."""
        if self._steps > 1:
            # Untimed: the case before has left its data in the caches.
            self._step()
        return {"seconds": self._time(self._steps)}

    def _time(self, steps):
        start = time.perf_counter()
        for _ in range(steps):
            self._step()
        return (time.perf_counter() - start) / steps


def versions(*packages: str) -> dict[str, str]:
    """Returns the versions of Python and of installed packages."""
    found = {"python": platform.python_version()}
    return found | {p: importlib.metadata.version(p) for p in packages}


def limit_threads(threads: int) -> None:
    """Limits this process, and each library that it imports, to some cores."""
    for pool in _POOLS:
        os.environ[f"{pool}_NUM_THREADS"] = str(threads)
    if hasattr(os, "sched_setaffinity"):
        # The last ones: systems do their own work on the first.
        cores = sorted(os.sched_getaffinity(0))[-threads:]
        os.sched_setaffinity(0, cores)


def serve(module: Any, lines: Any, reply: Callable[[object], None]) -> None:
    """Answers each job of a case."""
    turn = None
    for line in lines:
        job = json.loads(line)
        if job is None:
            reply(turn())
            continue
        turn = None  # What was prepared before may go.
        prepared = module.prepare(job)
        turn = prepared.turn
        reply({"versions": prepared.versions, "facts": prepared.facts})


def main(argv: list[str]) -> None:
    """Serves until the input ends."""
    _, module, threads = argv
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # What libraries print must not be taken for a reply.
    limit_threads(int(threads))

    def reply(value):
        replies.write(json.dumps(value) + "\n")
        replies.flush()

    serve(importlib.import_module(module), sys.stdin, reply)
    sys.stderr.flush()
    # Threads of input pipelines and of runtimes would sleep on.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv)
