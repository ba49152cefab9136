"""RandAugment and TrivialAugment, stateless: operations on uint8 images.

The operations are Pillow's, the ranges torchvision's. Those that map each
value of a channel to another (brightness, contrast, posterize, solarize,
autocontrast, equalize) are tables of 256 entries, looked up once.

Source: arXiv 1909.13719 (RandAugment), arXiv 2103.10158 (TrivialAugment).
"""

import dataclasses
import math

import tensorflow as tf

MAX_MAGNITUDE = 30
# An operation takes random numbers for which one, strength and sign.
NUMBERS_PER_LAYER = 3

# ITU-R 601, as Pillow's conversion to "L" has it.
_GRAY = (0.299, 0.587, 0.114)
_SMOOTH = ((1, 1, 1), (1, 5, 1), (1, 1, 1))


@dataclasses.dataclass(frozen=True)
class Ranges:
    """What an operation does at full strength.

    Args:
      shear: slope.
      translate_fraction: fraction of the side.
      translate_pixels: pixels, on top.
      degrees: of rotation.
      enhance: distance of a blending factor from 1.
      posterize: bits that are dropped.
    """

    shear: float
    translate_fraction: float
    translate_pixels: float
    degrees: float
    enhance: float
    posterize: int


RANDAUGMENT = Ranges(0.3, 150 / 331, 0.0, 30.0, 0.9, 4)
TRIVIAL_WIDE = Ranges(0.99, 0.0, 32.0, 135.0, 0.99, 6)


def randaugment(
    image: tf.Tensor, uniform: tf.Tensor, layers: int, magnitude: float
) -> tf.Tensor:
    """Returns an image after random operations of one strength.

    Args:
      image: uint8 tensor (height, width, 3).
      uniform: float32 tensor (3 * layers,), uniform in [0, 1).
      layers: number of operations.
      magnitude: their strength, of `MAX_MAGNITUDE`.

    Returns:
      uint8 tensor (height, width, 3).
    """
    strength = tf.constant(magnitude / MAX_MAGNITUDE)
    for layer in range(layers):
        which, _, sign = tf.unstack(
            uniform[layer * NUMBERS_PER_LAYER : (layer + 1) * NUMBERS_PER_LAYER]
        )
        image = _apply_sampled(image, which, strength, sign, RANDAUGMENT)
    return image


def trivialaugment(image: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """Returns an image after one random operation of random strength.

    Args:
      image: uint8 tensor (height, width, 3).
      uniform: float32 tensor (3,), uniform in [0, 1).

    Returns:
      uint8 tensor (height, width, 3).
    """
    which, strength, sign = tf.unstack(uniform)
    levels = MAX_MAGNITUDE + 1
    strength = tf.floor(strength * levels) / MAX_MAGNITUDE
    return _apply_sampled(image, which, strength, sign, TRIVIAL_WIDE)


def apply(
    name: str, image: tf.Tensor, strength, sign, ranges: Ranges
) -> tf.Tensor:
    """Returns an image after one operation.

    Args:
      name: one of `OPERATIONS`.
      image: uint8 tensor (height, width, 3).
      strength: float in [0, 1].
      sign: 1.0 or -1.0; only some operations have two directions.
      ranges: what a strength of 1 means.

    Returns:
      uint8 tensor (height, width, 3).
    """
    strength = tf.convert_to_tensor(strength, tf.float32)
    return _OPERATIONS[name](image, strength, sign, ranges)


def _apply_sampled(image, which, strength, sign, ranges):
    number = tf.cast(which * len(_OPERATIONS), tf.int32)
    sign = tf.where(sign < 0.5, 1.0, -1.0)
    size = image.shape
    branches = [
        lambda function=function: function(image, strength, sign, ranges)
        for function in _OPERATIONS.values()
    ]
    return tf.ensure_shape(tf.switch_case(number, branches), size)


def _identity(image, strength, sign, ranges):
    del strength, sign, ranges
    return image


def _affine(image, matrix):
    """Output pixel (x, y) is what stood at matrix @ (x, y, 1), 0 outside.

    Coordinates are Pillow's, in which a pixel's center is at a half.
    """
    a, b, c, d, e, f = matrix
    c += (a + b - 1) / 2
    f += (d + e - 1) / 2
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=[tf.stack([a, b, c, d, e, f, 0.0, 0.0])],
        output_shape=tf.shape(image)[:2],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )[0]


def _shear_x(image, strength, sign, ranges):
    slope = sign * strength * ranges.shear
    return _affine(image, (1.0, slope, 0.0, 0.0, 1.0, 0.0))


def _shear_y(image, strength, sign, ranges):
    slope = sign * strength * ranges.shear
    return _affine(image, (1.0, 0.0, 0.0, slope, 1.0, 0.0))


def _distance(side, strength, sign, ranges):
    full = ranges.translate_fraction * tf.cast(side, tf.float32)
    # torchvision moves by whole pixels.
    return sign * tf.floor(strength * (full + ranges.translate_pixels))


def _translate_x(image, strength, sign, ranges):
    distance = _distance(tf.shape(image)[1], strength, sign, ranges)
    return _affine(image, (1.0, 0.0, distance, 0.0, 1.0, 0.0))


def _translate_y(image, strength, sign, ranges):
    distance = _distance(tf.shape(image)[0], strength, sign, ranges)
    return _affine(image, (1.0, 0.0, 0.0, 0.0, 1.0, distance))


def _rotate(image, strength, sign, ranges):
    """Turns about the center, counter-clockwise for a positive sign."""
    angle = -sign * strength * ranges.degrees * math.pi / 180
    cos, sin = tf.cos(angle), tf.sin(angle)
    y, x = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32) / 2)
    return _affine(
        image,
        (cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y),
    )


def _to_uint8(values):
    return tf.cast(tf.clip_by_value(values, 0.0, 255.0), tf.uint8)


def _blend(other, image, strength, sign, ranges):
    """Moves from `other` to the image and, with a factor above 1, beyond."""
    factor = 1 + sign * strength * ranges.enhance
    image = tf.cast(image, tf.float32)
    return _to_uint8(other + factor * (image - other))


def _gray(image):
    weighted = tf.tensordot(tf.cast(image, tf.float32), _GRAY, axes=1)
    return tf.floor(weighted + 0.5)


def _look_up(image, table):
    """Maps values by a uint8 table (256,), or by one for each channel."""
    index = tf.cast(image, tf.int32)
    if table.shape.rank == 2:
        index += tf.constant([0, 256, 512])
        table = tf.reshape(table, [-1])
    return tf.gather(table, index)


def _all_values():
    return tf.range(256, dtype=tf.float32)


def _brightness(image, strength, sign, ranges):
    return _look_up(image, _blend(0.0, _all_values(), strength, sign, ranges))


def _contrast(image, strength, sign, ranges):
    mean = tf.floor(tf.reduce_mean(_gray(image)) + 0.5)
    return _look_up(image, _blend(mean, _all_values(), strength, sign, ranges))


def _color(image, strength, sign, ranges):
    return _blend(_gray(image)[..., None], image, strength, sign, ranges)


def _sharpness(image, strength, sign, ranges):
    """Blends with a smoothed image; the border stays."""
    kernel = tf.constant(_SMOOTH, tf.float32) / 13
    kernel = tf.tile(kernel[:, :, None, None], [1, 1, 3, 1])
    pixels = tf.cast(image, tf.float32)
    smooth = tf.nn.depthwise_conv2d(
        pixels[None], kernel, [1, 1, 1, 1], padding="SAME"
    )[0]
    height, width = tf.unstack(tf.shape(image)[:2])
    rows, columns = tf.range(height), tf.range(width)
    inner = ((rows > 0) & (rows < height - 1))[:, None] & (
        (columns > 0) & (columns < width - 1)
    )
    smooth = tf.where(inner[..., None], tf.floor(smooth + 0.5), pixels)
    return _blend(smooth, image, strength, sign, ranges)


def _posterize(image, strength, sign, ranges):
    del sign
    dropped = tf.cast(tf.round(strength * ranges.posterize), tf.int32)
    step = tf.bitwise.left_shift(1, dropped)
    return image // tf.cast(step, tf.uint8) * tf.cast(step, tf.uint8)


def _solarize(image, strength, sign, ranges):
    """Inverts what is not below a threshold."""
    del sign, ranges
    values = _all_values()
    table = tf.where(values >= 255 * (1 - strength), 255 - values, values)
    return _look_up(image, _to_uint8(table))


def _autocontrast(image, strength, sign, ranges):
    """Stretches each channel over the whole range."""
    del strength, sign, ranges
    low = tf.cast(tf.reduce_min(image, axis=[0, 1]), tf.float32)[:, None]
    high = tf.cast(tf.reduce_max(image, axis=[0, 1]), tf.float32)[:, None]
    values = _all_values()[None]
    stretched = (values - low) * (255 / tf.maximum(high - low, 1))
    # A hair's breadth, so that 255 is not cut to 254.
    table = tf.where(high > low, stretched + 1e-3, values)
    return _look_up(image, _to_uint8(table))


def _equalize(image, strength, sign, ranges):
    """Spreads each channel's values evenly, by Pillow's integer formula."""
    del strength, sign, ranges
    index = tf.cast(image, tf.int32) + tf.constant([0, 256, 512])
    counts = tf.math.bincount(
        tf.reshape(index, [-1]), minlength=768, maxlength=768
    )
    counts = tf.reshape(counts, [3, 256])
    last = 255 - tf.argmax(counts[:, ::-1] > 0, axis=1, output_type=tf.int32)
    of_last = tf.gather(counts, last, batch_dims=1)
    step = (tf.reduce_sum(counts, axis=1) - of_last)[:, None] // 255
    below = tf.cumsum(counts, axis=1, exclusive=True)
    values = tf.range(256)[None]
    spread = (step // 2 + below) // tf.maximum(step, 1)
    table = tf.where(step > 0, tf.minimum(spread, 255), values)
    return _look_up(image, tf.cast(table, tf.uint8))


_OPERATIONS = {
    "identity": _identity,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
    "rotate": _rotate,
    "brightness": _brightness,
    "color": _color,
    "contrast": _contrast,
    "sharpness": _sharpness,
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
}
OPERATIONS = tuple(_OPERATIONS)
