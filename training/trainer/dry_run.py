"""A dry run: model and optimizer are built and counted; nothing is written."""

import dataclasses

import tensorflow as tf

from keras_regnet import results
from keras_regnet.weights import locate
from training.config import config as train_config
from training.config import config_checks
from training.config import network as network_lib
from training.config import recipes
from training.data import class_weights as class_weights_lib
from training.data import identity
from training.data import load
from training.trainer import checkpointing
from training.trainer import memory
from training.trainer import state as state_lib
from training.trainer import strategy as train_strategy
from training.trainer import summary
from training.workdir import checkpoint
from training.workdir import files


def report(config: train_config.TrainConfig) -> str:
    """Returns what a run would do, as text of several lines.

    Everything that would stop the run before its first step stops this too:
    the data set is opened, model and optimizer are built, the run folder is
    looked at. A data set or weights that would be fetched are not.

    Returns:
      Configuration, complexity, steps, the memory of a replica, and whether
      the run would be new.

    Raises:
      ValueError: if the configuration cannot be run.
    """
    config_checks.check_start(config)
    network = network_lib.network_config(config)
    if config.results:
        results.check(config.results)
    folder = files.run_folder(config)
    files.check(folder, config, network)
    strategy, num_replicas = _devices(config)
    load.check_prepared(config)
    data = load.load_dataset(config)
    if config.results:
        results.check(config.results, data.multilabel)
    found = checkpoint.newest(folder / "checkpoints")
    changed = found and _changed(folder, config, data)
    class_weights = class_weights_lib.of(data, config)
    if found:
        stored = files.stored_class_weights(folder)
        files.check_class_weights(folder, config, stored, class_weights)
    weights, not_fetched = _weights(
        config, network, found and folder, data.class_names
    )
    model, optimizer = state_lib.build(config, weights, data, strategy)
    estimate = memory.estimate(model, optimizer, config, num_replicas)
    return "\n".join(
        (
            *_settings(config),
            *summary.lines(
                config, weights.config, data, num_replicas, class_weights
            ),
            *_memory(estimate),
            *([changed] if changed else []),
            f"{_start(folder, config, found)}{not_fetched}",
            "dry run: nothing was trained or written",
        )
    )


def _devices(config):
    """Returns a strategy to build in, and the replicas of all processes."""
    if config.strategy != "multi_worker":
        strategy = train_strategy.make(config)
        return strategy, strategy.num_replicas_in_sync
    # Not its own: that would wait for the other workers.
    devices = max(1, len(tf.config.list_logical_devices("GPU")))
    num_replicas = train_strategy.num_workers(config) * devices
    train_strategy.check_replicas(config, num_replicas)
    return tf.distribute.get_strategy(), num_replicas


def _changed(folder, config, data):
    """Returns a line on data that are not those of the run, "" if they are."""
    return checkpointing.check_data(
        folder,
        config,
        files.stored_data(folder),
        files.moved_data(folder, config),
        identity.of(data),
    )


def _weights(config, network, resumed, class_names):
    """Returns what is built, and a word on weights that are elsewhere."""
    if resumed:
        stored = files.stored_architecture(resumed)
        return files.architecture_of(stored), ""
    wanted = config.weights
    if wanted and locate.is_fetched(wanted, network):
        random = network_lib.resolve("", network)
        return random, f"; the weights {wanted} were not looked for"
    return network_lib.resolve(wanted, network, class_names), ""


def _settings(config):
    """Yields the fields, those that are not the recipe's marked."""
    recipe = recipes.get(config.recipe, config.variant)
    for name, value in dataclasses.asdict(config).items():
        mark = " " if value == getattr(recipe, name) else "*"
        yield f"{mark} {name} = {value!r}"
    yield f"(* differs from recipe {config.recipe})"


def _memory(estimate):
    parts = ", ".join(
        f"{name} {_size(value)}"
        for name, value in dataclasses.asdict(estimate).items()
    )
    yield (
        f"memory of a training step, per replica: {_size(estimate.total)} "
        f"({parts}); counted from the model, without workspace of kernels, "
        "the runtime's own and the data set"
    )


def _size(count):
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.2f} MB"


def _start(folder, config, found):
    if not found:
        return f"a new run in {folder}"
    if files.is_finished(folder, config, found.position):
        return f"{folder} is finished: nothing would be done"
    return f"{folder} would resume from step {found.position.step}"
