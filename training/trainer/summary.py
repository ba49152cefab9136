"""Summary of a run in a few lines: logged before it begins."""

import dataclasses
import json
from collections.abc import Iterator
from collections.abc import Mapping

import numpy as np
from absl import logging

import keras_regnet
from keras_regnet import class_names
from keras_regnet import processor
from training.config import config as train_config
from training.config import network as network_lib
from training.data import class_weights as class_weights_lib
from training.data import dataset
from training.data import pipeline as train_data
from training.trainer import run as run_lib

_NEAR_ONE = 0.01


def log(run: run_lib.Run) -> None:
    """Logs all fields of the configuration, and the lines of `lines`."""
    logging.info("config %s", json.dumps(dataclasses.asdict(run.config)))
    for line in lines(
        run.config,
        run.architecture.config,
        run.data,
        run.strategy.num_replicas_in_sync,
        run.class_weights,
    ):
        logging.info("%s", line)


def lines(
    config: train_config.TrainConfig,
    network: network_lib.Network,
    data: dataset.DataSet,
    num_replicas: int,
    class_weights: Mapping[str, float] | None = None,
) -> Iterator[str]:
    """Yields lines on network, data set, length, learning rate and loss."""
    complexity = keras_regnet.complexity(
        network,
        (*config.training_size(), 3),
        classes=len(data.class_names),
    )
    yield (
        f"{config.variant} on {config.dataset}: {data.train.num_examples} "
        f"training and {data.val.num_examples} validation images, "
        f"{len(data.class_names)} classes; {complexity.params / 1e6:.3g} M "
        f"parameters, {complexity.flops / 1e6:.3g} M multiply-adds at "
        f"{config.image_size} pixels"
    )
    if data.multilabel:
        yield (
            "several labels an image: a sigmoid for each class, binary "
            f"cross-entropy, predicted from {config.threshold:g}"
            f"{_labels_per_image(data.train)}"
        )
    steps_per_epoch = train_data.steps_per_epoch(data.train, config)
    steps = config.num_steps(steps_per_epoch)
    yield (
        f"strategy {config.strategy}, {num_replicas} replicas; {steps} steps "
        f"of {config.global_batch_size} images, {steps_per_epoch} in an "
        f"epoch, {config.num_epochs(steps_per_epoch)} epochs, peak learning "
        f"rate {config.learning_rate():.4g}"
    )
    yield f"processor: {processor.setting()}"
    if config.early_stopping_epochs:
        yield (
            f"stops after {config.early_stopping_epochs} epochs that are not "
            "better than the best before them, by validation "
            f"{config.best_metric}"
        )
    if class_weights:
        yield _class_weights(config, data, class_weights)


def _class_weights(config, data, weights):
    """Returns a line on what the loss counts, by class."""
    each = [f"{name!r} {weight:.4g}" for name, weight in weights.items()]
    line = f"class weights ({config.class_weights}): {class_names.shown(each)}"
    counts = class_weights_lib.counted(data)
    if counts is None:
        return line
    mean = np.average(list(weights.values()), weights=counts)
    if abs(mean - 1) < _NEAR_ONE:
        return line
    return (
        f"{line}; {mean:.4g} on average over the training images, by which "
        "they scale the loss, and with it the learning rate"
    )


def _labels_per_image(split):
    labels = None if isinstance(split, dataset.Stream) else split.labels
    if labels is None:
        return ""
    none = int((~labels.any(axis=1)).sum())
    return (
        f"; {labels.sum() / len(labels):.3g} labels per training image, "
        f"{none} images have none"
    )
