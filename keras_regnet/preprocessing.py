"""From images to what a network's weights expect."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_regnet import errors
from keras_regnet.images import resize_and_crop
from keras_regnet.weights import records
from keras_regnet.weights.records import WeightRecord

_DATA_FORMATS = ("channels_last", "channels_first")
# How who crops rounds half a pixel, if not as PyTorch: to the even number.
_CROP_ROUNDING = {"pycls": "up", "transformers": "down"}


def mean_and_std(
    channels: int,
    mean: Sequence[float] = records.IMAGENET_MEAN,
    std: Sequence[float] = records.IMAGENET_STD,
) -> tuple[list[float], list[float]]:
    """Returns what normalizes an image of any number of channels.

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
    if channels == 3:
        return np.array(mean).tolist(), np.array(std).tolist()
    means = np.full(channels, np.mean(mean))
    stds = np.full(channels, np.mean(std))
    return means.tolist(), stds.tolist()


def preprocess_input(
    images: Any,
    data_format: str | None = None,
    *,
    weights: str | WeightRecord | None = None,
    variant: str | None = None,
    normalize: bool = True,
) -> Any:
    """Prepares images as they were when the weights were evaluated.

    Normalization is done once, here or in the model: by default here, for a
    model built with `include_preprocessing=False`. Every other model does it
    itself and takes RGB in 0..255; for such a model pass `normalize=False`,
    and images are resized and cropped only.

    Args:
      images: RGB in 0..255, (..., height, width, channels), array or tensor.
        In a tf.data pipeline, height and width may be unknown.
      data_format: "channels_last", "channels_first" or None for Keras's
        default.
      weights: what `weights=` of the model was: "default", "imagenet", or a tag
        or record of `keras_regnet.list_weights`: the short side
        is resized and the center cropped as its source does. None leaves the
        size, and takes ImageNet's mean and standard deviation.
      variant: the network that `weights` is of, unless it is a record.
      normalize: whether to subtract the mean and divide by the deviation.

    Returns:
      Floats, (..., size, size, channels) with `weights`, else of the same
      shape; about -2 to 3, or 0 to 255 with `normalize=False`.

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
        images = resize_and_crop(
            images,
            record.resize,
            record.test_size,
            interpolation=record.interpolation,
            antialias=record.antialias,
            crop_rounding=_CROP_ROUNDING.get(record.source, "even"),
            # All but OpenCV resize images of 8 bits, which stay of 8 bits.
            to_integers=record.antialias,
            data_format=data_format,
        )
    return _normalize(images, record, data_format) if normalize else images


def _record(weights, variant):
    if weights is None or isinstance(weights, WeightRecord):
        return weights
    if variant is None:
        raise ValueError(
            "`variant` must name the network that the weights are of. "
            f"Received: weights={weights!r}, variant=None"
        )
    return records.find(variant, weights)


def _normalize(images, record, data_format):
    axis = -1 if data_format == "channels_last" else -3
    published = (record.mean, record.std) if record else ()
    mean, std = (
        np.asarray(values, dtype="float32")
        for values in mean_and_std(images.shape[axis], *published)
    )
    if axis == -3:
        mean, std = mean[:, None, None], std[:, None, None]
    return (images - mean) / std
