"""A grouped convolution in TensorFlow: ours, its portable form, and Keras's."""

import contextlib
from typing import Any

# Before TensorFlow, which it has turn oneDNN on.
from keras_regnet import layers

# isort: split
import keras
import numpy as np
import tensorflow as tf

from benchmarks.cases import keras_networks
from benchmarks.harness import worker


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Prepares a layer of 3x3 kernels.

    Args:
      job: batch, size, channels, group_width, stride; pass ("forward" or
        "both", forward and backward); form ("ours", "portable" or "stock");
        xla, whether to compile; threads and turn_seconds.
    """
    keras_networks.limit_threads(job["threads"])
    kind = layers.GroupedConv2D
    if job["form"] == "stock":
        kind = keras.layers.Conv2D
    layer = kind(
        filters=job["channels"],
        kernel_size=3,
        strides=job["stride"],
        padding="same",
        groups=job["channels"] // job["group_width"],
        use_bias=False,
    )
    shape = (job["batch"], job["size"], job["size"], job["channels"])
    x = tf.constant(np.random.default_rng(0).normal(size=shape), "float32")
    layer.build(shape)
    form = contextlib.nullcontext()
    if job["form"] == "portable":
        form = layers.portable_ops()
    with form:
        step = _traced(layer, x, job)
    turn = worker.Repeated(step, job["turn_seconds"])
    return worker.Prepared(turn, keras_networks.versions())


def _traced(layer, x, job):
    dy = tf.random.normal(layer.compute_output_shape(x.shape))

    def forward(x, dy):
        return layer(x)

    def both(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        sources = [x, layer.kernel.value]
        return tape.gradient(y, sources, output_gradients=dy)

    function = tf.function(
        forward if job["pass"] == "forward" else both,
        jit_compile=job["xla"] or None,
    ).get_concrete_function(x, dy)
    return lambda: [t.numpy() for t in tf.nest.flatten(function(x, dy))]
