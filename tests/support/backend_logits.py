"""Writes the outputs of small networks, on the backend of this process.

KERAS_BACKEND=jax python tests/support/backend_logits.py OUT.npz
"""

import sys

import keras
import numpy as np

import keras_regnet
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from tests.support import oracle_weights

NETWORKS = {
    "y": RegNetConfig(5, 16, 14, 2, group_width=8, block="y"),
    "z": AnyNetConfig(
        (1, 2),
        (8, 16),
        bottleneck_ratios=0.25,
        group_widths=4,
        block="z",
        se_ratio=0.25,
        activation="silu",
        head_width=24,
        stem="cifar",
    ),
    "group norm": RegNetConfig(2, 16, 14, 2, group_width=8, norm="group"),
    "evonorm": AnyNetConfig(
        (1, 2),
        (8, 16),
        block="z",
        norm="evonorm_s0a",
        norm_group_width=4,
        stem="deep",
        stem_width=8,
    ),
    "basic": AnyNetConfig((2,), (16,), block="basic", stem="resnet"),
}


def outputs():
    """Returns the logits of each network, by its name."""
    images = oracle_weights.images()
    logits = {}
    for name, config in NETWORKS.items():
        model = keras_regnet.build(
            config,
            input_shape=images.shape[1:],
            classes=10,
            classifier_activation=None,
        )
        oracle_weights.fill(model)
        logits[name] = model.predict(images, verbose=0)
    return logits


if __name__ == "__main__":
    np.savez(sys.argv[1], backend=keras.backend.backend(), **outputs())
