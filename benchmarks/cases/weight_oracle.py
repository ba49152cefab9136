"""Another project's network with random weights, its file and its outputs."""

import importlib
import sys
from typing import Any

from benchmarks.harness import child
from benchmarks.harness import worker

sys.path.insert(0, str(child.ROOT / "tests/oracles"))


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Writes what `benchmarks/weight_parity.py` asks for.

    Args:
      job: oracle, a module of `tests/oracles`; asked, what it answers.
    """
    oracle = importlib.import_module(job["oracle"])
    oracle.answer(job["asked"])
    return worker.Prepared(dict, oracle.versions())
