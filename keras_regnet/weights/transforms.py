"""How a tensor changes between a file's layout and Keras's, by name.

Every transform goes both ways, so that one map of names serves loading and
exporting; each returns a view where it can. No Keras here.
"""

import dataclasses
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Transform:
    """A named change of layout.

    Args:
      to_keras: from the file's array to that of a Keras variable.
      from_keras: the inverse.
    """

    to_keras: Callable[[np.ndarray], np.ndarray]
    from_keras: Callable[[np.ndarray], np.ndarray]


def _same(array):
    return array


def _conv_to_keras(array):
    """(outputs, inputs, height, width) to (height, width, inputs, outputs)."""
    return array.transpose(2, 3, 1, 0)


def _conv_from_keras(array):
    return array.transpose(3, 2, 0, 1)


def _bgr_conv_to_keras(array):
    return _conv_to_keras(array[:, ::-1])


def _bgr_conv_from_keras(array):
    return _conv_from_keras(array)[:, ::-1]


def _image_to_keras(array):
    """(1, 1, 1, channels) to (channels,)."""
    return array[0, 0, 0]


def _image_from_keras(array):
    return array[None, None, None]


TRANSFORMS = {
    # Biases, batch norm, and files that Keras wrote.
    "same": Transform(_same, _same),
    "conv": Transform(_conv_to_keras, _conv_from_keras),
    # The stem's convolution of a network that was trained on BGR.
    "bgr_conv": Transform(_bgr_conv_to_keras, _bgr_conv_from_keras),
    "dense": Transform(np.transpose, np.transpose),
    # Numbers for each channel, in the shape to multiply images by.
    "image": Transform(_image_to_keras, _image_from_keras),
}
_AXES = {"conv": 4, "bgr_conv": 4, "dense": 2, "image": 4}


def to_keras(name: str, array: np.ndarray) -> np.ndarray:
    """Returns a file's array in Keras's layout.

    Example:
    >>> to_keras("conv", np.zeros((8, 3, 1, 1))).shape
    (1, 1, 3, 8)
    """
    axes = _AXES.get(name, array.ndim)
    if array.ndim != axes:
        raise ValueError(
            f"A tensor of kind {name!r} must have {axes} axes. "
            f"Received: shape={tuple(array.shape)}"
        )
    return TRANSFORMS[name].to_keras(array)


def from_keras(name: str, array: np.ndarray) -> np.ndarray:
    """Returns the array of a Keras variable in a file's layout.

    Example:
    >>> from_keras("dense", np.zeros((5, 2))).shape
    (2, 5)
    """
    return TRANSFORMS[name].from_keras(array)
