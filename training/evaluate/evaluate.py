"""Runs a classifier over the evaluation images of a data set."""

import csv
import dataclasses
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import logging

from keras_regnet import class_names
from keras_regnet.open_model import OpenedModel
from training.config import config as train_config
from training.data import dataset
from training.data import pipeline as train_data
from training.evaluate import metrics as metrics_lib

# What a run decides about its evaluation; the rest is in the model's record.
_OF_RUN = ("dataset", "data_dir", "val_fraction")


@dataclasses.dataclass(frozen=True)
class Result:
    """Metrics, how they were measured, and how fast.

    Args:
      metrics: of the predictions.
      row: values of `results.COLUMNS`.
      class_names: of the outputs, see `class_names.Match`.
    """

    metrics: metrics_lib.Metrics
    row: dict[str, object]
    class_names: tuple[str, ...]


def settings(
    predictor: OpenedModel, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns fields of the configuration that a classifier is evaluated with.

    Args:
      predictor: the classifier; its record and the settings of its run hold
        where none are given.
      given: fields that were asked for; None for those that were not.
    """
    of_run = train_config.stored_fields(predictor.settings)
    fields = {name: of_run[name] for name in _OF_RUN if name in of_run}
    crop = predictor.crop
    fields |= {
        "eval_crop_fraction": crop.fraction,
        "interpolation": crop.interpolation,
        "antialias": crop.antialias,
    }
    if predictor.evaluation_size is not None:
        fields["eval_image_size"] = _side(predictor)
    side, _ = predictor.image_size
    if side:
        fields["eval_image_size"] = side
    return fields | {k: v for k, v in given.items() if v is not None}


def _side(predictor):
    height, width = predictor.evaluation_size
    if height != width:
        raise ValueError(
            "`model` must be evaluated on square images. "
            f"Received: {height}x{width} of {predictor.name!r}"
        )
    return height


def evaluate(
    predictor: OpenedModel,
    data: dataset.DataSet,
    config: train_config.TrainConfig,
    flip_tta: bool = False,
) -> Result:
    """Returns how a classifier does on a data set.

    Args:
      predictor: the classifier.
      data: its evaluation images are used.
      config: batch, size, crop and interpolation are read.
      flip_tta: average the probabilities of an image and its mirror image.

    Returns:
      A `Result`; its images/s are those of the predictions, without reading
      images and without the first batch.

    Raises:
      ValueError: if sizes or classes do not fit, or an image is unreadable.
    """
    size = config.evaluation_size()
    side, _ = predictor.image_size
    if side not in (None, size):
        raise ValueError(
            f"`image_size` must be {side} for this model. "
            f"Received: image_size={size}, model={predictor.name!r}"
        )
    if predictor.classes:
        # Before the work, which would be lost.
        _matched(predictor, predictor.classes, data, config)
    probabilities, labels, rate = _predict(predictor, data, config, flip_tta)
    outputs = probabilities.shape[1]
    matched = _matched(predictor, outputs, data, config)
    if not matched.by_name:
        logging.warning(
            "the classes of %s go by index: %s has no names to match",
            config.dataset,
            predictor.name if predictor.class_names is None else "one side",
        )
    labels = np.array(matched.indices)[labels]
    metrics = metrics_lib.compute(probabilities, labels)
    row = {
        "source": "validate",
        "model": predictor.name,
        "weights": predictor.weights,
        "dataset": config.dataset,
        "images": metrics.images,
        "image_size": size,
        "crop_share": 1.0 if data.small_images else config.eval_crop_fraction,
        "interpolation": config.interpolation,
        "antialias": config.antialias,
        "flip_tta": flip_tta,
        "top1": metrics.top1,
        "top5": metrics.top5,
        "loss": metrics.loss,
        "calibration_error": metrics.calibration_error,
        "images_per_second": rate,
    }
    return Result(metrics, row, matched.names)


def _matched(predictor, outputs, data, config):
    """Returns where the classes of the data set are among the outputs."""
    try:
        return class_names.match(
            data.class_names, predictor.class_names, outputs
        )
    except ValueError as error:
        raise ValueError(
            f"{error}, for model={predictor.name!r} and "
            f"dataset={config.dataset!r}"
        ) from error


def _predict(predictor, data, config, flip_tta):
    """Returns probabilities, labels and images per second."""
    probabilities, labels, seconds, timed = [], [], 0.0, 0
    # What no flag says, is as where the weights come from.
    crop = dataclasses.replace(
        config.center_crop(),
        rounding=predictor.crop.rounding,
        to_integers=predictor.crop.to_integers,
    )
    batches = train_data.eval_pipeline(
        data, config, crop=crop
    ).as_numpy_iterator()
    try:
        for number, (images, batch_labels, weights) in enumerate(batches):
            begin = time.perf_counter()
            found = predictor(images)
            if flip_tta:
                mirrored = predictor(images[:, :, ::-1])
                found = (found + mirrored) / 2
            if number:
                seconds += time.perf_counter() - begin
                timed += len(images)
            real = weights > 0
            probabilities.append(found[real])
            labels.append(batch_labels[real])
    except Exception as error:
        message = dataset.find_unreadable(
            data.val, range(data.val.num_examples)
        )
        if message:
            raise ValueError(message) from error
        raise
    # The one batch of a small set is not timed.
    rate = timed / seconds if timed else None
    return np.concatenate(probabilities), np.concatenate(labels), rate


def write_details(folder: pathlib.Path, result: Result) -> None:
    """Writes per_class.csv and confusion.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    metrics, names = result.metrics, result.class_names
    with (folder / "per_class.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("label", "class", "images", "top1"))
        for label, name in enumerate(names):
            images = metrics.class_images[label]
            top1 = _short(float(metrics.class_top1[label])) if images else ""
            writer.writerow((label, name, images, top1))
    with (folder / "confusion.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("label \\ prediction", *names))
        for name, counts in zip(names, metrics.confusion, strict=True):
            writer.writerow((name, *counts))
    logging.info("wrote per_class.csv and confusion.csv in %s", folder)


def _short(value):
    return f"{value:.6g}" if isinstance(value, float) else value
