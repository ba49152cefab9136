"""A training step, or a forward pass, of a network of any library.

The library's module has `PACKAGES`, whose versions are recorded; `build(job)`,
which returns a network; `make_step(network, job)`, which traces or compiles and
returns what runs once; and `multiply_adds(network, job)` of one image's forward
pass. All compute logits from normalized images; a training step is SGD with
Nesterov momentum.
"""

import importlib
import time
from typing import Any

from benchmarks.harness import worker

# Small, so that many steps on one batch stay finite; costs the same.
LEARNING_RATE = 1e-3
MOMENTUM = 0.9
CLASSES = 1000
# A training step counts as three.
_FORWARD_PASSES = {"training": 3, "inference": 1}


def module(job: dict[str, Any]) -> Any:
    """Imports the module of a job's library."""
    return importlib.import_module(f"benchmarks.cases.{job['module']}")


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Prepares a step.

    Args:
      job: module, network, size, batch, pass ("training" or "inference"),
        threads, turn_seconds, and what the module takes besides.
    """
    library = module(job)
    start = time.perf_counter()
    network = library.build(job)
    built = time.perf_counter()
    step = library.make_step(network, job)
    traced = time.perf_counter()
    turn = worker.Repeated(step, job["turn_seconds"])
    passes = job["batch"] * _FORWARD_PASSES[job["pass"]]
    facts = {
        "images": job["batch"],
        "multiply_adds": library.multiply_adds(network, job) * passes,
        "build_seconds": built - start,
        "trace_seconds": traced - built,
        "first_seconds": turn.first_seconds,
    }
    return worker.Prepared(turn, worker.versions(*library.PACKAGES), facts)
