"""Stateless augmentation: pure functions of (image, seed, epoch, index).

Every random number of an image comes from one vector of uniform draws keyed
by the run's seed, the epoch and the image's place in the epoch. Nothing is
kept between images, so order of execution, number of threads and restarts
change nothing. Images are RGB in 0..255.
"""

import dataclasses

import tensorflow as tf

from training import config as train_config

# A try draws area, aspect, swap, top and left.
_CROP_TRIES = 10
_DRAWS_PER_TRY = 5
_CROP_DRAWS = _CROP_TRIES * _DRAWS_PER_TRY
_MIN_ASPECT, _MAX_ASPECT = 3 / 4, 4 / 3

# Pixels around a window that its own colours depend on.
_CHROMA_MARGIN = 2

# Salts keep the streams of one image apart.
_UNIFORM_SALT = 0
_LIGHTING_SALT = 1
_SALTS_PER_IMAGE = 16

# RGB components of ImageNet's colours (pycls datasets/transforms.py, there
# for images in 0..1).
_PCA_VALUES = (0.2175, 0.0188, 0.0045)
_PCA_VECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)

# Evaluation sees the central 224 of 256.
_EVAL_CROP_SHARE = 224 / 256


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What happens to a training image; see `TrainConfig` for the fields."""

    kind: str
    image_size: int
    min_crop_area: float
    crop_aspect: str
    flip: bool
    pca_lighting_std: float
    antialias: bool

    @classmethod
    def from_config(
        cls, config: train_config.TrainConfig, small_images: bool
    ) -> "Augmentation":
        """Returns the augmentation a configuration asks for.

        Args:
          config: the run's configuration.
          small_images: whether the set holds small images of one size, which
            decides what "auto" means.

        Returns:
          An `Augmentation` whose `kind` is not "auto".
        """
        kind = config.augmentation
        if kind == "auto":
            kind = "pad_crop" if small_images else "random_resized_crop"
        return cls(
            kind=kind,
            image_size=config.image_size,
            min_crop_area=config.min_crop_area,
            crop_aspect=config.crop_aspect,
            flip=config.flip,
            pca_lighting_std=config.pca_lighting_std,
            antialias=config.antialias,
        )


def draw_key(
    seed: int, epoch: tf.Tensor, index: tf.Tensor, salt: int = 0
) -> tf.Tensor:
    """Returns the key of one image's random numbers.

    Args:
      seed: the run's seed, below 2**31.
      epoch: int64 scalar.
      index: int64 scalar, place of the image in the epoch.
      salt: which stream of the image.

    Returns:
      int64 tensor (2,), different for every combination.
    """
    return tf.stack(
        [
            tf.cast(seed, tf.int64) * 2**32 + epoch,
            index * _SALTS_PER_IMAGE + salt,
        ]
    )


def train_image(
    source: tf.Tensor,
    augmentation: Augmentation,
    seed: int,
    epoch: tf.Tensor,
    index: tf.Tensor,
) -> tf.Tensor:
    """Returns a training image.

    Args:
      source: uint8 tensor (height, width, 3) or the bytes of an image file.
      augmentation: what to do.
      seed: the run's seed.
      epoch: int64 scalar.
      index: int64 scalar, place of the image in the epoch.

    Returns:
      float32 tensor (image_size, image_size, 3).
    """
    draws = tf.random.stateless_uniform(
        [_CROP_DRAWS + 1], draw_key(seed, epoch, index, _UNIFORM_SALT)
    )
    image = _CROPS[augmentation.kind](source, augmentation, draws)
    size = augmentation.image_size
    image = tf.ensure_shape(tf.cast(image, tf.float32), [size, size, 3])
    if augmentation.flip:
        image = tf.where(draws[-1] < 0.5, image[:, ::-1], image)
    if augmentation.pca_lighting_std:
        key = draw_key(seed, epoch, index, _LIGHTING_SALT)
        image += _pca_lighting(augmentation.pca_lighting_std, key)
    return image


def eval_image(
    source: tf.Tensor, image_size: int, whole: bool, antialias: bool = False
) -> tf.Tensor:
    """Returns an evaluation image.

    Args:
      source: uint8 tensor (height, width, 3) or the bytes of an image file.
      image_size: side of the result.
      whole: scale the whole image to the size, for sets of small images of
        one size; otherwise scale the shorter side to image_size * 256 / 224
        and take the centre.
      antialias: average over source pixels where resizing makes smaller.

    Returns:
      float32 tensor (image_size, image_size, 3).
    """
    image = decode(source)
    if whole:
        image = _resize(image, [image_size, image_size], antialias)
    else:
        shape = tf.shape(image)[:2]
        shorter = round(image_size / _EVAL_CROP_SHARE)
        # The longer side is cut to an integer, as pycls does.
        scaled = shape * shorter // tf.reduce_min(shape)
        image = _resize(image, scaled, antialias)
        top, left = tf.unstack((scaled - image_size + 1) // 2)
        image = tf.slice(image, [top, left, 0], [image_size, image_size, 3])
    return tf.ensure_shape(image, [image_size, image_size, 3])


def decode(source: tf.Tensor) -> tf.Tensor:
    """Returns RGB pixels from pixels or from the bytes of an image file.

    Args:
      source: uint8 tensor (height, width, 3), or a string scalar with a JPEG,
        PNG, GIF (first frame) or BMP file. Grey, CMYK and alpha become RGB.

    Returns:
      uint8 tensor (height, width, 3).
    """
    if source.dtype != tf.string:
        return source
    image = tf.io.decode_image(source, channels=3, expand_animations=False)
    image.set_shape([None, None, 3])
    return image


def crop_window(
    shape: tf.Tensor, draws: tf.Tensor, min_area: float, aspect: str
) -> tf.Tensor:
    """Returns the window of a random resized crop.

    Ten tries of a random area and aspect; the first that fits is taken. If
    none does, the central square.

    Args:
      shape: int32 tensor (2,), height and width of the image.
      draws: float32 tensor (50,), uniform in [0, 1).
      min_area: smallest share of the image; the largest is 1.
      aspect: "uniform_swapped": uniform in [3/4, 4/3], then height and width
        swapped half of the time (pycls); "log_uniform" (torchvision).

    Returns:
      int32 tensor (4,): top, left, height, width.
    """
    area, ratio, swap, y, x = tf.unstack(
        tf.reshape(draws, [_CROP_TRIES, _DRAWS_PER_TRY]), axis=1
    )
    size = tf.cast(shape, tf.float32)
    area = (min_area + area * (1 - min_area)) * size[0] * size[1]
    if aspect == "log_uniform":
        ratio = _MIN_ASPECT * (_MAX_ASPECT / _MIN_ASPECT) ** ratio
    else:
        ratio = _MIN_ASPECT + ratio * (_MAX_ASPECT - _MIN_ASPECT)
        ratio = tf.where(swap < 0.5, 1 / ratio, ratio)
    sides = tf.round(
        tf.stack([tf.sqrt(area / ratio), tf.sqrt(area * ratio)], axis=1)
    )
    fits = tf.reduce_all((sides >= 1) & (sides <= size), axis=1)
    corners = tf.floor(tf.stack([y, x], axis=1) * (size - sides + 1))
    # Rounding of a draw next to 1 must not leave the image.
    corners = tf.minimum(corners, size - sides)
    first = tf.argmax(fits)
    drawn = tf.concat([corners[first], sides[first]], axis=0)
    square = tf.repeat(tf.reduce_min(shape), 2)
    central = tf.concat([(shape - square) // 2, square], axis=0)
    return tf.where(tf.reduce_any(fits), tf.cast(drawn, tf.int32), central)


def read_window(source: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Returns a part of an image, decoding no more of a JPEG than it needs.

    Args:
      source: uint8 tensor (height, width, 3) or the bytes of an image file.
      window: int32 tensor (4,): top, left, height, width.

    Returns:
      uint8 tensor (height of the window, width of the window, 3).
    """
    if source.dtype != tf.string:
        return _slice_window(source, window)
    return tf.cond(
        _is_whole_jpeg(source),
        lambda: _decode_window(source, window),
        lambda: _slice_window(decode(source), window),
    )


def _decode_window(source, window):
    # Colour is stored at half the resolution, and the decoder interpolates
    # it without what lies outside of the window: a margin, cut off again,
    # gives the pixels that decoding the whole image gives.
    corner, size = window[:2], window[2:]
    shape = tf.image.extract_jpeg_shape(source)[:2]
    begin = tf.maximum(corner - _CHROMA_MARGIN, 0)
    end = tf.minimum(corner + size + _CHROMA_MARGIN, shape)
    part = tf.image.decode_and_crop_jpeg(
        source, tf.concat([begin, end - begin], axis=0), channels=3
    )
    return _slice_window(part, tf.concat([corner - begin, size], axis=0))


def _is_whole_jpeg(source):
    # A crop near the top would not notice that the rest of a file is gone,
    # so a JPEG without its end marker is decoded whole, and found out.
    start = tf.strings.substr(source, 0, 3)
    end = tf.strings.substr(source, tf.strings.length(source) - 2, 2)
    return (start == b"\xff\xd8\xff") & (end == b"\xff\xd9")


def _slice_window(image, window):
    top, left, height, width = tf.unstack(window)
    return tf.slice(image, [top, left, 0], [height, width, 3])


def _shape(source):
    """Returns height and width, without decoding a JPEG."""
    if source.dtype != tf.string:
        return tf.shape(source)[:2]
    return tf.cond(
        tf.strings.substr(source, 0, 3) == b"\xff\xd8\xff",
        lambda: tf.image.extract_jpeg_shape(source)[:2],
        lambda: tf.shape(decode(source))[:2],
    )


def _random_resized_crop(source, augmentation, draws):
    window = crop_window(
        _shape(source),
        draws[:_CROP_DRAWS],
        augmentation.min_crop_area,
        augmentation.crop_aspect,
    )
    image = read_window(source, window)
    size = augmentation.image_size
    return _resize(image, [size, size], augmentation.antialias)


def _pad_crop(source, augmentation, draws):
    """Scales the whole image, pads by an eighth, and cuts at random."""
    image = _whole(source, augmentation, draws)
    size = augmentation.image_size
    pad = size // 8
    image = tf.pad(image, [[pad, pad], [pad, pad], [0, 0]])
    top, left = tf.unstack(tf.cast(draws[:2] * (2 * pad + 1), tf.int32))
    return tf.slice(image, [top, left, 0], [size, size, 3])


def _whole(source, augmentation, draws):
    del draws
    size = augmentation.image_size
    return _resize(decode(source), [size, size], augmentation.antialias)


_CROPS = {
    "random_resized_crop": _random_resized_crop,
    "pad_crop": _pad_crop,
    "none": _whole,
}


def _resize(image, size, antialias):
    return tf.image.resize(image, size, antialias=antialias)


def _pca_lighting(std, key):
    alpha = tf.random.stateless_normal([3], key, stddev=std)
    return 255 * tf.linalg.matvec(
        tf.constant(_PCA_VECTORS), alpha * tf.constant(_PCA_VALUES)
    )
