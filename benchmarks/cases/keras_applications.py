"""Networks of keras.applications: MobileNets, EfficientNets, ResNets."""

import math
from typing import Any

# Before TensorFlow, which it has turn oneDNN on.
import keras_regnet  # noqa: F401

# isort: split
import keras

from benchmarks.cases import keras_networks
from benchmarks.cases import steps

PACKAGES = keras_networks.PACKAGES
make_step = keras_networks.make_step


def build(job: dict[str, Any]) -> keras.Model:
    """Returns a network, which normalizes images itself if it is made so.

    Args:
      job: also net, its name there; and form, "stock".
    """
    keras_networks.limit_threads(job["threads"])
    return getattr(keras.applications, job["net"])(
        weights=None,
        input_shape=(job["size"], job["size"], 3),
        classes=steps.CLASSES,
        classifier_activation=None,
    )


def multiply_adds(model: keras.Model, job: dict[str, Any]) -> int:
    """Returns those of a forward pass of one image, additions of biases too."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            per_output = math.prod(layer.kernel_size)
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            per_output = math.prod(layer.kernel.shape[:-1])
        else:
            continue
        outputs = math.prod(layer.output.shape[1:])
        total += outputs * (per_output + layer.use_bias)
    return total
