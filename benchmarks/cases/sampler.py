"""Sampling networks within a budget, complexity included: ours."""

import time
from typing import Any

import numpy as np

from benchmarks.harness import worker
from keras_regnet import design_space


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Prepares a space.

    Args:
      job: space, flops (low and high) and candidates of a turn.
    """
    space = design_space.space(job["space"])
    flops = tuple(job["flops"])
    seeds = iter(range(1_000_000))
    facts = {"images": 1}

    def turn():
        rng = np.random.default_rng(next(seeds))
        candidates = kept = 0
        start = time.perf_counter()
        while candidates < job["candidates"]:
            sample = space.sample(rng, n=500, flops=flops)
            candidates += sample.acceptance.candidates
            kept += len(sample)
        seconds = time.perf_counter() - start
        return {"seconds": seconds / candidates, "kept": kept / candidates}

    turn()
    return worker.Prepared(turn, worker.versions("numpy"), facts)
