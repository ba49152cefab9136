"""Opens anything that classifies images as one function of images.

A variant with weights, a `.keras` file, a run folder of the trainer, a
SavedModel, a LiteRT or an ONNX file.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_regnet import models
from keras_regnet.export import labels
from keras_regnet.export import runners
from keras_regnet.export import saved_model

_EXPORTED = (".tflite", ".onnx")
# What a finished run of the trainer leaves in its folder.
_RUN_MODEL = "model.keras"
_RUN_CONFIG = "config.json"
_RUN_LABELS = f"saved_model/{saved_model.LABELS}"


@dataclasses.dataclass(frozen=True)
class OpenedModel:
    """A classifier of images, a function from pixels to probabilities.

    Args:
      name: what it was opened from.
      predict: from a batch of images (n, height, width, channels), uint8 or
        float pixels in 0..255, to float32 outputs (n, classes).
      image_size: (height, width) of its images, None for any.
      class_names: name of each output, None if they are not known.
      settings: configuration of the run it comes from, {} if there is none.
      keras_model: the model itself, None for an exported file.
    """

    name: str
    predict: Callable[[np.ndarray], np.ndarray]
    image_size: tuple[int | None, int | None]
    class_names: tuple[str, ...] | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    keras_model: keras.Model | None = None

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Returns the outputs of a batch, see `predict`."""
        return self.predict(images)


def open_model(
    model: str | os.PathLike[str],
    weights: str | None = None,
    classes: int = 1000,
    threads: int = 1,
) -> OpenedModel:
    """Opens a classifier of images.

    Args:
      model: the name of a variant, a `.keras`, `.tflite` or `.onnx` file, a
        run folder of the trainer, or the folder of a SavedModel.
      weights: of a variant, see `keras_regnet.build`; None for random ones.
      classes: number of outputs of a variant.
      threads: threads of a LiteRT or an ONNX file.

    Returns:
      A callable from images to probabilities, with what is known of it.

    Raises:
      ImportError: if what runs the file is not installed.
      ValueError: if there is no such model, it is damaged, or `weights` are
        given for something that has its own.
      OSError: if weights cannot be fetched.

    Example:
    >>> opened = open_model("RegNetX-200MF", classes=5)
    >>> opened(np.zeros((2, 32, 32, 3), "uint8")).shape
    (2, 5)
    """
    path = pathlib.Path(model).expanduser()
    if path.suffix not in (".keras", *_EXPORTED) and not path.is_dir():
        return _open_variant(str(model), weights, classes)
    if weights is not None:
        raise ValueError(
            "`weights` is for a variant; a file or folder has its own. "
            f"Received: weights={weights!r}, model={str(model)!r}"
        )
    if not path.exists():
        raise ValueError(f"`model` does not exist. Received: {path}")
    if path.suffix == ".keras":
        return _opened(str(path), _load_keras(path))
    if path.suffix in _EXPORTED:
        return _open_exported(path, labels.labels_path(path), threads)
    if (path / "saved_model.pb").is_file():
        return _open_exported(path, path / saved_model.LABELS, threads)
    if (path / _RUN_CONFIG).is_file() or (path / _RUN_MODEL).is_file():
        return _open_run(path)
    raise ValueError(
        f"`model` must be a run folder ({_RUN_CONFIG}), a SavedModel "
        "(saved_model.pb), a .keras, .tflite or .onnx file, or the name of a "
        f"variant. Received: {path}"
    )


def _opened(name, model, **fields):
    height, width = model.inputs[0].shape[1:3]
    return OpenedModel(
        name, _predictor(model), (height, width), keras_model=model, **fields
    )


def _predictor(model):
    if keras.backend.backend() != "tensorflow":
        return lambda images: model.predict_on_batch(
            np.asarray(images, "float32")
        )
    import tensorflow as tf

    @tf.function(jit_compile=False, reduce_retracing=True)
    def predict(images):
        return tf.cast(model(images, training=False), tf.float32)

    return lambda images: predict(np.asarray(images, "float32")).numpy()


def _open_variant(variant, weights, classes):
    model = models.build(
        variant, weights=weights, input_shape=(None, None, 3), classes=classes
    )
    return _opened(variant, model)


def _open_run(folder):
    path = folder / _RUN_MODEL
    if not path.is_file():
        raise ValueError(f"The run has no model yet. Missing: {path}")
    names = folder / _RUN_LABELS
    return _opened(
        str(folder),
        _load_keras(path),
        class_names=labels.read_labels(names) if names.is_file() else None,
        settings=_settings(folder / _RUN_CONFIG),
    )


def _settings(path):
    """Returns the configuration in a run's config.json, {} without one."""
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["config"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"Not a config.json of a run: {path}") from error


def _load_keras(path):
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:
        # Keras, zipfile and h5py each raise their own on a damaged file.
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"`model` is not a readable .keras file: {path} "
            f"({type(error).__name__}: {reason})"
        ) from error


def _open_exported(path, labels_path, threads):
    # Pixels that are not whole stay so where a file takes them.
    signatures = (runners.FLOAT_IMAGES, runners.SERVING)
    runner = runners.open_file(path, threads, signatures=signatures)
    names = labels.read_labels(labels_path) if labels_path.is_file() else None
    height, width = runner.image_size
    return OpenedModel(str(path), runner.run, (height, width), names)
