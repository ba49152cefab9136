"""How a classifier sees images in evaluation, as data; no Keras.

`images.center_crop` does what it says.
"""

import dataclasses
from typing import Any

from keras_regnet import errors

ROUNDINGS = ("up", "down", "even")


@dataclasses.dataclass(frozen=True)
class CenterCrop:
    """Which part of an image a classifier sees in evaluation, and how scaled.

    Args:
      fraction: of the shorter side, which the crop keeps; by default 224 of
        256 pixels, as in the paper.
      interpolation: a method of `tf.image.resize`.
      antialias: whether to average over the pixels where an image shrinks.
      rounding: where the crop begins if an odd number of pixels is left over:
        "up" (pycls), "down" (transformers) or "even" (torchvision and timm,
        which round half to the even number).
      to_integers: whether the scaled pixels are integers in 0..255, as where
        images of 8 bits are scaled.

    Raises:
      ValueError: if a value is not allowed.

    Example:
    >>> CenterCrop(fraction=0.875).resized((224, 224))
    (256, 256)
    """

    fraction: float = 224 / 256
    interpolation: str = "bilinear"
    antialias: bool = False
    rounding: str = "up"
    to_integers: bool = False

    def __post_init__(self) -> None:
        """Checks what a file may have wrong."""
        fraction: Any = self.fraction
        if not isinstance(fraction, int | float) or not 0 < fraction <= 1:
            raise ValueError(
                "`fraction` must be a number above 0 and up to 1. "
                f"Received: fraction={fraction!r}"
            )
        if self.rounding not in ROUNDINGS:
            raise errors.unknown_value("rounding", self.rounding, ROUNDINGS)

    def resized(self, size: tuple[int, int]) -> tuple[int, int]:
        """Returns the (height, width) that an image covers before the crop."""
        return round(size[0] / self.fraction), round(size[1] / self.fraction)
