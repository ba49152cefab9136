"""Reading image files in graph: formats, orientation, parts of JPEGs.

Files become RGB pixels the right way up, as OpenCV reads them, with which the
paper's networks were trained.
"""

from collections.abc import Callable

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
_HEADER_BYTES = 32
# Of equal length, so that one comparison finds all.
_MARKS = (
    tuple(_JPEG_START * 2),
    tuple(_EXIF_MARK),
    tuple(_EXIF_MARK),
)
_MARK_PLACES = (
    (0, 1, 2, 0, 1, 2),
    *(tuple(range(place, place + 6)) for place in _EXIF_PLACES),
)
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
    is_jpeg, *exif = tf.unstack(_marks(source))
    image = tf.cond(
        is_jpeg & ~tf.reduce_any(exif),
        lambda: tf.io.decode_jpeg(source, channels=3, dct_method=_TRANSFORM),
        lambda: _upright(_decode_stored(source), exif_orientation(source)),
    )
    return tf.ensure_shape(image, [None, None, 3])


def _marks(source):
    """Returns whether a file starts as a JPEG, and where it has Exif data.

    Few operations, as every image comes by here.
    """
    header = tf.io.decode_raw(
        tf.strings.substr(source, 0, _HEADER_BYTES),
        tf.uint8,
        fixed_length=_HEADER_BYTES,
    )
    found = tf.gather(header, tf.constant(_MARK_PLACES))
    return tf.reduce_all(found == tf.constant(_MARKS, tf.uint8), axis=1)


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
    is_jpeg, first, second = tf.unstack(_marks(source))
    place = tf.where(second, _EXIF_PLACES[1], -1)
    place = tf.where(first, _EXIF_PLACES[0], place)
    place = tf.where(is_jpeg & (place > 0), place + len(_EXIF_MARK), -1)
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


def read_window(
    source: tf.Tensor, choose: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Returns a part of an image, decoding no more of a JPEG than it needs.

    Args:
      source: uint8 tensor (height, width, 3) or the bytes of an image file.
      choose: height and width (int32 tensor (2,)) -> the part, an int32
        tensor (4,): top, left, height, width.

    Returns:
      uint8 tensor (height of the window, width of the window, 3).
    """
    if source.dtype != tf.string:
        return slice_window(source, choose(tf.shape(source)[:2]))
    return tf.ensure_shape(
        tf.cond(
            _is_plain_jpeg(source),
            lambda: _decode_window(source, choose),
            lambda: _window_of_decoded(decode(source), choose),
        ),
        [None, None, 3],
    )


def _window_of_decoded(image, choose):
    return slice_window(image, choose(tf.shape(image)[:2]))


def slice_window(image: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Returns the part of pixels that (top, left, height, width) name."""
    top, left, height, width = tf.unstack(window)
    return tf.slice(image, [top, left, 0], [height, width, 3])


def _decode_window(source, choose):
    # Colour is stored at half the resolution, and the decoder interpolates
    # it without what lies outside of the window: a margin, cut off again,
    # gives the pixels that decoding the whole image gives.
    whole = tf.image.extract_jpeg_shape(source)[:2]
    corner, size = tf.split(choose(whole), 2)
    begin = tf.maximum(corner - _CHROMA_MARGIN, 0)
    end = tf.minimum(corner + size + _CHROMA_MARGIN, whole)
    part = tf.image.decode_and_crop_jpeg(
        source,
        tf.concat([begin, end - begin], axis=0),
        channels=3,
        dct_method=_TRANSFORM,
    )
    return slice_window(part, tf.concat([corner - begin, size], axis=0))


def _is_plain_jpeg(source):
    """Returns whether a file is a whole JPEG without Exif data.

    A crop near the top would not notice that the rest of a file is gone, so
    a JPEG without its end marker is decoded whole, and found out.
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
