"""Resizes images and crops their centers, by the rules of whoever does it.

The pixels may be of any Keras backend, or TensorFlow's in a tf.data pipeline
or a SavedModel, where height and width may be unknown.
"""

import sys
from typing import Any

from keras import ops

from keras_regnet.center_crop import CenterCrop

# Of longer images, only the middle is resized: the whole of a strip one pixel
# high would not fit into memory.
_MAX_ASPECT = 16
# Interpolates between pixels only, and so stays between their values.
_WITHOUT_OVERSHOOT = ("bilinear", "nearest", "area")


def center_crop(
    images: Any,
    size: tuple[int, int],
    crop: CenterCrop,
    data_format: str = "channels_last",
) -> Any:
    """Returns what a classifier sees of images, float32 (..., *size, channels).

    Args:
      images: RGB or gray in 0..255, (..., height, width, channels).
      size: height and width of the result.
      crop: how they are scaled and cropped.
      data_format: "channels_last" or "channels_first".
    """
    return resize_and_crop(
        images,
        crop.resized(size),
        size,
        interpolation=crop.interpolation,
        antialias=crop.antialias,
        crop_rounding=crop.rounding,
        to_integers=crop.to_integers,
        data_format=data_format,
    )


def scale_whole(images: Any, size: tuple[int, int], crop: CenterCrop) -> Any:
    """Returns all of small images, float32 (..., *size, channels)."""
    return resize(images, size, crop.interpolation, crop.antialias)


def resize_and_crop(
    images: Any,
    resized: int | tuple[int, int],
    size: int | tuple[int, int],
    *,
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_rounding: str = "up",
    to_integers: bool = False,
    data_format: str = "channels_last",
) -> Any:
    """Scales images, aspect kept, and crops the center.

    Args:
      images: RGB or gray in 0..255, (..., height, width, channels).
      resized: length of the shorter side after scaling; or (height, width)
        that the scaled image must just cover. The other side is truncated to
        an integer, as PyTorch's transforms and pycls do it.
      size: side of the crop, or its (height, width).
      interpolation: "bilinear", "bicubic" or another of `tf.image.resize`.
      antialias: whether to average over the pixels where an image shrinks:
        Pillow does, OpenCV does not.
      crop_rounding: see `CenterCrop.rounding`.
      to_integers: see `CenterCrop`.
      data_format: "channels_last" or "channels_first".

    Returns:
      float32, (..., *size, channels).

    Raises:
      ValueError: if height or width of a symbolic Keras tensor is unknown.

    Example:
    >>> import numpy as np
    >>> photo = np.zeros((300, 400, 3), "float32")
    >>> tuple(resize_and_crop(photo, 256, 224).shape)
    (224, 224, 3)
    """
    axes = (-2, -1) if data_format == "channels_first" else (-3, -2)
    images, own = _cut_strips(images, axes)
    scaled = _scaled_size(own, _pair(resized))
    if not _is_known(own) or scaled != own:
        images = resize(images, scaled, interpolation, antialias, data_format)
        if to_integers:
            # What overshot, `resize` has clipped.
            images = _round(images)
    sides = _pair(size)
    starts = [
        _half(side - part, crop_rounding)
        for side, part in zip(scaled, sides, strict=True)
    ]
    return _float32(_crop(images, axes, starts, sides))


def resize(
    images: Any,
    size: tuple[Any, Any],
    interpolation: str = "bilinear",
    antialias: bool = False,
    data_format: str = "channels_last",
) -> Any:
    """Scales images to (height, width).

    Args:
      images: in 0..255, (..., height, width, channels).
      size: height and width, integers or TensorFlow's scalars.
      interpolation: a method of `tf.image.resize`.
      antialias: whether to average over the pixels where an image shrinks.
      data_format: "channels_last" or "channels_first".

    Returns:
      float32 in 0..255, (..., *size, channels).
    """
    tf = _tensorflow(images)
    if tf is None:
        images = ops.image.resize(
            _float32(images),  # Of integers it would return integers.
            size,
            interpolation=interpolation,
            antialias=antialias,
            data_format=data_format,
        )
    else:
        # What Keras calls, too, but which takes a size of tensors.
        first = data_format == "channels_first"
        images = _moved(images, -3, -1) if first else images
        images = tf.image.resize(
            images, size, interpolation, antialias=antialias
        )
        images = _moved(images, -1, -3) if first else images
    images = _float32(images)
    if interpolation in _WITHOUT_OVERSHOOT:
        return images
    return _clip(images)


def _tensorflow(images):
    """Returns TensorFlow if the images are its tensors, else None."""
    tf = sys.modules.get("tensorflow")
    return tf if tf is not None and tf.is_tensor(images) else None


def _float32(images):
    return (_tensorflow(images) or ops).cast(images, "float32")


def _round(images):
    return (_tensorflow(images) or ops).round(images)


def _clip(images):
    tf = _tensorflow(images)
    return (tf.clip_by_value if tf else ops.clip)(images, 0.0, 255.0)


def _moved(images, source, target):
    """Returns TensorFlow's images with an axis at another place."""
    order = list(range(len(images.shape)))
    order.insert(target % len(order), order.pop(source))
    return _tensorflow(images).transpose(images, order)


def _pair(size):
    return size if isinstance(size, tuple) else (size, size)


def _is_known(size):
    return all(isinstance(side, int) for side in size)


def _height_and_width(images, axes):
    """Returns integers, or TensorFlow's scalars if not both are known."""
    size = tuple(images.shape[axis] for axis in axes)
    if None not in size:
        return size
    tf = _tensorflow(images)
    if tf is None:
        raise ValueError(
            "`images` must have a known height and width to be resized "
            "outside of a pipeline. "
            f"Received: shape={tuple(images.shape)}"
        )
    shape = tf.shape(images)
    return tuple(shape[axis] for axis in axes)


def _cut_strips(images, axes):
    """Returns images without the ends of strips, and their height and width."""
    size = _height_and_width(images, axes)
    if _is_known(size):
        cut = tuple(min(side, _MAX_ASPECT * min(size)) for side in size)
        if cut == size:
            return images, size
    else:
        tf = _tensorflow(images)
        longest = _MAX_ASPECT * tf.minimum(*size)
        cut = tuple(tf.minimum(side, longest) for side in size)
    starts = [(side - part) // 2 for side, part in zip(size, cut, strict=True)]
    return _crop(images, axes, starts, cut), cut


def _scaled_size(size, cover):
    """Returns the smallest size of the same aspect that covers another."""
    (height, width), (high, wide) = size, cover
    by_height = high * width >= wide * height
    if isinstance(by_height, bool):
        part, whole = (high, height) if by_height else (wide, width)
    else:
        tf = _tensorflow(by_height)
        part = tf.where(by_height, high, wide)
        whole = tf.where(by_height, height, width)
    return height * part // whole, width * part // whole


def _half(margin, rounding):
    """Returns half of a margin, an odd one rounded."""
    half = margin // 2
    if rounding == "down":
        return half
    return half + margin % 2 * (1 if rounding == "up" else half % 2)


def _crop(images, axes, starts, sizes):
    tf = _tensorflow(images)
    if tf is None:
        index = [slice(None)] * len(images.shape)
        for axis, start, size in zip(axes, starts, sizes, strict=True):
            index[axis] = slice(start, start + size)
        return images[tuple(index)]
    dynamic = tf.shape(images)
    begin = [0] * len(images.shape)
    shape = [
        dynamic[axis] if side is None else side
        for axis, side in enumerate(images.shape)
    ]
    for axis, start, size in zip(axes, starts, sizes, strict=True):
        begin[axis], shape[axis] = start, size
    return tf.slice(images, begin, shape)
