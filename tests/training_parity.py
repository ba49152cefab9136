"""Batches and schedule of the training that PyTorch did as well.

Shared by `oracles/make_training_losses.py`; no Keras and no PyTorch here.
"""

import math
from typing import NamedTuple

import numpy as np

LINE = {"depth": 5, "w_0": 8, "w_a": 6, "w_m": 1.42, "group_width": 4}
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
    # A whole schedule, at a rate at which float32 still repeats itself.
    Run("short", steps=50, peak=0.02, epochs=10, warmup_epochs=2),
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


def learning_rate(run, step):
    """Returns the paper's schedule, by the closed formula, held in epochs."""
    epoch = step // STEPS_PER_EPOCH
    rate = run.peak * 0.5 * (1 + math.cos(math.pi * epoch / run.epochs))
    done = min(1.0, epoch / run.warmup_epochs)
    return rate * (WARMUP_FACTOR * (1 - done) + done)
