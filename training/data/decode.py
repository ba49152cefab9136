"""Decodes what training sees of an image: the whole, or a random crop.

Files become RGB pixels the right way up, as OpenCV reads them, with which the
paper's networks were trained. Of a JPEG no more is decoded than its crop needs.
"""

import tensorflow as tf

from keras_regnet import image_files

# A crop is tried so often: area, aspect, swap, top and left are sampled.
CROP_TRIES = 10
NUMBERS_PER_TRY = 5
# floor(this * (n + 1)) is n // 2.
_CENTER = 0.4999
_MIN_ASPECT, _MAX_ASPECT = 3 / 4, 4 / 3

# Pixels around a window that its own colors depend on.
_CHROMA_MARGIN = 2


def decode_crop(
    source: tf.Tensor, tries: tf.Tensor, size: tuple[int, int] = (1, 1)
) -> tf.Tensor:
    """Returns the random resized crop of an image, not yet resized.

    Args:
      source: uint8 tensor (height, width, 3) or the bytes of an image file.
      tries: float32 tensor (10, 4), see `crop_tries`.
      size: height and width that the crop will be resized to.

    Returns:
      uint8 tensor (height of the crop, width of the crop, 3).
    """
    if source.dtype != tf.string:
        return _crop(source, tries, size)
    image = tf.cond(
        image_files.is_plain_jpeg(source),
        lambda: _decode_jpeg_crop(source, tries, size),
        lambda: _crop(image_files.decode(source), tries, size),
    )
    return tf.ensure_shape(image, [None, None, 3])


def crop_tries(
    uniform: tf.Tensor, min_area: float, aspect: str, shape: float = 1.0
) -> tf.Tensor:
    """Returns the tries of random resized crops, whatever the image's size.

    What a crop's aspect is sampled for is how much it is stretched where it is
    resized: as much for a rectangle as for a square.

    Args:
      uniform: float32 tensor (..., 10, 5) in [0, 1).
      min_area: smallest fraction of the image; the largest is 1.
      aspect: "uniform_swapped": uniform in [3/4, 4/3], then height and width
        swapped half of the time (pycls); "log_uniform" (torchvision).
      shape: width by height of what the crops are resized to.

    Returns:
      float32 tensor (..., 10, 4): height and width as fractions of the square
      root of the image's area, then top and left as fractions of the margin.
    """
    area, ratio, swap, y, x = tf.unstack(uniform, axis=-1)
    area = min_area + area * (1 - min_area)
    if aspect == "log_uniform":
        ratio = _MIN_ASPECT * (_MAX_ASPECT / _MIN_ASPECT) ** ratio
    else:
        ratio = _MIN_ASPECT + ratio * (_MAX_ASPECT - _MIN_ASPECT)
        ratio = tf.where(swap < 0.5, 1 / ratio, ratio)
    if shape != 1:
        ratio *= shape
    return tf.stack(
        [tf.sqrt(area / ratio), tf.sqrt(area * ratio), y, x], axis=-1
    )


def crop_window(
    shape: tf.Tensor, tries: tf.Tensor, size: tuple[int, int] = (1, 1)
) -> tf.Tensor:
    """Returns the first try that fits into an image, else a central window.

    That is the largest one of the shape to which crops are resized.

    Args:
      shape: int32 tensor (2,), height and width of the image.
      tries: float32 tensor (10, 4), see `crop_tries`.
      size: height and width that crops are resized to.

    Returns:
      int32 tensor (4,): top, left, height, width.
    """
    own = tf.cast(shape, tf.float32)
    sides = tf.round(tries[:, :2] * tf.sqrt(tf.reduce_prod(own)))
    fits = tf.reduce_all((sides >= 1) & (sides <= own), axis=1)
    # The window is an eleventh try, which fits: no branch, which is slow.
    first = tf.argmax(tf.concat([fits, [True]], axis=0))
    side = tf.concat([sides, _largest(own, size)[None]], axis=0)[first]
    corner = tf.concat([tries[:, 2:], [[_CENTER, _CENTER]]], axis=0)[first]
    margin = own - side
    # Rounding of a number next to 1 must not leave the image.
    corner = tf.minimum(tf.floor(corner * (margin + 1)), margin)
    return tf.cast(tf.concat([corner, side], axis=0), tf.int32)


def _largest(own, size):
    """Returns the largest height and width of a shape within an image's."""
    height, width = size
    if height == width:
        return tf.fill([2], tf.reduce_min(own))
    scale = tf.reduce_min(own / tf.constant([height, width], tf.float32))
    window = tf.round(tf.constant([height, width], tf.float32) * scale)
    return tf.clip_by_value(window, 1.0, own)


def decode_jpeg_window(
    source: tf.Tensor, shape: tf.Tensor, window: tf.Tensor
) -> tf.Tensor:
    """Returns a window of a JPEG without Exif data, equal to that of the whole.

    Args:
      source: string scalar, the bytes of the file.
      shape: int32 tensor (2,), height and width of the image.
      window: int32 tensor (4,): top, left, height, width.

    Returns:
      uint8 tensor (height, width, 3).
    """
    # Color is stored at half the resolution, and the decoder interpolates
    # it without what lies outside of the window: a margin, cut off again,
    # gives the pixels that decoding the whole image gives.
    corner, size = tf.split(window, 2)
    begin = tf.maximum(corner - _CHROMA_MARGIN, 0)
    end = tf.minimum(corner + size + _CHROMA_MARGIN, shape)
    part = tf.image.decode_and_crop_jpeg(
        source,
        tf.concat([begin, end - begin], axis=0),
        channels=3,
        dct_method=image_files.TRANSFORM,
    )
    return _slice(part, tf.concat([corner - begin, size], axis=0))


def _decode_jpeg_crop(source, tries, size):
    shape = tf.image.extract_jpeg_shape(source)[:2]
    return decode_jpeg_window(source, shape, crop_window(shape, tries, size))


def _crop(image, tries, size):
    return _slice(image, crop_window(tf.shape(image)[:2], tries, size))


def _slice(image, window):
    top, left, height, width = tf.unstack(window)
    return tf.slice(image, [top, left, 0], [height, width, 3])
