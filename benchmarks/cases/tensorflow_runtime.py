"""The network of a file in TensorFlow: as a Keras model, or a SavedModel."""

import functools
from typing import Any

# Before TensorFlow, which it has turn oneDNN on.
from keras_regnet import onednn  # noqa: F401

# isort: split
import tensorflow as tf

from benchmarks.cases import file_checks
from benchmarks.cases import files
from benchmarks.cases import keras_networks
from benchmarks.harness import worker
from keras_regnet import layers


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Prepares a network.

    Args:
      job: network and size, or path of a SavedModel; images, threads, and what
        `file_checks.prepared` takes.
    """
    keras_networks.limit_threads(job["threads"])
    images = tf.constant(file_checks.images(job))
    if "path" in job:
        call = tf.saved_model.load(job["path"]).signatures["serving_default"]
        step = functools.partial(_served, call, images)
    else:
        model = files.model(job["network"], job["size"])
        step = functools.partial(_predicted, _traced(model), images)
    return file_checks.prepared(job, step, ("tensorflow", "keras"))


def _traced(model):
    @tf.function(autograph=False, jit_compile=False)
    def forward(images):
        with layers.folded_norms():
            return model(tf.cast(images, "float32"), training=False)

    return forward


def _predicted(forward, images):
    return forward(images).numpy()


def _served(call, images):
    (outputs,) = call(images=images).values()
    return outputs.numpy()
