"""From images to what a network's weights expect."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_regnet import errors
from keras_regnet import image_sources
from keras_regnet import layers
from keras_regnet import rows
from keras_regnet.images import center_crop
from keras_regnet.model_record import ModelRecord
from keras_regnet.weights import records
from keras_regnet.weights.records import WeightRecord

# Of a model that takes any size, whose record names none: the paper's.
_DEFAULT_IMAGE_SIZE = 224
_DATA_FORMATS = ("channels_last", "channels_first")


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


def normalization_layer(
    channels: int,
    mean: Sequence[float],
    std: Sequence[float],
    axis: int = -1,
    dtype: str | None = None,
) -> layers.Normalization:
    """Returns the layer that normalizes images, see `mean_and_std`."""
    mean, std = mean_and_std(channels, mean, std)
    return layers.Normalization(
        axis=axis,
        mean=mean,
        variance=[value**2 for value in std],
        dtype=dtype,
        name=rows.NORMALIZATION,
    )


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
        images = center_crop(
            images,
            (record.test_size,) * 2,
            record.center_crop,
            data_format,
        )
    if not normalize:
        return images
    published = (record.mean, record.std) if record else ()
    return normalize_pixels(images, data_format, *published)


def prepare(
    images: Any,
    record: ModelRecord,
    shape: Sequence[Any],
    data_format: str,
) -> Any:
    """Returns images as a model takes them, see `RegNetModel.preprocess`.

    Args:
      images: in any form.
      record: of the model.
      shape: of its images; None where it takes any size.
      data_format: of the model.
    """
    sides = list(shape)
    channels = sides.pop(-1 if data_format == "channels_last" else -3)
    own = record.image_size or (_DEFAULT_IMAGE_SIZE,) * 2
    height, width = (
        int(known if side is None else side)
        for side, known in zip(sides, own, strict=True)
    )

    def prepared(batch):
        batch = center_crop(batch, (height, width), record.crop, data_format)
        if record.normalizes:
            return batch
        return normalize_pixels(batch, data_format, record.mean, record.std)

    if image_sources.is_symbolic(images):
        return prepared(_symbolic_batch(images, channels, data_format))
    batches = image_sources.load(images, channels, data_format)
    arrays = [keras.ops.convert_to_numpy(prepared(x)) for x in batches]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _symbolic_batch(images, channels, data_format):
    """Returns a batch of a pipeline's tensor: images, or the bytes of one."""
    axis = -1 if data_format == "channels_last" else -3
    if images.dtype == "string":
        import tensorflow as tf

        from keras_regnet import image_files

        image_sources.check_colors(channels)
        images = image_files.decode(images, channels)
        if axis == -3:
            images = tf.transpose(images, (2, 0, 1))
    if len(images.shape) == 3:
        images = images[None]
    if len(images.shape) != 4:
        raise ValueError(
            "`images` must be a tensor of one image or a batch of them. "
            f"Received: shape={tuple(images.shape)}"
        )
    own = images.shape[axis]
    if own == channels or own is None:
        return images
    image_sources.check_channels(images.shape, channels, axis)
    if own == 1:
        # An operator, as TensorFlow's pipelines run under every backend.
        copies = np.ones((channels, *(1,) * (-axis - 1)), "uint8")
        dtype = keras.backend.standardize_dtype(images.dtype)
        return images * copies.astype(dtype)
    raise ValueError(
        "`images` must be made gray in the pipeline, as by "
        "tf.image.rgb_to_grayscale, for a model of 1 channel. "
        f"Received: shape={tuple(images.shape)}"
    )


def _record(weights, variant):
    if weights is None or isinstance(weights, WeightRecord):
        return weights
    if variant is None:
        raise ValueError(
            "`variant` must name the network that the weights are of. "
            f"Received: weights={weights!r}, variant=None"
        )
    return records.find(variant, weights)


def normalize_pixels(
    images: Any,
    data_format: str,
    mean: Sequence[float] = records.IMAGENET_MEAN,
    std: Sequence[float] = records.IMAGENET_STD,
) -> Any:
    """Returns images less the mean, by the deviation; see `mean_and_std`."""
    axis = -1 if data_format == "channels_last" else -3
    shape = (-1,) if axis == -1 else (-1, 1, 1)
    center, scale = (
        np.asarray(values, dtype="float32").reshape(shape)
        for values in mean_and_std(images.shape[axis], mean, std)
    )
    return (images - center) / scale
