"""What a run is, in words: shown before it begins."""

import dataclasses
import json
from collections.abc import Iterator

import keras_regnet
from training.config import config as train_config
from training.config import networks
from training.data import dataset


def resolved(config: train_config.TrainConfig) -> str:
    """Returns all fields on one line, as JSON."""
    return json.dumps(dataclasses.asdict(config))


def lines(
    config: train_config.TrainConfig,
    network: networks.Network,
    data: dataset.DataSet,
    num_replicas: int,
    steps_per_epoch: int,
) -> Iterator[str]:
    """Yields what is trained, on what, how long and how fast.

    Args:
      config: the run.
      network: what is trained.
      data: what it is trained on.
      num_replicas: over all processes.
      steps_per_epoch: steps.
    """
    complexity = keras_regnet.complexity(
        network,
        (config.image_size, config.image_size, 3),
        classes=len(data.class_names),
    )
    yield (
        f"{config.variant} on {config.dataset}: {data.train.num_examples} "
        f"training and {data.val.num_examples} validation images, "
        f"{len(data.class_names)} classes; {complexity.params / 1e6:.3g} M "
        f"parameters, {complexity.flops / 1e6:.3g} M multiply-adds at "
        f"{config.image_size} pixels"
    )
    steps = config.num_steps(steps_per_epoch)
    yield (
        f"strategy {config.strategy}, {num_replicas} replicas; {steps} steps "
        f"of {config.global_batch_size} images, {steps_per_epoch} in an "
        f"epoch, {config.num_epochs(steps_per_epoch)} epochs, peak learning "
        f"rate {config.learning_rate():.4g}"
    )
