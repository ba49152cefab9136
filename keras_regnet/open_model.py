"""Opens anything that classifies images as one function of images.

A variant with weights, weights that tell their network, a `.keras` file, a run
folder of the trainer, a SavedModel, a LiteRT or an ONNX file.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_regnet import image_sizes
from keras_regnet import labels
from keras_regnet import layers
from keras_regnet import model_record
from keras_regnet import models
from keras_regnet import preprocessing
from keras_regnet import record_files
from keras_regnet import safe_files
from keras_regnet import variants
from keras_regnet.center_crop import CenterCrop
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.export import inference_model
from keras_regnet.export import runners
from keras_regnet.model_record import ModelRecord
from keras_regnet.regnet_model import RegNetModel
from keras_regnet.weights import fetch
from keras_regnet.weights import locate
from keras_regnet.weights import readers
from keras_regnet.weights import resolve
from keras_regnet.weights import ResolvedWeights
from keras_regnet.weights.readers import keras_archive

_EXPORTED = (".tflite", ".onnx")
# The name of a field in config.json files of older runs.
_OLD_CROP = "eval_crop_share"
# What a run writes into its folder at its end.
_OF_RUN = (locate.RUN_MODEL, locate.RUN_SAVED_MODEL)


@dataclasses.dataclass(frozen=True)
class OpenedModel:
    """A classifier of images, a function from pixels to probabilities.

    Args:
      name: what it was opened from.
      predict: from a batch of images (n, height, width, channels), uint8 or
        float pixels in 0..255, to float32 outputs (n, classes).
      image_size: (height, width) of its images, None for any.
      record: class names, and how it is evaluated, as far as they are known:
        that of the model, or what lies beside a file, or what the run's
        configuration says.
      settings: configuration of the run it comes from, {} if there is none.
      weights: of a variant, "" for something that has its own.
      classes: number of outputs, None if only the outputs tell it.
      keras_model: the model itself, None for an exported file.
    """

    name: str
    predict: Callable[[np.ndarray], np.ndarray]
    image_size: tuple[int | None, int | None]
    record: ModelRecord = dataclasses.field(default_factory=ModelRecord)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    weights: str = ""
    classes: int | None = None
    keras_model: keras.Model | None = None

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Returns the outputs of a batch, see `predict`."""
        return self.predict(images)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Name of each output, None if they are not known."""
        return self.record.class_names

    @property
    def evaluation_size(self) -> tuple[int, int] | None:
        """(Height, width) it is evaluated at, None if that is not known."""
        return self.record.image_size

    @property
    def crop(self) -> CenterCrop:
        """How images are scaled and cropped; the paper's way if not known."""
        return self.record.crop


def open_model(
    model: str | os.PathLike[str] | RegNetConfig | AnyNetConfig,
    weights: str | os.PathLike[str] | ResolvedWeights | None = None,
    threads: int = 1,
) -> OpenedModel:
    """Opens a classifier of images.

    Args:
      model: the name of a variant, or a configuration; a `.keras`, `.tflite`
        or `.onnx` file; a run folder of the trainer; the folder of a
        SavedModel; or a file of weights or "hf:owner/name", which tells its
        published network.
      weights: of a variant, see `keras_regnet.build`; None for random ones.
      threads: threads of a LiteRT or an ONNX file.

    Returns:
      A callable from images to probabilities, with what is known of it.

    Raises:
      ImportError: if what reads or runs the file is not installed.
      UnknownNetworkError: if a file of weights does not tell its network.
      ValueError: if there is no such model, it is damaged, or `weights` are
        given for something that has its own.
      OSError: if weights cannot be fetched.

    Example:
    >>> opened = open_model("RegNetX-200MF")
    >>> opened(np.zeros((2, 32, 32, 3), "uint8")).shape
    (2, 1000)
    """
    if isinstance(model, RegNetConfig | AnyNetConfig):
        return _open_network(model, weights)
    name = os.fspath(model)
    if is_variant(name):
        config = variants.get_config(name)
        return _open_network(config, weights, variants.variant_name(name))
    if weights is not None:
        raise ValueError(
            "`weights` is for a variant; a file or folder has its own. "
            f"Received: weights={weights!r}, model={name!r}"
        )
    if fetch.is_hub_source(name):
        return _open_weights(name)
    return _open_stored(pathlib.Path(name).expanduser(), threads)


def is_variant(model: str) -> bool:
    """Returns whether `open_model` takes a name for that of a variant."""
    path = pathlib.Path(model).expanduser()
    is_stored = (
        path.suffix in _EXPORTED or os.sep in str(model) or path.is_dir()
    )
    return not is_stored and not locate.names_a_file(model)


def _open_stored(path, threads):
    """Opens a file or a folder."""
    if not path.exists():
        raise ValueError(f"`model` does not exist. Received: {path}")
    if path.suffix == ".keras" and readers.is_ours(path):
        return _open_keras(path, path, _settings_of_run(path))
    if locate.names_a_file(str(path)):
        return _open_weights(str(path))
    if path.suffix in _EXPORTED:
        return _open_exported(path, threads)
    if (path / "saved_model.pb").is_file():
        return _open_exported(path, threads)
    if locate.is_run_folder(path):
        return _open_run(path)
    raise ValueError(
        f"`model` must be a run folder ({locate.RUN_CONFIG}), a SavedModel "
        "(saved_model.pb), a .keras, .tflite or .onnx file, a file of weights, "
        f"or the name of a variant. Received: {path}"
    )


def _opened(name, model, record=None, **fields):
    inference_model.check_model(model)
    height, width = model.inputs[0].shape[1:3]
    classes = model.outputs[0].shape[-1]
    record = record or model_record.of_model(model)
    if isinstance(model, RegNetModel):
        # What was written of it elsewhere, its exports know too.
        model.set_record(record)
    return OpenedModel(
        name,
        _of_pixels(_predictor(model), record),
        (height, width),
        record,
        classes=classes,
        keras_model=model,
        **fields,
    )


def _of_pixels(predict, record):
    """Returns a function of pixels, if need be by normalizing them."""
    if record.normalizes:
        return predict
    return lambda images: predict(
        keras.ops.convert_to_numpy(
            preprocessing.normalize(
                np.asarray(images, "float32"),
                "channels_last",
                record.mean,
                record.std,
            )
        )
    )


def _predictor(model):
    if keras.backend.backend() != "tensorflow":
        return lambda images: model.predict_on_batch(
            np.asarray(images, "float32")
        )
    import tensorflow as tf

    @tf.function(jit_compile=False, reduce_retracing=True)
    def predict(images):
        with layers.folded_norms():
            return tf.cast(model(images, training=False), tf.float32)

    return lambda images: predict(np.asarray(images, "float32")).numpy()


def _open_network(config, weights, name=""):
    resolved = resolve(weights, config)
    return _open_resolved(name, resolved, weights=str(resolved.path or ""))


def _open_weights(source):
    return _open_resolved(source, resolve(source))


def _open_resolved(name, resolved, **fields):
    options = {"classes": resolved.classes} if resolved.classes else {}
    model = models.build(
        resolved.config,
        resolved,
        input_shape=(None, None, 3),
        name=variants.find_name(resolved.config),
        **options,
    )
    settings = {} if resolved.path is None else _settings_of_run(resolved.path)
    record = record_of_run(settings, model.record)
    return _opened(
        name or model.name, model, record, settings=settings, **fields
    )


def _open_run(folder):
    path = folder / locate.RUN_MODEL
    if not path.is_file():
        raise ValueError(f"The run has no model yet. Missing: {path}")
    return _open_keras(folder, path, _settings(folder / locate.RUN_CONFIG))


def _open_keras(path, file, settings):
    """Opens what a `.keras` file holds, under the names of its classes."""
    model = _load_keras(file)
    inference_model.check_model(model)
    record = record_of_run(settings, model_record.of_model(model))
    names = labels.find(path, model.outputs[0].shape[-1], record.class_names)
    record = dataclasses.replace(record, class_names=names)
    return _opened(str(path), model, record, settings=settings)


def record_of_run(
    settings: Mapping[str, Any], record: ModelRecord | None = None
) -> ModelRecord:
    """Returns a record, of a run that wrote none what its configuration says.

    Args:
      settings: configuration of the run, {} if there is none.
      record: of its model or file; those that runs write have a size.
    """
    record = record or ModelRecord()
    if record.image_size is not None or not settings:
        return record
    size = settings.get("eval_image_size") or settings.get("image_size")
    names = {
        "fraction": ("eval_crop_fraction", _OLD_CROP),
        "interpolation": ("interpolation",),
        "antialias": ("antialias",),
    }
    crop = {
        field: settings[name]
        for field, spellings in names.items()
        for name in spellings
        if name in settings
    }
    return dataclasses.replace(
        record,
        image_size=image_sizes.parse("image_size", size) if size else None,
        crop=CenterCrop(**crop),
    )


def _settings_of_run(path):
    """Returns the configuration of the run that wrote a model, {} if none."""
    path = path.absolute()
    if path.name not in _OF_RUN:
        return {}
    return _settings(path.parent / locate.RUN_CONFIG)


def _settings(path):
    """Returns the configuration in a run's config.json, {} without one."""
    if not path.is_file():
        return {}
    try:
        return dict(safe_files.read_json(path)["config"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"Not a config.json of a run: {path}") from error


def _load_keras(path):
    try:
        keras_archive.check(path)
        # In safe mode Keras runs no code of the file's.
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        # Keras, zipfile and h5py each raise their own on a damaged file.
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"`model` is not a readable .keras file: {path} "
            f"({type(error).__name__}: {reason})"
        ) from error


def _open_exported(path, threads):
    # Pixels that are not whole stay so where a file takes them.
    signatures = (runners.FLOAT_IMAGES, runners.SERVING)
    runner = runners.open_file(path, threads, signatures=signatures)
    height, width = runner.image_size
    settings = _settings_of_run(path)
    record = record_of_run(settings, record_files.find(path))
    record = dataclasses.replace(record, class_names=labels.find(path))
    return OpenedModel(
        str(path),
        _of_pixels(runner.run, record),
        (height, width),
        record,
        settings,
    )
