"""Reading image files in graph: formats, orientation, parts of JPEGs.

Files become RGB pixels the right way up, as OpenCV reads them, with which the
paper's networks were trained.
"""

import tensorflow as tf

# Pixels around a window that its own colours depend on.
_CHROMA_MARGIN = 2

# Of the two inverse transforms the one that OpenCV and Pillow use, too;
# TensorFlow's default is up to 11 of 255 off.
_TRANSFORM = "INTEGER_ACCURATE"

_JPEG_START = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"

# Exif stands right behind the start of the file, or behind the JFIF segment.
_EXIF_PLACES = (6, 24)
_EXIF_MARK = b"Exif\x00\x00"
_ORIENTATION_TAG = 0x0112
_MAX_TAGS = 64
_TAG_BYTES = 12


def decode(source: tf.Tensor) -> tf.Tensor:
    """Returns RGB pixels from pixels or from the bytes of an image file.

    Args:
      source: uint8 tensor (height, width, 3), or a string scalar with a JPEG,
        PNG, GIF (first frame) or BMP file, whatever its name. Grey, CMYK and
        alpha become RGB; a JPEG's Exif orientation is obeyed.

    Returns:
      uint8 tensor (height, width, 3).
    """
    if source.dtype != tf.string:
        return source
    orientation = exif_orientation(source)
    image = _decode_stored(source)
    image = tf.cond(
        orientation == 1, lambda: image, lambda: _upright(image, orientation)
    )
    return tf.ensure_shape(image, [None, None, 3])


def _decode_stored(source):
    image = tf.cond(
        _starts_as_jpeg(source),
        lambda: tf.io.decode_jpeg(source, channels=3, dct_method=_TRANSFORM),
        lambda: tf.io.decode_image(source, channels=3, expand_animations=False),
    )
    image.set_shape([None, None, 3])
    return image


def exif_orientation(source: tf.Tensor) -> tf.Tensor:
    """Returns the orientation that a JPEG's Exif data gives.

    Args:
      source: string scalar, the bytes of a file.

    Returns:
      int32 scalar, 1 (as stored) to 8; 1 without Exif data.
    """
    place = tf.constant(-1)
    if_jpeg = _starts_as_jpeg(source)
    for candidate in _EXIF_PLACES:
        found = _substr(source, candidate, 6) == _EXIF_MARK
        place = tf.where(if_jpeg & found, candidate + 6, place)
    return tf.cond(
        place < 0,
        lambda: tf.constant(1),
        lambda: _orientation_in_tiff(_substr(source, place, 2**16)),
    )


def _orientation_in_tiff(tiff):
    """Looks for the tag in the first directory of a TIFF header."""
    data = tf.cast(tf.io.decode_raw(tiff, tf.uint8), tf.int32)
    data = tf.pad(data, [[0, 16]])
    little = data[0] == ord("I")
    powers = tf.where(little, [0, 1, 2, 3], [3, 2, 1, 0])
    end = tf.size(data) - 8
    start = tf.reduce_sum(data[4:8] * 256**powers)
    start = tf.clip_by_value(start, 0, end)

    def two_bytes(at):
        at = tf.clip_by_value(at, 0, end)
        first, second = tf.gather(data, at), tf.gather(data, at + 1)
        return tf.where(little, first + 256 * second, 256 * first + second)

    tags = start + 2 + _TAG_BYTES * tf.range(_MAX_TAGS)
    is_it = (two_bytes(tags) == _ORIENTATION_TAG) & (
        tf.range(_MAX_TAGS) < two_bytes(start)
    )
    value = two_bytes(tags[tf.argmax(is_it)] + 8)
    valid = tf.reduce_any(is_it) & (value >= 1) & (value <= 8)
    return tf.where(valid, value, 1)


def _upright(image, orientation):
    """Turns an image as its orientation says (Exif 2.3, table 6)."""
    image = tf.cond(
        orientation >= 5,
        lambda: tf.transpose(image, [1, 0, 2]),
        lambda: image,
    )
    # After the transposition: which of the axes have to be reversed.
    columns = tf.reduce_any(orientation == tf.constant([2, 3, 6, 7]))
    rows = tf.reduce_any(orientation == tf.constant([3, 4, 7, 8]))
    image = tf.cond(rows, lambda: image[::-1], lambda: image)
    return tf.cond(columns, lambda: image[:, ::-1], lambda: image)


def shape(source: tf.Tensor) -> tf.Tensor:
    """Returns height and width of an image, without decoding a JPEG.

    Args:
      source: uint8 tensor (height, width, 3) or the bytes of an image file.

    Returns:
      int32 tensor (2,).
    """
    if source.dtype != tf.string:
        return tf.shape(source)[:2]
    return tf.cond(
        _starts_as_jpeg(source),
        lambda: _jpeg_shape(source),
        lambda: tf.shape(decode(source))[:2],
    )


def _jpeg_shape(source):
    stored = tf.image.extract_jpeg_shape(source)[:2]
    return tf.where(exif_orientation(source) >= 5, stored[::-1], stored)


def read_window(source: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Returns a part of an image, decoding no more of a JPEG than it needs.

    Args:
      source: uint8 tensor (height, width, 3) or the bytes of an image file.
      window: int32 tensor (4,): top, left, height, width.

    Returns:
      uint8 tensor (height of the window, width of the window, 3).
    """
    if source.dtype != tf.string:
        return slice_window(source, window)
    return tf.cond(
        _is_whole_jpeg(source) & (exif_orientation(source) == 1),
        lambda: _decode_window(source, window),
        lambda: slice_window(decode(source), window),
    )


def slice_window(image: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Returns the part of pixels that (top, left, height, width) name."""
    top, left, height, width = tf.unstack(window)
    return tf.slice(image, [top, left, 0], [height, width, 3])


def _decode_window(source, window):
    # Colour is stored at half the resolution, and the decoder interpolates
    # it without what lies outside of the window: a margin, cut off again,
    # gives the pixels that decoding the whole image gives.
    corner, size = window[:2], window[2:]
    whole = tf.image.extract_jpeg_shape(source)[:2]
    begin = tf.maximum(corner - _CHROMA_MARGIN, 0)
    end = tf.minimum(corner + size + _CHROMA_MARGIN, whole)
    part = tf.image.decode_and_crop_jpeg(
        source,
        tf.concat([begin, end - begin], axis=0),
        channels=3,
        dct_method=_TRANSFORM,
    )
    return slice_window(part, tf.concat([corner - begin, size], axis=0))


def _is_whole_jpeg(source):
    # A crop near the top would not notice that the rest of a file is gone,
    # so a JPEG without its end marker is decoded whole, and found out.
    end = _substr(source, tf.strings.length(source) - 2, 2)
    return _starts_as_jpeg(source) & (end == _JPEG_END)


def _starts_as_jpeg(source):
    return _substr(source, 0, 3) == _JPEG_START


def _substr(source, start, count):
    """tf.strings.substr, empty where the string is too short."""
    length = tf.strings.length(source)
    return tf.strings.substr(source, tf.clip_by_value(start, 0, length), count)
