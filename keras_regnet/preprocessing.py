"""From RGB in 0..255 to what a network's weights expect."""

from collections.abc import Sequence

import keras
import numpy as np

# Of RGB images in 0..255, over the training set of ImageNet-1k.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


def mean_and_std(
    channels: int,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
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


def preprocess_input(images, data_format: str | None = None):
    """Normalises images for a model without its own normalisation.

    Only for models built with `include_preprocessing=False`; every other
    model does this itself and takes RGB in 0..255.

    Args:
      images: RGB in 0..255, (..., height, width, channels), array or tensor.
      data_format: "channels_last", "channels_first" or None for Keras's
        default.

    Returns:
      Floats of the same shape, about -2 to 3.

    Raises:
      ValueError: if `data_format` is neither.

    Example:
    >>> import numpy as np
    >>> float(preprocess_input(np.zeros((1, 2, 2, 3)))[0, 0, 0, 0]).__round__(3)
    -2.118
    """
    data_format = (
        keras.config.image_data_format() if data_format is None else data_format
    )
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            "`data_format` must be 'channels_last' or 'channels_first'. "
            f"Received: data_format={data_format!r}"
        )
    axis = -1 if data_format == "channels_last" else -3
    mean, std = (
        np.asarray(values, dtype="float32")
        for values in mean_and_std(images.shape[axis])
    )
    if axis == -3:
        mean, std = mean[:, None, None], std[:, None, None]
    return (keras.ops.cast(images, "float32") - mean) / std
