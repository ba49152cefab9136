"""Prints the losses of a few training steps, on the backend of the process.

The model is one dense layer, so that a test can compute them by hand.
"""

import json

import keras
import numpy as np

from training.sweeps import trial

RATES = (0.5, 0.3, 0.1, 0.0)
MOMENTUM = 0.9
DECAY = 0.01
CLASSES = 3
BATCH = 4
SIDE = 2


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns images, labels and the layer's first kernel."""
    rng = np.random.default_rng(0)
    shape = (len(RATES), BATCH, SIDE, SIDE, 3)
    images = rng.integers(0, 3, shape).astype(np.uint8)
    labels = rng.integers(0, CLASSES, shape[:2]).astype(np.int32)
    kernel = rng.normal(size=(SIDE * SIDE * 3, CLASSES)).astype(np.float32)
    return images, labels, kernel


def run() -> dict:
    """Trains and evaluates; returns sums of losses, and hits."""
    images, labels, kernel = data()
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(CLASSES, use_bias=False),
        ]
    )
    model.layers[-1].kernel.assign(kernel)
    module = trial.steps_module()
    steps = module.Steps(model, MOMENTUM, DECAY)
    steps.compile(BATCH, BATCH, SIDE)
    rates = np.array(RATES, np.float32)
    # One step, then the rest in one call.
    first = steps.train(images[:1], labels[:1], rates[:1])
    rest = steps.train(images[1:], labels[1:], rates[1:])
    padded = labels.copy()
    padded[-1, 1:] = -1
    return {
        "losses": [first[0], rest[0]],
        "hits": [first[1], rest[1]],
        "evaluated": steps.evaluate(images, padded),
        "device": module.device(),
    }


if __name__ == "__main__":
    print(json.dumps(run()))
