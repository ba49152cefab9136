"""What comes before the second step: import, build, trace, first run."""

from typing import Any

from benchmarks.cases import parts
from benchmarks.cases import steps
from benchmarks.harness import worker


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Prepares nothing: the turn is all that a process does.

    Args:
      job: as of `steps`.
    """
    return worker.Prepared(lambda: _turn(job), facts={"images": job["batch"]})


def _turn(job):
    clock = parts.Parts()
    # Not before, as its import is a part.
    library = clock.timed("import", lambda: steps.module(job))
    network = clock.timed("build", lambda: library.build(job))
    step = clock.timed("trace", lambda: library.make_step(network, job))
    clock.timed("first_run", step)
    measured = clock.measured()
    clock.timed("second_run", step)
    return measured | {"second_run": clock.seconds["second_run"]}
