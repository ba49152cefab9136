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
from keras_regnet import image_sizes
from keras_regnet import results
from keras_regnet.open_model import OpenedModel
from training.config import config as train_config
from training.data import dataset
from training.data import pipeline as train_data
from training.evaluate import metrics as metrics_lib
from training.evaluate import multilabel

# What a run decides about its evaluation; the rest is in the model's record.
_OF_RUN = ("dataset", "data_dir", "labels", "threshold", "val_fraction")


@dataclasses.dataclass(frozen=True)
class Result:
    """Metrics, how they were measured, and how fast.

    Args:
      metrics: of the predictions.
      row: values of `results.COLUMNS`.
      class_names: of the outputs, see `class_names.Match`; of several labels
        an image, those of the data set.
    """

    metrics: metrics_lib.Metrics | multilabel.Metrics
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
    if predictor.record.threshold is not None:
        fields["threshold"] = predictor.record.threshold
    if predictor.evaluation_size is not None:
        fields["eval_image_size"] = image_sizes.short(predictor.evaluation_size)
    height, width = predictor.image_size
    if height or width:
        fields["eval_image_size"] = image_sizes.short(
            (height or width, width or height)
        )
    return fields | {k: v for k, v in given.items() if v is not None}


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
    pairs = zip(predictor.image_size, size, strict=True)
    if any(own not in (None, side) for own, side in pairs):
        own = image_sizes.short(predictor.image_size)
        raise ValueError(
            f"`image_size` must be {own} for this model. Received: image_size="
            f"{image_sizes.short(size)}, model={predictor.name!r}"
        )
    _check_kind(predictor, data)
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
    indices, names = np.array(matched.indices), matched.names
    if data.multilabel:
        metrics = multilabel.compute(
            probabilities[:, indices], labels, config.threshold
        )
        names = tuple(names[index] for index in indices)
        accuracies = {n: getattr(metrics, n) for n in results.MULTILABEL}
    else:
        metrics = metrics_lib.compute(probabilities, indices[labels])
        accuracies = {
            name: getattr(metrics, name)
            for name in ("top1", "top5", "calibration_error")
        }
    row = {
        "source": "validate",
        "model": predictor.name,
        "weights": predictor.weights,
        "dataset": config.dataset,
        "images": metrics.images,
        "image_size": image_sizes.short(size),
        "crop_share": 1.0 if data.small_images else config.eval_crop_fraction,
        "interpolation": config.interpolation,
        "antialias": config.antialias,
        "flip_tta": flip_tta,
        **dict.fromkeys(("top1", "top5")),
        "loss": metrics.loss,
        "calibration_error": None,
        "images_per_second": rate,
        **accuracies,
    }
    return Result(metrics, row, names)


def _check_kind(predictor, data):
    """Says where the outputs of a model are not meant as the labels are."""
    several = predictor.record.threshold is not None
    if data.multilabel and not several:
        logging.warning(
            "%s does not say that its classes are independent of each other, "
            "as those of images with several labels are",
            predictor.name,
        )
    if several and not data.multilabel:
        logging.warning(
            "%s predicts each class by itself: its outputs do not sum to 1, "
            "and loss and calibration error are not those of a softmax",
            predictor.name,
        )


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
    """Writes per_class.csv and, of one label an image, confusion.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_csv(folder / "per_class.csv", per_class(result))
    if isinstance(result.metrics, multilabel.Metrics):
        logging.info("wrote per_class.csv in %s", folder)
        return
    names, confusion = result.class_names, result.metrics.confusion
    _write_csv(
        folder / "confusion.csv",
        [
            ("label \\ prediction", *names),
            *((name, *row) for name, row in zip(names, confusion, strict=True)),
        ],
    )
    logging.info("wrote per_class.csv and confusion.csv in %s", folder)


def per_class(result: Result) -> list[tuple[object, ...]]:
    """Returns the metrics of each class, in rows after a header.

    What a class without images does not have is "".
    """
    metrics = result.metrics
    columns = ("top1",)
    if isinstance(metrics, multilabel.Metrics):
        columns = (
            *("ap", "precision", "recall", "f1"),
            *("best_threshold", "best_f1"),
        )
    values = np.stack([getattr(metrics, f"class_{n}") for n in columns], 1)
    rows = [("label", "class", "images", *columns)]
    for label, name in enumerate(result.class_names):
        images = metrics.class_images[label]
        scores = [_short(x) if images else "" for x in values[label].tolist()]
        rows.append((label, name, images, *scores))
    return rows


def _write_csv(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _short(value):
    return f"{value:.6g}" if isinstance(value, float) else value
