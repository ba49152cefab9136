"""Networks of tf_keras.applications with random weights, in its files.

For an environment of its own, with tensorflow and tf_keras (Keras 2);
`benchmarks/weight_parity.py` asks for them. The counterpart of
`torch_weights.py`.
"""

import pathlib
import re
import sys

import numpy as np
import tensorflow as tf
import tf_keras

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import oracle_weights

_STAGE = re.compile(r".*_Stage_(\d)_[XY]Block_.*")


def versions():
    """Returns what runs here."""
    return {"tf_keras": tf_keras.__version__, "tensorflow 2": tf.__version__}


def _build(request, size):
    builder = getattr(tf_keras.applications, request["arch"])
    return builder(weights=None, input_shape=(size, size, 3))


def _condition(model, images, seed):
    """Gives random weights, and statistics that suit the images."""
    rng = np.random.default_rng(seed)
    norms = []
    for layer in model.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            last = layer.name.endswith("_conv_1x1_2_bn")
            bounds = (0.1, 0.4) if last else (0.5, 1.5)
            layer.gamma.assign(rng.uniform(*bounds, layer.gamma.shape))
            layer.beta.assign(rng.normal(0, 0.1, layer.beta.shape))
            layer.momentum = 0.0
            norms.append(layer)
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


def _outputs(model, images):
    """Returns the features of every stage and the logits."""
    ends = {}
    for layer in model.layers:
        if match := _STAGE.fullmatch(layer.name):
            ends[f"stage{int(match[1]) + 1}"] = layer.output
    ends["logits"] = model.output
    values = tf_keras.Model(model.input, ends)(images, training=False)
    return {name: value.numpy() for name, value in values.items()}


def answer(request):
    """Writes a network's weights and what it computes.

    Args:
      request: "arch", "sizes" of the images (the statistics are those of the
        first), "weights" and "outputs" (paths to write).
    """
    results, weights = {}, None
    for size in request["sizes"]:
        images = oracle_weights.photos(size)
        model = _build(request, size)
        if weights is None:
            _condition(model, images, request.get("seed", 0))
            weights = model.get_weights()
            model.save_weights(request["weights"])
        model.set_weights(weights)
        for name, value in _outputs(model, images).items():
            results[f"{size}/{name}"] = value
    np.savez(request["outputs"], **results)
    tf_keras.backend.clear_session()
