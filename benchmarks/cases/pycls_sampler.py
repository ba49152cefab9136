"""Sampling networks within a budget by `sample_cfgs` of pycls.

Ranges are those of our spaces; a log-uniform range of pycls must be made of
multiples of its quantum. Candidates that pycls discards early, as we do, count.
"""

import os
import sys
import time
from typing import Any

from benchmarks.harness import worker


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Prepares a space.

    Args:
      job: pycls, folder of a checkout; space, flops (low and high) and
        candidates of a turn.
    """
    os.environ.setdefault("CONDA_PREFIX", "")
    sys.path.insert(0, job["pycls"])
    # Only now: they are in the checkout.
    import torch
    from pycls.sweep import config
    from tools import sweep_setup

    torch.set_num_threads(1)
    _set_up(job, config)
    seeds = iter(range(1, 1_000_000))

    def turn():
        seed = next(seeds)
        start = time.perf_counter()
        kept = len(sweep_setup.sample_cfgs(seed))
        seconds = time.perf_counter() - start
        return {
            "seconds": seconds / job["candidates"],
            "kept": kept / job["candidates"],
        }

    turn()
    return worker.Prepared(turn, worker.versions("torch"), {"images": 1})


def _set_up(job, config):
    from yacs.config import CfgNode

    kind, samplers = _SPACES[job["space"]](CfgNode)
    setup = config.sweep_cfg.SETUP
    base = setup.BASE_CFG
    base.MODEL.TYPE = kind
    base.ANYNET.STRIDES = [2, 2, 2, 2]
    base.ANYNET.STEM_W = base.REGNET.STEM_W = 32
    setup.CONSTRAINTS.CX.FLOPS = job["flops"]
    setup.NUM_CONFIGS = 10**9
    setup.CHUNK_SIZE = job["candidates"]
    setup.SAMPLERS = CfgNode(
        {k: config.load_sampler(k, v) for k, v in samplers.items()},
        new_allowed=True,
    )


def _list_of(node, **item):
    return node(
        {"TYPE": "list_sampler", "LENGTH": 4, "ITEM_SAMPLER": node(item)}
    )


def _integers(node, kind, low, high, quantum):
    return _list_of(
        node,
        TYPE="int_sampler",
        RAND_TYPE=kind,
        RANGE=[low, high],
        QUANTIZE=quantum,
    )


def _anynet(node):
    return "anynet", {
        "ANYNET.DEPTHS": _integers(node, "log_uniform", 1, 16, 1),
        "ANYNET.WIDTHS": _integers(node, "log_uniform", 8, 1024, 8),
        "ANYNET.BOT_MULS": _list_of(
            node, TYPE="value_sampler", VALUES=[1.0, 0.5, 0.25]
        ),
        "ANYNET.GROUP_WS": _integers(node, "power2_uniform", 1, 32, 1),
    }


def _regnet(node):
    sampler = {
        "TYPE": "regnet_sampler",
        "DEPTH": [1, 63],
        "W0": [8, 248],
        "WA": [8.0, 255.9],
        "WM": [1.5, 3.0],
        "GROUP_W": [1, 32],
        "BOT_MUL": [0.25, 1.0],
    }
    return "regnet", {"REGNET": node(sampler)}


_SPACES = {"AnyNetX_A": _anynet, "RegNetX": _regnet}
