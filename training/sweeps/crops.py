"""Crops of random area and aspect, in NumPy: no framework in a sweep's data.

The rule is that of the trainer's recipe `paper` (training/data/decode.py), on
arrays of images of one size.
"""

import numpy as np

# A crop is tried so often: area, aspect, swap, top and left are sampled.
TRIES = 10
NUMBERS_PER_TRY = 5
_MIN_ASPECT, _MAX_ASPECT = 3 / 4, 4 / 3
# Images that are resized at a time: their floats fit in a core's cache.
_BLOCK = 16


def windows(uniform: np.ndarray, side: int, min_area: float) -> np.ndarray:
    """Returns the crops of square images.

    Of each image that of the first try which fits, else the whole.

    Args:
      uniform: (n, 10, 5) in [0, 1).
      side: of the images in pixels.
      min_area: smallest fraction of the image; the largest is 1.

    Returns:
      Integers (n, 4): top, left, height, width.
    """
    area, ratio, swap, top, left = np.moveaxis(uniform, -1, 0)
    area = min_area + area * (1 - min_area)
    ratio = _MIN_ASPECT + ratio * (_MAX_ASPECT - _MIN_ASPECT)
    ratio = np.where(swap < 0.5, 1 / ratio, ratio)
    sides = np.stack([np.sqrt(area / ratio), np.sqrt(area * ratio)], -1) * side
    sides = np.rint(sides).astype(int)
    fits = ((sides >= 1) & (sides <= side)).all(-1)
    image, first = np.arange(len(uniform)), fits.argmax(1)
    found = fits.any(1)[:, None]
    size = np.where(found, sides[image, first], side)
    corner = np.stack([top[image, first], left[image, first]], -1)
    corner = (corner * (side - size + 1)).astype(int)
    return np.concatenate([corner, size], -1)


def resized(images: np.ndarray, windows: np.ndarray, side: int) -> np.ndarray:
    """Returns a window of each image, scaled to a square.

    Bilinear without antialiasing, as the trainer scales them.

    Args:
      images: uint8 (n, height, width, 3).
      windows: integers (n, 4), see `windows`.
      side: of the result in pixels.

    Returns:
      uint8 (n, side, side, 3).
    """
    out = np.empty((len(images), side, side, 3), np.uint8)
    for start in range(0, len(images), _BLOCK):
        part = slice(start, start + _BLOCK)
        corners, sizes = windows[part, :2], windows[part, 2:]
        low, high, fraction = (
            np.moveaxis(x, -2, 0) for x in _positions(corners, sizes, side)
        )
        number = np.arange(len(corners))[:, None, None]
        pixels = images[part]
        rows = _mixed(
            pixels[number[..., 0], low[0]],
            pixels[number[..., 0], high[0]],
            fraction[0][:, :, None, None],
        )
        row = np.arange(side)[None, :, None]
        scaled = _mixed(
            rows[number, row, low[1][:, None]],
            rows[number, row, high[1][:, None]],
            fraction[1][:, None, :, None],
        )
        out[part] = np.rint(scaled)
    return out


def _positions(corners, sizes, side):
    """Returns the pixels between which those of the result lie, (n, 2, side).

    The center of each is where it would be in the window; beyond the window's
    edge stands the edge.
    """
    scale = sizes[..., None] / side
    centers = (np.arange(side) + 0.5) * scale - 0.5
    centers = np.clip(centers, 0, sizes[..., None] - 1)
    low = np.floor(centers).astype(int)
    high = np.minimum(low + 1, sizes[..., None] - 1)
    fraction = (centers - low).astype(np.float32)
    first = corners[..., None]
    return first + low, first + high, fraction


def _mixed(low, high, fraction):
    low = low.astype(np.float32)
    return low + (high - low) * fraction
