"""Batches and schedule of the training that PyTorch did as well.

Shared by `oracles/make_training_losses.py`; no Keras and no PyTorch here.
"""

import math
import zlib
from typing import NamedTuple

import numpy as np

# Four stages of one block, which timm insists on.
LINE = {"depth": 4, "w_0": 8, "w_a": 8, "w_m": 1.42, "group_width": 4}
STEM_WIDTH = 8
CLASSES = 10
IMAGE_SIZE = 64
BATCH_SIZE = 32
WEIGHT_DECAY = 5e-5
STEPS_PER_EPOCH = 5
WARMUP_FACTOR = 0.1


class Run(NamedTuple):
    """Some steps of training.

    Args:
      name: of the run.
      steps: to compare.
      peak: learning rate at the height of the schedule.
      epochs: length of the schedule.
      warmup_epochs: of them.
    """

    name: str
    steps: int
    peak: float
    epochs: int
    warmup_epochs: int


RUNS = (
    # A whole schedule. Keras's own SGD is 4e-3 away from PyTorch's in it.
    Run("short", steps=50, peak=0.001, epochs=10, warmup_epochs=2),
    # The paper's rate for a batch of 1024, from its warm-up on.
    Run("paper", steps=5, peak=0.8, epochs=100, warmup_epochs=5),
)


def batch(step):
    """Returns the images and labels of a step.

    Args:
      step: from 0.

    Returns:
      RGB in 0..255 (batch, height, width, channels) whose brightness tells
      the label; int32 labels.
    """
    rng = np.random.default_rng([7, step])
    labels = rng.integers(0, CLASSES, BATCH_SIZE).astype("int32")
    shape = (BATCH_SIZE, IMAGE_SIZE, IMAGE_SIZE, 3)
    noise = rng.uniform(0, 120, shape)
    images = noise + 13.0 * labels[:, None, None, None]
    return images.round().astype("float32"), labels


def weight(path, shape):
    """Returns the initial value of a variable.

    That of a common initialiser, but for weaker residual branches: rounding
    grows less in them, and two float32 programs stay together for longer.

    Args:
      path: our name of it, such as "stage1_block1_conv1/kernel".
      shape: its shape in Keras's order of axes.

    Returns:
      float32 array.
    """
    rng = np.random.default_rng(zlib.crc32(path.encode()))
    kind = path.rsplit("/")[-1]
    if kind == "gamma":
        return np.full(shape, 0.3 if "conv3" in path else 1.0, "f4")
    if kind in ("beta", "bias", "moving_mean"):
        return np.zeros(shape, "f4")
    if kind == "moving_variance":
        return np.ones(shape, "f4")
    fan_out = np.prod((*shape[:-2], shape[-1]))
    scale = 0.1 if path.startswith("head") else np.sqrt(2 / fan_out)
    return rng.normal(0, scale, shape).astype("f4")


def learning_rate(run, step):
    """Returns the paper's schedule, by the closed formula, held in epochs."""
    epoch = step // STEPS_PER_EPOCH
    rate = run.peak * 0.5 * (1 + math.cos(math.pi * epoch / run.epochs))
    done = min(1.0, epoch / run.warmup_epochs)
    return rate * (WARMUP_FACTOR * (1 - done) + done)
