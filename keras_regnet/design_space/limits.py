"""The paper's fits of params and activations to flops (figure 12)."""

import numpy as np
from numpy.typing import ArrayLike

from keras_regnet.complexity import complexity
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig


def max_params(flops: ArrayLike) -> np.ndarray:
    """Returns the parameters of good networks, 3.0 + 5.5 F millions.

    Source:
      Paper, figure 12; F in units of 1e9.

    Example:
    >>> float(max_params(1e9))
    8500000.0
    """
    return 3.0e6 + 5.5e-3 * np.asarray(flops, float)


def max_activations(flops: ArrayLike) -> np.ndarray:
    """Returns the activations of good networks, 6.5 sqrt(F) millions.

    Source:
      Paper, figure 12; F in units of 1e9.

    Example:
    >>> float(max_activations(4e9))
    13000000.0
    """
    return 6.5e6 * np.sqrt(np.asarray(flops, float) / 1e9)


def are_lean(
    flops: ArrayLike, params: ArrayLike, activations: ArrayLike
) -> np.ndarray:
    """Returns whether each of [n] networks stays under both fits."""
    under = np.asarray(params) <= max_params(flops)
    return under & (np.asarray(activations) <= max_activations(flops))


def is_lean(
    config: RegNetConfig | AnyNetConfig, input_shape: tuple[int, int, int]
) -> bool:
    """Returns whether a network stays under both fits at an input shape."""
    count = complexity(config, input_shape)
    return bool(are_lean(count.flops, count.params, count.activations))
