"""Decodes image files in TensorFlow, the right way up.

Files become pixels as OpenCV reads them, with which the paper's networks were
trained.
"""

import tensorflow as tf

# Of the two inverse transforms the one that OpenCV and Pillow use, too;
# TensorFlow's default is up to 11 of 255 off.
TRANSFORM = "INTEGER_ACCURATE"

_JPEG_START = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"

# Exif stands right behind the start of the file, or behind the JFIF segment.
_EXIF_POSITIONS = (6, 24)
_EXIF_MARK = b"Exif\x00\x00"
_HEADER_BYTES = 32
# Of equal length, so that one comparison finds all.
_MARKS = (
    tuple(_JPEG_START * 2),
    tuple(_EXIF_MARK),
    tuple(_EXIF_MARK),
)
_MARK_POSITIONS = (
    (0, 1, 2, 0, 1, 2),
    *(tuple(range(start, start + 6)) for start in _EXIF_POSITIONS),
)
_ORIENTATION_TAG = 0x0112
_MAX_TAGS = 64
_TAG_BYTES = 12


def decode(source: tf.Tensor, channels: int = 3) -> tf.Tensor:
    """Returns pixels from pixels or from the bytes of an image file.

    Args:
      source: uint8 tensor (height, width, channels), or a string scalar with
        a JPEG, PNG, GIF (first frame) or BMP file, whatever its name. Gray,
        CMYK and alpha become RGB; a JPEG's Exif orientation is obeyed.
      channels: 3 for RGB, 1 for gray.

    Returns:
      uint8 tensor (height, width, channels).
    """
    if source.dtype != tf.string:
        return source
    is_jpeg, *exif = tf.unstack(_marks(source))
    image = tf.cond(
        is_jpeg & ~tf.reduce_any(exif),
        lambda: _decode_jpeg(source, channels),
        lambda: _upright(
            _decode_stored(source, channels), exif_orientation(source)
        ),
    )
    return tf.ensure_shape(image, [None, None, channels])


def _decode_jpeg(source, channels):
    return tf.io.decode_jpeg(source, channels=channels, dct_method=TRANSFORM)


def _marks(source):
    """Returns whether a file starts as a JPEG, and where it has Exif data.

    Few operations, as every image comes by here.
    """
    header = tf.io.decode_raw(
        tf.strings.substr(source, 0, _HEADER_BYTES),
        tf.uint8,
        fixed_length=_HEADER_BYTES,
    )
    marks = tf.gather(header, tf.constant(_MARK_POSITIONS))
    return tf.reduce_all(marks == tf.constant(_MARKS, tf.uint8), axis=1)


def _decode_stored(source, channels):
    image = tf.cond(
        _starts_as_jpeg(source),
        lambda: _decode_jpeg(source, channels),
        lambda: tf.io.decode_image(
            source, channels=channels, expand_animations=False
        ),
    )
    return tf.ensure_shape(image, [None, None, channels])


def exif_orientation(source: tf.Tensor) -> tf.Tensor:
    """Returns the orientation that a JPEG's Exif data gives.

    Args:
      source: string scalar, the bytes of a file.

    Returns:
      int32 scalar, 1 (as stored) to 8; 1 without Exif data.
    """
    is_jpeg, first, second = tf.unstack(_marks(source))
    start = tf.where(second, _EXIF_POSITIONS[1], -1)
    start = tf.where(first, _EXIF_POSITIONS[0], start)
    start = tf.where(is_jpeg & (start > 0), start + len(_EXIF_MARK), -1)
    return tf.cond(
        start < 0,
        lambda: tf.constant(1),
        lambda: _orientation_in_tiff(_substr(source, start, 2**16)),
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


def is_plain_jpeg(source: tf.Tensor) -> tf.Tensor:
    """Returns whether a file is a whole JPEG without Exif data.

    A crop near the top would not notice that the rest of a file is gone, so
    a JPEG without its end marker is decoded whole, and found out.

    Args:
      source: string scalar, the bytes of a file.

    Returns:
      bool scalar.
    """
    ends = _substr(source, tf.strings.length(source) - 2, 2) == _JPEG_END
    flags = tf.concat([_marks(source), ends[None]], axis=0)
    return tf.reduce_all(flags == tf.constant([True, False, False, True]))


def _starts_as_jpeg(source):
    return _substr(source, 0, 3) == _JPEG_START


def _substr(source, start, count):
    """tf.strings.substr, empty where the string is too short."""
    length = tf.strings.length(source)
    return tf.strings.substr(source, tf.clip_by_value(start, 0, length), count)
