"""Weights and images that are computed, not stored.

Both sides of a comparison make them from names and shapes alone, so that only
the logits of the other side are kept in the repository.
"""

import zlib

import numpy as np

IMAGE_SHAPE = (2, 96, 64, 3)


def images():
    """Returns RGB images in 0..255, (batch, height, width, channels)."""
    return np.random.default_rng(0).uniform(0, 255, IMAGE_SHAPE).astype("f4")


def weight(path, shape):
    """Returns the value of a variable.

    Args:
      path: our name of it, such as "stage1_block1_conv1/kernel".
      shape: its shape in Keras's order of axes.

    Returns:
      float32 array; batch norm statistics are far from their initial values.
    """
    rng = np.random.default_rng(zlib.crc32(path.encode()))
    kind = path.rsplit("/")[-1]
    if kind in ("gamma", "moving_variance"):
        return rng.uniform(0.5, 1.5, shape).astype("f4")
    if kind in ("beta", "bias", "moving_mean"):
        return rng.normal(0, 0.2, shape).astype("f4")
    fan_in = np.prod(shape[:-1])
    return rng.normal(0, np.sqrt(1.5 / fan_in), shape).astype("f4")


def fill(model):
    """Gives every variable of one of our models its computed value."""
    for variable in model.weights:
        variable.assign(weight(variable.path, tuple(variable.shape)))
