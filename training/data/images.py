"""Reading image files in graph, whole or in part.

Files become RGB pixels the right way up, as OpenCV reads them, with which the
paper's networks were trained.
"""

from collections.abc import Callable

import tensorflow as tf

from keras_regnet import image_files

# Pixels around a window that its own colours depend on.
_CHROMA_MARGIN = 2


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
            image_files.is_plain_jpeg(source),
            lambda: _decode_window(source, choose),
            lambda: _window_of_decoded(image_files.decode(source), choose),
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
        dct_method=image_files.TRANSFORM,
    )
    return slice_window(part, tf.concat([corner - begin, size], axis=0))
