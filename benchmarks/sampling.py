r"""Times drawing networks and counting their complexity, ours and pycls's.

    python benchmarks/sampling.py --output=sampling.json
    python benchmarks/sampling.py --pycls=CHECKOUT --pycls_python=PYTHON

One core, the same space and budget for both: AnyNetX_A and RegNetX between
360 and 400 MF at 224 px. pycls runs `sample_cfgs` of its tools/sweep_setup.py
on chunks of candidates, in turn with us. Its interpreter needs what its
requirements.txt names for that: torch, yacs, iopath, simplejson, matplotlib,
submitit. Candidates that pycls discards early, as we do, count as candidates.
"""

import functools
import os
import sys

import numpy as np
from absl import app
from absl import flags

# Also when run from another working directory.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from benchmarks import timing
from keras_regnet import design_space
from keras_regnet import version

_CANDIDATES = flags.DEFINE_integer(
    "candidates", 400_000, "That we draw in one turn.", lower_bound=1
)
_PYCLS_CANDIDATES = flags.DEFINE_integer(
    "pycls_candidates", 200, "That pycls draws in one turn.", lower_bound=1
)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Turns of each.", lower_bound=1)
_PYCLS = flags.DEFINE_string("pycls", None, "Folder of a pycls checkout.")
_PYCLS_PYTHON = flags.DEFINE_string(
    "pycls_python", sys.executable, "Interpreter that can import pycls."
)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")

_FLOPS = (360e6, 400e6)
_SPACES = ("AnyNetX_A", "RegNetX")

# Runs in the other interpreter. Ranges are those of our spaces; a log-uniform
# range of pycls must be made of multiples of its quantum.
_PYCLS_PROGRAM = """
import os, sys
os.environ.setdefault("CONDA_PREFIX", "")
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
import tools.sweep_setup as setup
from pycls.core.config import cfg
from pycls.sweep import config
from yacs.config import CfgNode

def a_list(kind, low, high, quantum):
    item = dict(TYPE="int_sampler", RAND_TYPE=kind, RANGE=[low, high],
                QUANTIZE=quantum)
    return CfgNode(dict(TYPE="list_sampler", LENGTH=4, ITEM_SAMPLER=item))

def anynet():
    ratios = a_list("uniform", 1, 1, 1)
    ratios.ITEM_SAMPLER = CfgNode(
        dict(TYPE="value_sampler", VALUES=[1.0, 0.5, 0.25]))
    return "anynet", {
        "ANYNET.DEPTHS": a_list("log_uniform", 1, 16, 1),
        "ANYNET.WIDTHS": a_list("log_uniform", 8, 1024, 8),
        "ANYNET.BOT_MULS": ratios,
        "ANYNET.GROUP_WS": a_list("power2_uniform", 1, 32, 1),
    }

def regnet():
    return "regnet", {"REGNET": CfgNode(dict(
        TYPE="regnet_sampler", DEPTH=[1, 63], W0=[8, 248], WA=[8.0, 255.9],
        WM=[1.5, 3.0], GROUP_W=[1, 32], BOT_MUL=[0.25, 1.0]))}

setups = {"AnyNetX_A": anynet, "RegNetX": regnet}
made = None
reply(torch.__version__)
for name, flops, candidates, seed in jobs():
    if made != name:
        made = name
        kind, samplers = setups[name]()
        base = config.sweep_cfg.SETUP.BASE_CFG
        base.MODEL.TYPE = kind
        base.ANYNET.STRIDES = [2, 2, 2, 2]
        base.ANYNET.STEM_W = 32
        base.REGNET.STEM_W = 32
        config.sweep_cfg.SETUP.CONSTRAINTS.CX.FLOPS = list(flops)
        config.sweep_cfg.SETUP.NUM_CONFIGS = 10 ** 9
        config.sweep_cfg.SETUP.SAMPLERS = CfgNode(
            {key: config.load_sampler(key, value)
             for key, value in samplers.items()}, new_allowed=True)
    config.sweep_cfg.SETUP.CHUNK_SIZE = candidates
    reply(len(setup.sample_cfgs(seed)))
"""


class _Ours:
    """Draws until a number of candidates is reached; counts what it keeps."""

    def __init__(self, name):
        self._space = design_space.space(name)
        self.candidates = self.kept = 0
        self._seed = 0

    def __call__(self):
        self._seed += 1
        rng = np.random.default_rng(self._seed)
        left = _CANDIDATES.value
        while left > 0:
            sample = self._space.sample(rng, n=500, flops=_FLOPS)
            left -= sample.acceptance.candidates
            self.candidates += sample.acceptance.candidates
            self.kept += len(sample)


class _Pycls:
    """The same in the child's interpreter."""

    def __init__(self, name, child):
        self._name, self._child = name, child
        self.candidates = self.kept = 0
        self._seed = 0

    def __call__(self):
        self._seed += 1
        job = (self._name, _FLOPS, _PYCLS_CANDIDATES.value, self._seed)
        self.kept += self._child.call(job)
        self.candidates += _PYCLS_CANDIDATES.value


def _time(samplers):
    """Returns candidates per second and the fraction kept, by name."""
    cases = {
        name: timing.Case(
            functools.partial(_run, sampler), _ROUNDS.value, slow=True
        )
        for name, sampler in samplers.items()
    }
    for case in cases.values():
        case.warm_up(0.0)
    for sampler in samplers.values():
        sampler.candidates = sampler.kept = 0
    timing.take_turns(cases, _ROUNDS.value, lambda *_: None)
    return {
        name: {
            "candidates_per_s": sampler.candidates / sum(cases[name].seconds),
            "kept": sampler.kept / sampler.candidates,
        }
        for name, sampler in samplers.items()
    }


def _run(sampler, steps):
    for _ in range(steps):
        sampler()


def main(argv: list[str]) -> None:
    """Prints candidates per second of each space, and how much faster."""
    del argv
    child = None
    if _PYCLS.value:
        child = timing.Child(
            "pycls", _PYCLS_PYTHON.value, _PYCLS_PROGRAM, _PYCLS.value
        )
    record = {
        "cpu": timing.cpu_model(),
        "numpy": np.__version__,
        "keras_regnet": version.VERSION,
        "torch": child and child.greeting,
        "flops": _FLOPS,
        "spaces": {},
    }
    for name in _SPACES:
        samplers = {"keras_regnet": _Ours(name)}
        if child:
            samplers["pycls"] = _Pycls(name, child)
        rates = record["spaces"][name] = _time(samplers)
        for who, rate in rates.items():
            times = (
                rates["keras_regnet"]["candidates_per_s"]
                / rate["candidates_per_s"]
            )
            print(
                f"{name:10} {who:13} {rate['candidates_per_s']:12.0f} "
                f"candidates/s, {rate['kept']:.2%} kept, {times:.0f}x",
                flush=True,
            )
    if child:
        child.close()
    if _OUTPUT.value:
        timing.write_json(_OUTPUT.value, record)


if __name__ == "__main__":
    app.run(main)
