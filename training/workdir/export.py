"""Exports of a finished run: model.keras and saved_model/."""

import dataclasses
import pathlib

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from keras_regnet import atomic
from keras_regnet import weights as weights_lib
from keras_regnet.export import saved_model
from training.config import config as train_config
from training.config import network as network_lib
from training.data import augment
from training.data import dataset

# The export is checked on this many images, and at a larger size too.
_CHECK_IMAGES = 4
_OTHER_SIZE = 32


def write(
    folder: pathlib.Path,
    config: train_config.TrainConfig,
    architecture: weights_lib.ResolvedWeights,
    data: dataset.DataSet,
    weights: network_lib.LayerWeights,
) -> None:
    """Writes model.keras and saved_model/, and checks the latter.

    Raises:
      OSError: with the folder's name, if it cannot be written.
    """
    # Plain float32 variables on one device, whatever trained them.
    keras.config.set_dtype_policy("float32")
    config = dataclasses.replace(config, sync_bn=False)
    model = network_lib.build(
        config,
        architecture.config,
        len(data.class_names),
        architecture,
        data.multilabel,
    )
    network_lib.set_layer_weights(model, weights)
    model.set_record(_record(model, config, data))
    try:
        with atomic.replacing(folder / "model.keras") as partial:
            model.save(partial)
        saved_model.save(
            model,
            folder / "saved_model",
            check_images=_check_images(config, data),
            portable=config.portable_export,
            verify=False,  # The check images have done it.
        )
    except OSError as error:
        raise OSError(
            error.errno,
            f"{error.strerror or error}, while exporting; the same command "
            "exports again",
            str(folder),
        ) from error
    logging.info(
        "wrote %s and %s, which a process without Keras has checked",
        folder / "model.keras",
        folder / "saved_model",
    )


def _record(model, config, data):
    """Returns what the model keeps of its run, beside its weights' origin."""
    return dataclasses.replace(
        model.record,
        class_names=tuple(data.class_names),
        image_size=config.evaluation_size(),
        crop=augment.crop_of(config.center_crop(), data.small_images),
        threshold=config.threshold if data.multilabel else None,
    )


def _check_images(config, data) -> list[np.ndarray]:
    """Returns validation images as uint8, at two sizes."""
    height, width = config.evaluation_size()
    images = dataset.sample_images(data.val, _CHECK_IMAGES)
    return [
        np.stack(
            [
                np.uint8(np.round(tf.image.resize(image, size)))
                for image in images
            ]
        )
        for size in (
            (height, width),
            (height + _OTHER_SIZE, width + _OTHER_SIZE),
        )
    ]
