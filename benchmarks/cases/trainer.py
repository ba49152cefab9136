"""The trainer on synthetic images: its whole loop, or a whole run's memory.

Beside the model's own step, the loop is input pipeline, metrics, progress and
several calls.
"""

import tempfile
import time
from typing import Any

# Before TensorFlow, which it has turn oneDNN on.
from keras_regnet import onednn  # noqa: F401

# isort: split
from benchmarks.cases import keras_networks
from benchmarks.harness import worker
from training.config import config as train_config
from training.config import network as network_lib
from training.data import load
from training.trainer import hooks
from training.trainer import loop
from training.trainer import preemption
from training.trainer import processes
from training.trainer import progress
from training.trainer import run as run_lib
from training.trainer import strategy as train_strategy
from training.trainer import train
from training.workdir import files


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Prepares a run.

    Args:
      job: network, size, batch and threads; steps of a turn; epochs: 0 to time
        a turn's steps, or those of a turn that is a whole run, with as many
        steps, an evaluation and a checkpoint in each, whose memory is watched.
    """
    keras_networks.limit_threads(job["threads"])
    make = _watched if job["epochs"] else _timed
    versions = worker.versions(*keras_networks.PACKAGES)
    return worker.Prepared(make(job), versions, {"images": job["batch"]})


def _config(job, folder, **fields):
    return train_config.TrainConfig(
        strategy="one_device",
        variant=job["network"],
        dataset="synthetic",
        augmentation="none",
        image_size=job["size"],
        global_batch_size=job["batch"],
        workdir=folder,
        checkpoint_seconds=0.0,
        **fields,
    )


def _timed(job):
    # Until the process ends.
    folder = tempfile.mkdtemp()
    train_steps = _loop(_config(job, folder, epochs=1000)).train_steps
    train_steps(job["steps"])  # Traces.

    def turn():
        start = time.perf_counter()
        train_steps(job["steps"])
        return {"seconds": (time.perf_counter() - start) / job["steps"]}

    return turn


def _loop(config):
    """Returns the loop of a run that is ready to train."""
    strategy = train_strategy.make(config)
    weights = network_lib.resolve("", network_lib.network_config(config))
    run = run_lib.Run(
        config=config,
        architecture=weights,
        folder=files.run_folder(config),
        strategy=strategy,
        processes=processes.Processes(strategy),
        data=load.load_dataset(config),
        hooks=hooks.Hooks(),
    )
    state, checkpointer = train.start(run, weights, None)
    return loop.Loop(run, state, checkpointer, preemption.Preemption())


class WatchMemory(hooks.Hooks):
    """Records the memory after every epoch, in `bytes`."""

    def __init__(self):
        self.bytes = []

    def after_epoch(self, state):
        """Records the memory in use."""
        del state
        self.bytes.append(progress.memory_bytes())

    def before_export(self, state):
        """Leaves the export out: what has learned noise is no use."""
        return False


def _watched(job):
    def turn():
        watch = WatchMemory()
        with tempfile.TemporaryDirectory() as folder:
            config = _config(
                job,
                folder,
                num_train_examples=job["batch"] * job["steps"],
                epochs=job["epochs"],
            )
            train.train_and_evaluate(config, watch)
        return {"bytes": watch.bytes[-1], "after_first": watch.bytes[0]}

    return turn
