"""From images to what a network's weights expect."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_regnet import errors
from keras_regnet.weights import records
from keras_regnet.weights.records import WeightRecord

_DATA_FORMATS = ("channels_last", "channels_first")
# Who crops from which pixel where the middle lies between two.
_CROPS_FROM_THE_UPPER = ("pycls",)
_CROPS_FROM_THE_LOWER = ("transformers",)


def mean_and_std(
    channels: int,
    mean: Sequence[float] = records.IMAGENET_MEAN,
    std: Sequence[float] = records.IMAGENET_STD,
) -> tuple[list[float], list[float]]:
    """Returns what normalises an image of any number of channels.

    Args:
      channels: number of channels; all but 3 share the mean of the three.
      mean: of red, green and blue, of pixels in 0..255.
      std: standard deviation, likewise.

    Returns:
      (mean, standard deviation), one number per channel, of pixels in 0..255.

    Example:
    >>> [len(values) for values in mean_and_std(1)]
    [1, 1]
    """
    mean, std = np.array(mean), np.array(std)
    if channels != 3:
        mean = np.full(channels, mean.mean())
        std = np.full(channels, std.mean())
    return mean.tolist(), std.tolist()


def preprocess_input(
    images: Any,
    data_format: str | None = None,
    *,
    weights: str | WeightRecord | None = None,
    variant: str | None = None,
    normalise: bool = True,
) -> Any:
    """Prepares images as they were when the weights were evaluated.

    Normalisation is done once, here or in the model: by default here, for a
    model built with `include_preprocessing=False`. Every other model does it
    itself and takes RGB in 0..255; for such a model pass `normalise=False`,
    and images are resized and cropped only.

    Args:
      images: RGB in 0..255, (..., height, width, channels), array or tensor.
        In a tf.data pipeline, height and width may be unknown.
      data_format: "channels_last", "channels_first" or None for Keras's
        default.
      weights: a tag or record of `keras_regnet.list_weights`: the short side
        is resized and the centre cropped as its source does. None leaves the
        size, and takes ImageNet's mean and standard deviation.
      variant: the network that `weights` is of, unless it is a record.
      normalise: whether to subtract the mean and divide by the deviation.

    Returns:
      Floats, (..., size, size, channels) with `weights`, else of the same
      shape; about -2 to 3, or 0 to 255 with `normalise=False`.

    Raises:
      ValueError: if there are no such weights or data format, or a symbolic
        tensor of unknown size is to be resized.

    Example:
    >>> import numpy as np
    >>> float(preprocess_input(np.zeros((1, 2, 2, 3)))[0, 0, 0, 0]).__round__(3)
    -2.118
    >>> images = np.zeros((1, 300, 400, 3))
    >>> cropped = preprocess_input(
    ...     images, weights="tv2_in1k", variant="RegNetX-3.2GF"
    ... )
    >>> tuple(cropped.shape)
    (1, 224, 224, 3)
    """
    data_format = data_format or keras.config.image_data_format()
    if data_format not in _DATA_FORMATS:
        raise errors.unknown_value("data_format", data_format, _DATA_FORMATS)
    record = _record(weights, variant)
    images = ops.cast(images, "float32")
    if record is not None:
        images = _resize_and_crop(images, record, data_format)
    return _normalise(images, record, data_format) if normalise else images


def _record(weights, variant):
    if weights is None or isinstance(weights, WeightRecord):
        return weights
    if variant is None:
        raise ValueError(
            "`variant` must name the network that the weights are of. "
            f"Received: weights={weights!r}, variant=None"
        )
    return records.find(variant, weights)


def _axes(data_format):
    """Returns the axes of height, width and channels, from the end."""
    return (-3, -2, -1) if data_format == "channels_last" else (-2, -1, -3)


def _resize_and_crop(images, record, data_format):
    axes = _axes(data_format)[:2]
    # Numbers where they are known; in a tf.data pipeline they may not be.
    size = tuple(ops.shape(images)[axis] for axis in axes)
    if None in size:
        raise ValueError(
            "`images` must have a known height and width to be resized "
            "outside of a pipeline. "
            f"Received: shape={tuple(images.shape)}"
        )
    known = all(isinstance(side, int) for side in size)
    short = min(size) if known else ops.minimum(*size)
    # The longer side is truncated, as PyTorch's transforms do it.
    resized = tuple(record.resize * side // short for side in size)
    if not known or resized != size:
        resize = ops.image.resize if known else _resize_in_pipeline
        images = resize(
            images,
            resized,
            interpolation=record.interpolation,
            antialias=record.antialias,
            data_format=data_format,
        )
        if record.antialias:
            # All but OpenCV resize images of 8 bits, which stay of 8 bits.
            images = ops.clip(ops.round(images), 0.0, 255.0)
    starts, shape = [0] * len(images.shape), list(ops.shape(images))
    for axis, side in zip(axes, resized, strict=True):
        starts[axis] = _first_pixel(side - record.test_size, record.source)
        shape[axis] = record.test_size
    return ops.slice(images, starts, shape)


def _resize_in_pipeline(images, size, interpolation, antialias, data_format):
    """What Keras calls, too, but which needs a size in numbers."""
    # Here alone, where a pipeline has imported it.
    import tensorflow as tf

    first = data_format == "channels_first"
    images = ops.moveaxis(images, -3, -1) if first else images
    images = tf.image.resize(images, size, interpolation, antialias=antialias)
    return ops.moveaxis(images, -1, -3) if first else images


def _first_pixel(margin, source):
    """Returns where a crop begins whose two margins together are so many."""
    half, odd = margin // 2, margin % 2
    if source in _CROPS_FROM_THE_UPPER:
        return half + odd
    if source in _CROPS_FROM_THE_LOWER:
        return half
    # To the even number, as PyTorch's transforms round halves.
    return half + odd * (half % 2)


def _normalise(images, record, data_format):
    axis = _axes(data_format)[-1]
    published = (record.mean, record.std) if record else ()
    mean, std = (
        np.asarray(values, dtype="float32")
        for values in mean_and_std(images.shape[axis], *published)
    )
    if axis == -3:
        mean, std = mean[:, None, None], std[:, None, None]
    return (images - mean) / std
