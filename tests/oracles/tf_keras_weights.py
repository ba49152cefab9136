"""Networks of tf_keras.applications with random weights, in its files.

For an environment of its own, with tensorflow and tf_keras (Keras 2);
`benchmarks/weight_parity.py` asks for them. The counterpart of
`torch_weights.py`.
"""

import pathlib
import re
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests.support import oracle_weights


class Project(NamedTuple):
    """What differs between ports of RegNets to Keras 2.

    Args:
      build: returns a network, from a request and a size of images.
      stage: matches the names of layers within stages; group 1 is the number.
      first_stage: the first of these numbers.
      last_norm: matches the ends of the names of norms before a sum.
      prepare: returns what the network takes, from a request and RGB images.
    """

    build: Callable
    stage: str
    first_stage: int
    last_norm: str
    prepare: Callable


def versions():
    """Returns what runs here."""
    return {"tf_keras": tf_keras.__version__, "tensorflow 2": tf.__version__}


def _build(request, size):
    builder = getattr(tf_keras.applications, request["arch"])
    return builder(weights=None, input_shape=(size, size, 3))


APPLICATIONS = Project(
    _build,
    stage=r".*_Stage_(\d)_[XY]Block_.*",
    first_stage=0,
    last_norm=r"_conv_1x1_2_bn",
    prepare=lambda request, images: images,
)


def _condition(model, images, seed, last_norm):
    """Gives random weights, and statistics that suit the images."""
    rng = np.random.default_rng(seed)
    norms = []
    for layer in model.layers:
        if hasattr(layer, "gamma"):
            last = re.search(f"{last_norm}$", layer.name)
            bounds = (0.1, 0.4) if last else (0.5, 1.5)
            layer.gamma.assign(rng.uniform(*bounds, layer.gamma.shape))
            layer.beta.assign(rng.normal(0, 0.1, layer.beta.shape))
            if isinstance(layer, tf_keras.layers.BatchNormalization):
                layer.momentum = 0.0
                norms.append(layer)
            elif layer.nonlinearity:  # kecam's EvoNorm.
                layer.vv.assign(rng.uniform(0.5, 2, layer.vv.shape))
        elif layer.weights:
            kernel, *biases = layer.weights
            scale = np.sqrt(2 / np.prod(kernel.shape[:-1]))
            kernel.assign(rng.normal(0, scale, kernel.shape))
            for bias in biases:
                bias.assign(rng.uniform(-0.2, 0.2, bias.shape))
    model(images, training=True)
    for layer in norms:
        sigma = np.sqrt(layer.moving_variance)
        signs = rng.choice([-1, 1], sigma.shape)
        layer.moving_mean.assign_add(0.1 * sigma * signs)
        factor = rng.uniform(0.8, 1.25, sigma.shape)
        layer.moving_variance.assign(layer.moving_variance * factor)


def _outputs(model, images, project):
    """Returns the features of every stage and the logits."""
    ends = {}
    for layer in model.layers:
        if match := re.fullmatch(project.stage, layer.name):
            number = int(match[1]) + 1 - project.first_stage
            ends[f"stage{number}"] = layer.output
    ends["logits"] = model.output
    values = tf_keras.Model(model.input, ends)(images, training=False)
    return {name: value.numpy() for name, value in values.items()}


def answer(request, project=APPLICATIONS):
    """Writes a network's weights and what it computes.

    Args:
      request: "arch", "sizes" of the images (the statistics are those of the
        first), "weights" and "outputs" (paths to write); "whole" for a file
        of the whole model.
      project: whose network it is.
    """
    results, weights = {}, None
    for size in request["sizes"]:
        images = project.prepare(request, oracle_weights.photos(size))
        model = project.build(request, size)
        if weights is None:
            seed = request.get("seed", 0)
            _condition(model, images, seed, project.last_norm)
            weights = model.get_weights()
            write = model.save if "whole" in request else model.save_weights
            write(request["weights"])
        model.set_weights(weights)
        for name, value in _outputs(model, images, project).items():
            results[f"{size}/{name}"] = value
    np.savez(request["outputs"], **results)
    tf_keras.backend.clear_session()
