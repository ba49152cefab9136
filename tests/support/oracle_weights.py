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


def photos(size):
    """Returns two RGB images in 0..255 that are smooth here and rough there.

    Args:
      size: height and width.

    Returns:
      float32 array of whole numbers (2, size, size, 3); that of a smaller
      size is no crop of a larger one.
    """
    rng = np.random.default_rng(size)
    waves = rng.uniform(-0.3, 0.3, (2, 3, 4, 2))
    phases = rng.uniform(0, 2 * np.pi, (2, 3, 4))
    grid = np.stack(np.meshgrid(*[np.arange(size)] * 2, indexing="ij"))
    angles = np.einsum("bckd,dhw->bhwck", waves, grid) + phases[:, None, None]
    smooth = np.sin(angles).mean(-1)
    rough = rng.uniform(-1, 1, smooth.shape)
    rough[:, :, : size // 2] *= 0.1
    return np.clip(127 + 90 * (smooth + rough), 0, 255).round().astype("f4")


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
