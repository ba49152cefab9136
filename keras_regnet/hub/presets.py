"""Folders that KerasHub's `from_preset` opens, from any weights."""

import os
import pathlib
from typing import Any

from keras_regnet import atomic
from keras_regnet import models
from keras_regnet import open_model as open_model_lib
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.hub.image_classifier import RegNetImageClassifier


def write_preset(
    model: str | os.PathLike[str] | RegNetConfig | AnyNetConfig,
    folder: str | os.PathLike[str],
    weights: models.Weights = None,
) -> RegNetImageClassifier:
    """Writes a classifier as a preset of KerasHub, a folder.

    Args:
      model: what `keras_regnet.open_model.open_model` takes, but for exported
        files: a variant, a run folder of the trainer, a `.keras` file, or a
        file of weights that tells its network.
      folder: is made, and must not be there.
      weights: of a variant, see `keras_regnet.build`; None for random ones.

    Returns:
      The classifier that was written, with its preprocessor.

    Raises:
      OSError: if weights cannot be fetched, or the folder cannot be written.
      ValueError: if there is no such model, it is not a network of this
        package, or the folder is there.

    Example:
    >>> import tempfile
    >>> folder = tempfile.mkdtemp() + "/preset"
    >>> classifier = write_preset("RegNetX-200MF", folder)
    >>> sorted(os.listdir(folder))[:3]
    ['config.json', 'image_converter.json', 'metadata.json']
    """
    folder = pathlib.Path(folder)
    if folder.exists():
        raise ValueError(f"`folder` must not be there yet. Received: {folder}")
    opened = open_model_lib.open_model(model, weights)
    if opened.keras_model is None:
        raise ValueError(
            "`model` must be a network, not an exported file. "
            f"Received: model={model!r}"
        )
    known: dict[str, Any] = {}
    if opened.class_names:
        known["class_names"] = opened.class_names
    classifier = RegNetImageClassifier.from_regnet(
        opened.keras_model,
        image_size=opened.evaluation_size,
        crop=opened.crop,
        **known,
    )
    with atomic.replacing(folder) as partial:
        classifier.save_to_preset(str(partial))
    return classifier
