"""Decodes image files in TensorFlow, the right way up.

Files become pixels as OpenCV reads them, with which the paper's networks were
trained.
"""

import numpy as np
import tensorflow as tf

from keras_regnet import image_formats
from keras_regnet import image_orientation
from keras_regnet.image_bytes import contains
from keras_regnet.image_bytes import refuse
from keras_regnet.image_bytes import substr

# Of the two inverse transforms the one that OpenCV and Pillow use, too;
# TensorFlow's default is up to 11 of 255 off.
TRANSFORM = "INTEGER_ACCURATE"

_JPEG_START = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
# Length and depth in the header of a frame of three colors, or of gray: not
# CMYK's. It is near the start, unless a long profile is before it.
_FRAMES = ("\0\x11\x08", "\0\x0b\x08")
_FRAME_WITHIN = 2**14
# Of Adobe's segment: with it, CMYK is stored upside down, as all who write CMYK
# do it, and Pillow and OpenCV read it, even if it is not there.
_ADOBE_MARK = "Adobe\0"
_ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"
_UNKNOWN = "neither JPEG, PNG, GIF, BMP nor WebP: convert it to PNG"


def decode(source: tf.Tensor, channels: int = 3) -> tf.Tensor:
    """Returns pixels from pixels or from the bytes of an image file.

    Args:
      source: uint8 tensor (height, width, channels), or a string scalar with
        a JPEG, PNG, GIF, BMP or WebP file, whatever its name; of several
        frames, the first. Gray, CMYK, palettes and alpha become RGB, and an
        orientation in Exif or XMP is obeyed: the pixels are Pillow's.
      channels: 3 for RGB, 1 for gray.

    Returns:
      uint8 tensor (height, width, channels).
    """
    if source.dtype != tf.string:
        return source
    image = tf.cond(
        _is_unmarked_jpeg(source),
        lambda: _decode_jpeg(source),
        lambda: _decode_any(source),
    )
    image = tf.ensure_shape(image, [None, None, 3])
    return tf.image.rgb_to_grayscale(image) if channels == 1 else image


def is_plain_jpeg(source: tf.Tensor) -> tf.Tensor:
    """Returns whether a file is a whole JPEG that is not to be turned.

    A crop near the top would not notice that the rest of a file is gone, so
    a JPEG without its end marker is decoded whole, and found out.

    Args:
      source: string scalar, the bytes of a file.

    Returns:
      bool scalar.
    """
    start = tf.maximum(tf.strings.length(source) - len(_JPEG_END), 0)
    ends = tf.strings.substr(source, start, len(_JPEG_END)) == _JPEG_END
    return ends & _is_unmarked_jpeg(source)


def _is_unmarked_jpeg(source):
    # Few operations, as every image comes by here.
    is_jpeg = tf.strings.substr(source, 0, len(_JPEG_START)) == _JPEG_START
    marked = contains(source, *image_orientation.JPEG_MARKS)
    start = tf.strings.substr(source, 0, _FRAME_WITHIN)
    return is_jpeg & ~marked & contains(start, *_FRAMES)


def _decode_jpeg(source):
    return tf.io.decode_jpeg(source, channels=3, dct_method=TRANSFORM)


def _with_adobe(source):
    """Puts Adobe's segment into a CMYK file that lacks it."""
    cmyk = tf.image.extract_jpeg_shape(source)[2] == 4
    return tf.cond(
        cmyk & ~contains(source, _ADOBE_MARK),
        lambda: tf.strings.join(
            [
                _JPEG_START[:2],
                _ADOBE,
                substr(source, 2, tf.strings.length(source)),
            ]
        ),
        lambda: source,
    )


# Called, not put in place: as part of the caller's graph it would cost every
# plain JPEG more than to decode it.
@tf.function(autograph=False, experimental_attributes={"_noinline": True})
def _decode_any(source):
    """Decodes a file of any format."""

    def jpeg():
        image = _decode_jpeg(_with_adobe(source))
        return image, *image_orientation.jpeg_metadata(source)

    def png():
        image = image_formats.decode_png(source)
        return image, *image_orientation.png_metadata(source)

    def webp():
        image = image_formats.decode_webp(source)
        return image, *image_orientation.webp_metadata(source)

    def gif():
        image = image_formats.decode_gif(source)
        return image, *image_orientation.no_metadata()

    def bmp():
        image = image_formats.decode_bmp(source)
        return image, *image_orientation.no_metadata()

    def unknown():
        image = refuse(source, _UNKNOWN)
        return image, *image_orientation.no_metadata()

    formats = {
        _JPEG_START: jpeg,
        b"\x89PNG\r\n\x1a\n": png,
        b"RIFF????WEBP": webp,
        b"GIF8": gif,
        b"BM": bmp,
    }
    image, exif, xmp = tf.switch_case(
        _first_that_matches(source, list(formats)),
        [*formats.values(), unknown],
    )
    return image_orientation.upright(
        image, image_orientation.orientation(exif, xmp)
    )


def _first_that_matches(source, starts):
    """Returns which text a file starts with, or how many texts there are.

    A question mark stands for any byte.
    """
    width = max(map(len, starts))
    data = tf.io.decode_raw(
        substr(source, 0, width), tf.uint8, fixed_length=width
    )
    texts = np.array(
        [list(start.ljust(width, b"?")) for start in [*starts, b""]], np.uint8
    )
    same = (data == texts) | (texts == ord("?"))
    return tf.argmax(tf.reduce_all(same, axis=1), output_type=tf.int32)
