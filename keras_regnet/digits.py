"""The handwritten digits that ship with the package.

1797 gray images of 8x8 pixels, ten classes: the test part of "Optical
Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, UCI Machine
Learning Repository, 1998, https://doi.org/10.24432/C50P49), as
`sklearn.datasets.load_digits` carries it. License: CC BY 4.0. Pixels are
0 to 16, counts of ink in a 4x4 cell.

The test split is stored, not sampled: 360 images (20 %), stratified, chosen
once with scikit-learn's `train_test_split(..., random_state=0)`. It is never
used to select a model.
"""

import dataclasses
import pathlib

import numpy as np

CLASS_NAMES = tuple("0123456789")
SPLITS = ("train", "test")

_PATH = pathlib.Path(__file__).parent / "data" / "digits.npz"
_MAX_INK = 16


@dataclasses.dataclass(frozen=True)
class Digits:
    """One split of the digits.

    Args:
      images: uint8 array (n, 8, 8, 3), RGB in 0..255, the three channels
        equal.
      labels: int32 array (n,), 0 to 9.
      class_names: in the order of the labels.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...] = CLASS_NAMES


def load(split: str) -> Digits:
    """Returns a split of the digits.

    Args:
      split: "train" (1437 images) or "test" (360 images).

    Returns:
      The images and labels, in their stored order.

    Raises:
      ValueError: if there is no such split.

    Example:
    >>> load("test").images.shape
    (360, 8, 8, 3)
    """
    if split not in SPLITS:
        raise ValueError(
            f"`split` must be one of {SPLITS}. Received: split={split!r}"
        )
    with np.load(_PATH, allow_pickle=False) as stored:
        ink, labels = stored["images"], stored["labels"]
        is_test = np.zeros(len(labels), bool)
        is_test[stored["test_indices"]] = True
    chosen = is_test if split == "test" else ~is_test
    gray = np.round(ink[chosen] * (255 / _MAX_INK)).astype(np.uint8)
    images = np.repeat(gray[..., None], 3, axis=-1)
    return Digits(images=images, labels=labels[chosen].astype(np.int32))
