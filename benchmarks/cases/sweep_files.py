"""Makes what trials need: a sampled sweep, and a trial for PyTorch."""

import json
import pathlib
import subprocess
import sys
from typing import Any

# Before TensorFlow, which it has turn oneDNN on.
from keras_regnet import onednn  # noqa: F401

# isort: split
import numpy as np

from benchmarks.harness import child
from benchmarks.harness import worker
from keras_regnet import atomic
from keras_regnet import config as config_lib
from keras_regnet import plan
from training.sweeps import arrays as arrays_lib
from training.sweeps import spec as spec_lib

_SPACES = ("AnyNetX_A", "RegNetX")


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Makes a file or folder; its path is a fact.

    Args:
      job: folder; sweep, that of a sampled one, empty for one of a regime;
        regime; trial: its number, None for the folder of the sweep itself.
    """
    folder = pathlib.Path(job["folder"])
    sweep = job["sweep"] or _sampled(folder, job["regime"])
    path = pathlib.Path(sweep).resolve()
    if job["trial"] is not None:
        path = _for_torch(path, job["trial"], folder)
    return worker.Prepared(dict, facts={"path": str(path)})


def _sampled(folder, regime):
    """Returns the folder of a sweep of a network of each space."""
    sweep = folder / f"sweep-{regime}"
    if not (sweep / "trials.jsonl").exists():
        command = [sys.executable, "training/sweep.py", "sample", "--n=1"]
        command += [f"--out={sweep}", f"--regime={regime}"]
        command += [f"--space={space}" for space in _SPACES]
        subprocess.run(command, cwd=child.ROOT, check=True)
    return sweep


def _for_torch(sweep, number, folder):
    """Returns a file of the job with which PyTorch trains the same network."""
    spec, trials = spec_lib.load(sweep)
    regime, trial = spec.regime, trials[number]
    stages = plan.stages(config := config_lib.from_json(trial.config))
    data = folder / f"{regime.name}.npz"
    with atomic.replacing(data) as partial:
        loaded = arrays_lib.load(regime, sweep)
        arrays = {n: getattr(loaded, n) for n in arrays_lib.NAMES}
        np.savez(partial, **{n: a for n, a in arrays.items() if a is not None})
    job = {
        **regime.to_dict(),
        "arrays": str(data),
        "params": {
            "depths": [stage.depth for stage in stages],
            "widths": [stage.width for stage in stages],
            "group_widths": [stage.group_width for stage in stages],
            "bottleneck_multipliers": [
                stage.inner_width / stage.width for stage in stages
            ],
            "strides": [stage.stride for stage in stages],
            "se_ratio": config.se_ratio or None,
        },
        "count": trial.params,
        "seed": trial.seed,
    }
    path = folder / f"{regime.name}-{trial.trial_id}.json"
    atomic.write(path, json.dumps(job).encode())
    return path
