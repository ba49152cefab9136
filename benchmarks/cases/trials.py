"""A whole trial of a sweep: building, compiling, training, evaluating."""

from typing import Any

# Before TensorFlow, which it has turn oneDNN on.
from keras_regnet import onednn  # noqa: F401

# isort: split
from benchmarks.harness import worker
from training.sweeps import arrays as arrays_lib
from training.sweeps import spec as spec_lib
from training.sweeps import trial as trial_lib

_PARTS = ("build", "compile", "input", "train", "test")


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Prepares a trial.

    Args:
      job: sweep, folder of a sampled one; trial, its number there; threads.
    """
    spec, trials = spec_lib.load(job["sweep"])
    trial_lib.steps_module().limit_threads(job["threads"])
    arrays = arrays_lib.load(spec.regime, job["sweep"])
    trial = trials[job["trial"]]

    def turn():
        record = trial_lib.run(trial, spec.regime, arrays)
        if not record.done:
            raise ValueError(f"{trial.space} #{trial.index}: {record.reason}")
        parts = {part: getattr(record, f"seconds_{part}") for part in _PARTS}
        return {**parts, "seconds": sum(parts.values()), "error": record.error}

    facts = {"images": 1, "params": trial.params, "regime": spec.regime.name}
    return worker.Prepared(turn, worker.versions("tensorflow", "keras"), facts)
