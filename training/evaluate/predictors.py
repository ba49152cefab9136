"""Anything that classifies images, as a function from images to probabilities.

A variant with weights, a run folder, a `.keras` file, a SavedModel or a
LiteRT file.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_regnet.weights import fetch
from keras_regnet.weights import readers
from keras_regnet.weights import resolving
from training.config import config as train_config
from training.config import networks

Predict = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A classifier.

    Args:
      name: what it was made from.
      predict: float32 images (batch, size, size, 3), RGB in 0..255, to
        probabilities (batch, classes).
      image_size: the only size it takes, 0 for any.
      settings: `TrainConfig` fields of the run it comes from, or as the
        record of published weights has them, {} if unknown.
      weights: where a variant's come from, "" for what has its own.
      classes: number of classes, 0 if it is known from the outputs alone.
    """

    name: str
    predict: Predict
    image_size: int = 0
    settings: dict = dataclasses.field(default_factory=dict)
    weights: str = ""
    classes: int = 0


def load(model: str, weights: str = "") -> Predictor:
    """Returns a classifier.

    Args:
      model: a run folder, a `.keras` file, a SavedModel's folder, a `.tflite`
        file, weights that tell their network (a file or "hf:owner/name"), or
        the name of a variant.
      weights: of a variant: what `keras_regnet.build` takes.

    Returns:
      A `Predictor`.

    Raises:
      ValueError: if there is no such model, or weights do not fit.
    """
    path = pathlib.Path(model).expanduser()
    is_file = path.suffix in (".keras", ".tflite") or path.is_dir()
    tells_network = resolving.names_a_file(model)
    if not is_file and not tells_network:
        return _from_variant(model, weights)
    if weights:
        raise ValueError(
            "`weights` belong to a variant; a file or folder has its own. "
            f"Received: model={model!r}, weights={weights!r}"
        )
    if fetch.is_hub_source(model):
        return _from_weights(model)
    if not path.exists():
        raise ValueError(f"`model` does not exist. Received: {path}")
    is_ours = path.suffix == ".keras" and readers.is_ours(path)
    if tells_network and not is_ours:
        return _from_weights(str(path))
    if path.suffix == ".tflite":
        return _from_tflite(path)
    if path.suffix == ".keras":
        return _from_keras(path)
    if (path / "saved_model.pb").is_file():
        return _from_saved_model(path)
    if (path / "config.json").is_file():
        return _from_run(path)
    raise ValueError(
        "`model` must be a run folder (config.json), a SavedModel "
        "(saved_model.pb), a .keras or .tflite file, a file of weights, or "
        f"the name of a variant. Received: {path}"
    )


def _of_model(name, model, **fields):
    @tf.function(jit_compile=False, reduce_retracing=True)
    def predict(images):
        return tf.cast(model(images, training=False), tf.float32)

    size = model.input_shape[1] or 0
    return Predictor(name, lambda x: predict(x).numpy(), size, **fields)


def _from_variant(variant, weights):
    config = train_config.TrainConfig(variant=variant)
    network = networks.network_config(config)
    if not weights:
        raise ValueError(
            "A variant needs `weights`, or it only guesses. "
            f"Received: model={variant!r}, weights=''"
        )
    return _of_resolved(variant, networks.resolve(weights, network), weights)


def _from_weights(source):
    try:
        resolved = networks.resolve(source, None)
    except resolving.UnknownNetworkError as error:
        raise ValueError(
            f"{error} Give the network as --model=VARIANT and the file as "
            "--weights=FILE"
        ) from error
    return _of_resolved(source, resolved)


def _of_resolved(name, resolved, weights=""):
    model = networks.build(
        train_config.TrainConfig(), resolved.config, resolved.classes, resolved
    )
    return _of_model(
        name,
        model,
        settings=_settings(resolved.evaluation_record),
        weights=weights,
        classes=resolved.classes,
    )


def _settings(record):
    """Returns how the source of published weights evaluates them."""
    if record is None:
        return {}
    return {
        "eval_image_size": record.test_size,
        "eval_crop_share": record.crop,
        "interpolation": record.interpolation,
        "antialias": record.antialias,
    }


def _from_keras(path, **fields):
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:
        # Keras, zipfile and h5py each raise their own on a damaged file.
        raise ValueError(
            f"`model` is not a readable .keras file: {path} "
            f"({type(error).__name__})"
        ) from error
    return _of_model(str(path), model, **fields)


def _from_run(folder):
    path = folder / "model.keras"
    if not path.is_file():
        raise ValueError(f"The run has no model yet. Missing: {path}")
    try:
        settings = dict(
            json.loads((folder / "config.json").read_text())["config"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"Not a config.json of a run: {folder / 'config.json'}"
        ) from error
    found = _from_keras(path, settings=settings)
    return dataclasses.replace(found, name=str(folder))


def _from_saved_model(folder):
    try:
        signatures = tf.saved_model.load(str(folder)).signatures
        serve = signatures.get("float_images") or signatures["serving_default"]
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            f"`model` is not a readable SavedModel with a signature: {folder} "
            f"({type(error).__name__})"
        ) from error
    (name, spec), *_ = serve.structured_input_signature[1].items()

    def predict(images):
        (found,) = serve(**{name: _as_type(images, spec.dtype)}).values()
        return found.numpy()

    size = spec.shape[1] if spec.shape.rank else None
    return Predictor(str(folder), predict, size or 0)


def _as_type(images, dtype):
    dtype = tf.as_dtype(dtype).as_numpy_dtype
    if np.issubdtype(dtype, np.integer):
        images = np.round(images)
    return images.astype(dtype)


def _from_tflite(path):
    try:
        from ai_edge_litert import interpreter as litert
    except ImportError as error:
        raise ValueError(
            "A .tflite file needs the package ai-edge-litert. "
            f"Received: model={str(path)!r}"
        ) from error
    try:
        interpreter = litert.Interpreter(model_path=str(path))
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"`model` is not a readable .tflite file: {path} ({error})"
        ) from error
    given = interpreter.get_input_details()[0]
    result = interpreter.get_output_details()[0]

    def one(image):
        interpreter.set_tensor(given["index"], _quantized(image[None], given))
        interpreter.invoke()
        return _dequantized(interpreter.get_tensor(result["index"])[0], result)

    return Predictor(
        str(path),
        lambda images: np.stack([one(image) for image in images]),
        int(given["shape"][1]),
    )


def _quantized(values, details):
    scale, zero = details["quantization"]
    if scale:
        values = np.round(values / scale + zero)
        limits = np.iinfo(details["dtype"])
        values = np.clip(values, limits.min, limits.max)
    return values.astype(details["dtype"])


def _dequantized(values, details):
    scale, zero = details["quantization"]
    values = values.astype(np.float32)
    return (values - zero) * scale if scale else values
