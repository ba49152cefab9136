"""Makes the files of networks that runtimes are timed on; those there stay.

A network has the same random weights in all its files. Files of another
revision of keras_regnet stand in another folder.
"""

import functools
import hashlib
import json
import pathlib
from collections.abc import Callable
from typing import Any

# Before TensorFlow, which it has turn oneDNN on.
import keras_regnet

# isort: split
import keras
import numpy as np
import tensorflow as tf

from benchmarks.harness import worker
from keras_regnet import atomic
from keras_regnet.export import litert
from keras_regnet.export import onnx
from keras_regnet.export import saved_model
from keras_regnet.export import spec as spec_lib
from keras_regnet.export import targets

_INT8 = {"quantize": "int8", "representative": "random", "keep_float": ()}
# How a LiteRT file is made, by its form.
LITERT = {
    "float32": {"quantize": "none"},
    "int8": _INT8,
    "int8-merged": {**_INT8, "group_width": 64},
    # Without what its errors would keep in float32 besides.
    "int8-x86": {
        **_INT8,
        "target": targets.rule(
            "x86", spec_lib.ExportSpec(quantize="int8", representative="random")
        ),
    },
}


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Makes a file; its path is a fact.

    Args:
      job: network, size, form, batch and folder.
    """
    folder = pathlib.Path(job["folder"]) / _revision()
    name = f"{job['network']}-{job['size']}-batch{job['batch']}"
    make, suffix = _makers()[job["form"]]
    path = folder / f"{name}.{job['form']}{suffix}"
    if not path.exists():
        make(job, path)
    return worker.Prepared(dict, facts={"path": str(path)})


def _makers() -> dict[str, tuple[Callable, str]]:
    """Returns what writes the whole file of each form, and its suffix."""
    return {
        **dict.fromkeys(LITERT, (_write_litert, ".tflite")),
        "onnx": (_write_onnx, ".onnx"),
        "saved_model": (_write_saved_model, ""),
        "weights": (_write_weights, ".safetensors"),
        "images": (_write_images, ".npy"),
        "logits": (_write_logits, ".npy"),
        "costs": (_write_costs, ".json"),
    }


@functools.cache
def _revision():
    """Returns a digest of the package's code, and of TensorFlow's version."""
    digest = hashlib.sha256(tf.__version__.encode())
    root = pathlib.Path(keras_regnet.__file__).parent
    for file in sorted(root.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


@functools.lru_cache(maxsize=1)
def model(name: str, size: int) -> keras.Model:
    """Returns a network, always of the same weights, from RGB in 0..255.

    RegNets give logits: probabilities of random weights are all alike.
    """
    keras.utils.set_random_seed(0)
    shape = (size, size, 3)
    if name.startswith("RegNet"):
        return keras_regnet.build(
            name, input_shape=shape, classifier_activation=None
        )
    make = getattr(keras.applications, name)
    if name != "MobileNetV2":
        return make(input_shape=shape, weights=None)
    images = keras.Input(shape, name="images")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(images)
    return make(input_tensor=scaled, weights=None)


def _model(job):
    return model(job["network"], job["size"])


def _write_litert(job, path):
    options = LITERT[job["form"]]
    contents = litert.convert(_model(job), batch=job["batch"], **options)
    atomic.write(path, contents)


def _write_onnx(job, path):
    onnx.save(_model(job), path, batch=job["batch"], verify=False)


def _write_saved_model(job, path):
    saved_model.save(_model(job), path, verify=False)


def _write_weights(job, path):
    keras_regnet.weights.export(_model(job), path, "timm")


def pixels(job: dict[str, Any]) -> np.ndarray:
    """Returns random pixels."""
    shape = (job["batch"], job["size"], job["size"], 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _write_images(job, path):
    _write_array(pixels(job), path)


def _write_logits(job, path):
    images = pixels(job).astype("float32")
    _write_array(_model(job).predict_on_batch(images), path)


def _write_array(array, path):
    with atomic.replacing(path) as partial:
        np.save(partial, array)


def _write_costs(job, path):
    size = job["size"]
    counted = keras_regnet.complexity(_model(job), (size, size, 3))
    costs = {
        "multiply_adds": counted.flops,
        "activations": counted.activations,
        "params": counted.params,
    }
    atomic.write(path, json.dumps(costs).encode())
