"""train_and_evaluate(config): a run from its first step to its SavedModel."""

import dataclasses
import pathlib
import time

import tensorflow as tf
from absl import logging

from keras_regnet import results
from training.config import config as train_config
from training.config import config_checks
from training.config import networks
from training.data import decode_errors
from training.data import load
from training.data import pipeline as train_data
from training.trainer import cluster as train_cluster
from training.trainer import preemption
from training.trainer import run as train_run
from training.trainer import strategy as train_strategy
from training.workdir import checkpoint
from training.workdir import run_folder

_BENCHMARK_SECONDS = 10.0
_BENCHMARK_EPOCHS = 1_000_000


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run with nothing left to do."""

    folder: pathlib.Path


def train_and_evaluate(config: train_config.TrainConfig) -> pathlib.Path:
    """Trains, evaluates after every epoch, and exports.

    Run again on the same folder it goes on from the last checkpoint, as if it
    had never stopped. SIGTERM makes it save and return.

    Args:
      config: the run.

    Returns:
      The run folder.

    Raises:
      ValueError: if the configuration cannot be run, or the folder holds
        another run.
      OSError: if something cannot be written, or another worker is gone.
    """
    return execute(config).folder


def execute(config: train_config.TrainConfig) -> train_run.Run | Finished:
    """Does what `train_and_evaluate` does.

    Args:
      config: the run.

    Returns:
      The run. To let go of it can take a minute, in which tf.data's threads
      sleep; a process that is about to end need not.
    """
    config_checks.check_start(config)
    network = networks.network_config(config)
    folder = pathlib.Path(config.workdir or f"runs/{config.recipe}")
    if config.results:
        # Now, and not after a week.
        results.check(config.results)
    with preemption.Preemption() as stop:
        strategy = train_strategy.make(config)
        cluster = train_cluster.Cluster(strategy)
        with train_cluster.lost_workers(cluster, folder / "checkpoints"):
            found, finished, stored = _look(folder, config, network, cluster)
            if finished:
                cluster.leave()
                return Finished(folder)
            run = train_run.Run(
                config, network, folder, strategy, cluster, stored
            )
            run.begin(found)
            if run.train(stop):
                run.export()
            cluster.leave()
    return run


def _look(folder, config, network, cluster):
    """Returns the chief's checkpoint, whether the run is finished, and
    the network and normalization of a run that goes on.

    What the chief finds wrong with the folder, every process raises.
    """
    found, finished, stored, wrong = None, False, None, None
    if cluster.is_chief:
        try:
            run_folder.check(folder, config, network)
            found = checkpoint.newest(folder / "checkpoints")
            if found:
                stored = run_folder.stored_architecture(folder)
            finished = bool(found) and run_folder.is_finished(
                folder, config, found.state
            )
        except ValueError as error:
            wrong = error
    reason, finished, stored = cluster.json_of_chief(
        [wrong and str(wrong), finished, stored]
    )
    if reason:
        cluster.leave()
        raise wrong or ValueError(reason)
    if found and finished:
        logging.info(
            "%s is finished: %d epochs, top-1 %.2f; a larger --%s goes on",
            folder,
            found.state.epoch,
            found.state.rows[-1]["val_top1"],
            train_config.length(dataclasses.asdict(config))[0],
        )
    return found, finished, stored and run_folder.architecture_of(stored)


def benchmark_input(config: train_config.TrainConfig) -> float:
    """Measures the input pipeline alone; logs and returns its images/s.

    Args:
      config: the run whose training pipeline is measured.

    Returns:
      Images per second, without the time to the first batch.
    """
    data = load.load_dataset(config)
    shard = train_data.Shard(batch_size=config.global_batch_size)
    # Small sets last for seconds: go on over epochs that nothing trains.
    config = dataclasses.replace(
        config, epochs=_BENCHMARK_EPOCHS, total_steps=0, total_examples=0
    )
    batches = iter(train_data.train_pipeline(data, config, 0, shard))
    try:
        next(batches)
        images, begin, seconds = 0, time.monotonic(), 0.0
        while seconds < _BENCHMARK_SECONDS:
            next(batches)
            images += config.global_batch_size
            seconds = time.monotonic() - begin
    except tf.errors.OpError as error:
        decode_errors.raise_unreadable(
            data.train, range(data.train.num_examples), error
        )
        raise
    rate = images / seconds
    logging.info(
        "input of %s at %d pixels: %.0f images/s",
        config.dataset,
        config.image_size,
        rate,
    )
    return rate
