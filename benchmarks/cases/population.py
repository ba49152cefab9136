"""Forward passes and training steps of random networks of a design space.

All networks are in one process, of which a turn times each in turn.
"""

import pathlib
from typing import Any

# Before TensorFlow, which it has turn oneDNN on.
import keras_regnet

# isort: split
import numpy as np

from benchmarks.cases import keras_networks
from benchmarks.cases import steps
from benchmarks.harness import worker
from keras_regnet import design_space

_SEED = 0


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Prepares the steps of all networks.

    Args:
      job: space, flops (low and high) and n, or file, a configuration a
        line; size, classes if they are not ImageNet's, batch, pass ("training"
        or "inference"), threads and turn_seconds.
    """
    keras_networks.limit_threads(job["threads"])
    networks = _networks(job)
    classes = job.get("classes", steps.CLASSES)
    shape = (job["size"], job["size"], 3)
    facts = {"images": job["batch"], "networks": []}
    turns = []
    for config in networks:
        cost = keras_regnet.complexity(config, shape, classes=classes)
        facts["networks"].append(
            {
                "config": config.to_json(),
                "flops": cost.flops,
                "activations": cost.activations,
                "params": cost.params,
            }
        )
        model = keras_networks.network(config, job)
        step = keras_networks.make_step(model, {**job, "form": "ours"})
        turns.append(worker.Repeated(step, job["turn_seconds"] / len(networks)))

    def turn():
        seconds = [one()["seconds"] for one in turns]
        return {
            "seconds": sum(seconds),
            **{str(number): value for number, value in enumerate(seconds)},
        }

    return worker.Prepared(
        turn, worker.versions(*keras_networks.PACKAGES), facts
    )


def _networks(job):
    if "file" in job:
        lines = pathlib.Path(job["file"]).read_text().splitlines()
        return [keras_regnet.config.from_json(line) for line in lines]
    rng = np.random.default_rng(_SEED)
    space = design_space.space(job["space"])
    return space.sample(rng, n=job["n"], flops=tuple(job["flops"]))
