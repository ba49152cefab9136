"""Stateless augmentation: pure functions of (image, random numbers).

The random numbers of a step are drawn at once, by a key of seed, epoch and
place in the epoch. Nothing is kept between images, so order of execution,
number of threads and restarts change nothing. Images are RGB in 0..255.

TensorFlow spends some microseconds on each operation in a tf.data map,
however small: what need not be done image by image is done in `draw`.
"""

import dataclasses

import tensorflow as tf

from keras_regnet import image_files
from training.config import config as train_config
from training.data import images
from training.data import policies

# A try draws area, aspect, swap, top and left.
_CROP_TRIES = 10
_DRAWS_PER_TRY = 5
# floor(this * (n + 1)) is n // 2.
_CENTRE = 0.4999
_MIN_ASPECT, _MAX_ASPECT = 3 / 4, 4 / 3

# Salts keep the streams of one place apart.
_CROP_SALT = 0
_LIGHTING_SALT = 1
_UNIFORM_SALT = 2
MIXING_SALT = 3
_SALTS_PER_PLACE = 16

# An image's uniform draws: flip, shift down and right, erasure; the policy's
# follow.
_FLIP, _DOWN, _RIGHT = range(3)
_ERASE = slice(3, 8)
_POLICY = 8

# Of an erased rectangle (arXiv 1708.04896, torchvision's numbers), and the
# mean colour of ImageNet, with which it is filled.
_ERASE_AREA = (0.02, 0.33)
_ERASE_ASPECT = (0.3, 3.3)
_ERASE_FILL = (123.675, 116.28, 103.53)

# RGB components of ImageNet's colours (pycls datasets/transforms.py, there
# for images in 0..1).
_PCA_VALUES = (0.2175, 0.0188, 0.0045)
_PCA_VECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)

# Of longer images, only the middle is scaled for evaluation: the whole of a
# strip one pixel high would not fit into memory.
_MAX_EVAL_ASPECT = 16


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
    interpolation: str = "bilinear"
    policy: str = "none"
    policy_layers: int = 2
    policy_magnitude: float = 9.0
    erasing: float = 0.0

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
            interpolation=config.interpolation,
            policy=config.auto_augment,
            policy_layers=config.randaugment_layers,
            policy_magnitude=config.randaugment_magnitude,
            erasing=config.random_erasing,
        )


@dataclasses.dataclass(frozen=True)
class Draws:
    """Random numbers of some images, or of one; float32 tensors.

    Args:
      tries: (..., 10, 4), of random crops: height and width as shares of the
        square root of the image's area, then top and left as shares of what
        is free.
      uniform: (..., n), in [0, 1).
      normal: (..., 3).
    """

    tries: tf.Tensor
    uniform: tf.Tensor
    normal: tf.Tensor

    def tensors(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the arguments, as tf.data can carry them."""
        return self.tries, self.uniform, self.normal


def draw_key(
    seed: int, epoch: tf.Tensor, place: tf.Tensor, salt: int = 0
) -> tf.Tensor:
    """Returns the key of the random numbers of a step.

    Args:
      seed: the run's seed, below 2**31.
      epoch: int64 scalar.
      place: int64 scalar, place of the step's first image in the epoch.
      salt: which stream of the step.

    Returns:
      int64 tensor (2,), different for every combination.
    """
    return tf.stack(
        [
            tf.cast(seed, tf.int64) * 2**32 + epoch,
            place * _SALTS_PER_PLACE + salt,
        ]
    )


def draw(
    augmentation: Augmentation,
    seed: int,
    epoch: tf.Tensor,
    place: tf.Tensor,
    count: int,
) -> Draws:
    """Returns the random numbers of a step's images.

    Args:
      augmentation: what they are for.
      seed: the run's seed.
      epoch: int64 scalar.
      place: int64 scalar, place of the first image in the epoch.
      count: number of images.

    Returns:
      `Draws` with a leading dimension of `count`.
    """

    def key(salt):
        return draw_key(seed, epoch, place, salt)

    per_policy = policies.DRAWS_PER_LAYER * augmentation.policy_layers
    return Draws(
        crop_tries(
            tf.random.stateless_uniform(
                [count, _CROP_TRIES, _DRAWS_PER_TRY], key(_CROP_SALT)
            ),
            augmentation.min_crop_area,
            augmentation.crop_aspect,
        ),
        tf.random.stateless_uniform(
            [count, _POLICY + per_policy], key(_UNIFORM_SALT)
        ),
        tf.random.stateless_normal([count, 3], key(_LIGHTING_SALT)),
    )


def train_image(
    source: tf.Tensor, augmentation: Augmentation, draws: Draws
) -> tf.Tensor:
    """Returns a training image.

    Args:
      source: uint8 tensor (height, width, 3) or the bytes of an image file.
      augmentation: what to do.
      draws: the image's random numbers.

    Returns:
      float32 tensor (image_size, image_size, 3).
    """
    uniform = draws.uniform
    image = _CROPS[augmentation.kind](source, augmentation, draws)
    if augmentation.flip:
        # Before it is scaled: the image is smaller, and in bytes.
        mirror = tf.stack([False, uniform[_FLIP] < 0.5, False])
        image = tf.raw_ops.Reverse(tensor=image, dims=mirror)
    size = augmentation.image_size
    image = _resize(
        image,
        [size, size],
        augmentation.antialias,
        augmentation.interpolation,
    )
    if augmentation.kind == "pad_crop":
        image = _shifted(image, uniform)
    image = tf.ensure_shape(image, [size, size, 3])
    if augmentation.policy != "none":
        image = _with_policy(image, augmentation, uniform[_POLICY:])
    if augmentation.pca_lighting_std:
        image += _pca_lighting(augmentation.pca_lighting_std * draws.normal)
    if augmentation.erasing:
        image = _erase(image, augmentation.erasing, uniform[_ERASE])
    return image


def eval_image(
    source: tf.Tensor,
    image_size: int,
    whole: bool,
    antialias: bool = False,
    crop_share: float = 224 / 256,
    interpolation: str = "bilinear",
) -> tf.Tensor:
    """Returns an evaluation image.

    Args:
      source: uint8 tensor (height, width, 3) or the bytes of an image file.
      image_size: side of the result.
      whole: scale the whole image to the size, for sets of small images of
        one size; otherwise scale the shorter side to image_size / crop_share
        and take the centre.
      antialias: average over source pixels where resizing makes smaller.
      crop_share: share of the shorter side that is seen.
      interpolation: a method of `tf.image.resize`.

    Returns:
      float32 tensor (image_size, image_size, 3).
    """
    image = image_files.decode(source)
    if whole:
        image = _resize(
            image, [image_size, image_size], antialias, interpolation
        )
    else:
        image = _middle(image)
        shape = tf.shape(image)[:2]
        shorter = round(image_size / crop_share)
        # The longer side is cut to an integer, as pycls does.
        scaled = shape * shorter // tf.reduce_min(shape)
        image = _resize(image, scaled, antialias, interpolation)
        top, left = tf.unstack((scaled - image_size + 1) // 2)
        image = tf.slice(image, [top, left, 0], [image_size, image_size, 3])
    return tf.ensure_shape(image, [image_size, image_size, 3])


def _middle(image):
    """Cuts what is too long to be scaled."""
    shape = tf.shape(image)[:2]
    size = tf.minimum(shape, _MAX_EVAL_ASPECT * tf.reduce_min(shape))
    window = tf.concat([(shape - size) // 2, size], axis=0)
    return images.slice_window(image, window)


def crop_tries(draws: tf.Tensor, min_area: float, aspect: str) -> tf.Tensor:
    """Returns the tries of random resized crops, whatever the image's size.

    Args:
      draws: float32 tensor (..., 10, 5), uniform in [0, 1).
      min_area: smallest share of the image; the largest is 1.
      aspect: "uniform_swapped": uniform in [3/4, 4/3], then height and width
        swapped half of the time (pycls); "log_uniform" (torchvision).

    Returns:
      float32 tensor (..., 10, 4), see `Draws`.
    """
    area, ratio, swap, y, x = tf.unstack(draws, axis=-1)
    area = min_area + area * (1 - min_area)
    if aspect == "log_uniform":
        ratio = _MIN_ASPECT * (_MAX_ASPECT / _MIN_ASPECT) ** ratio
    else:
        ratio = _MIN_ASPECT + ratio * (_MAX_ASPECT - _MIN_ASPECT)
        ratio = tf.where(swap < 0.5, 1 / ratio, ratio)
    return tf.stack(
        [tf.sqrt(area / ratio), tf.sqrt(area * ratio), y, x], axis=-1
    )


def crop_window(shape: tf.Tensor, tries: tf.Tensor) -> tf.Tensor:
    """Returns the window of a random resized crop.

    The first of ten tries that fits is taken. If none does, the central
    square.

    Args:
      shape: int32 tensor (2,), height and width of the image.
      tries: float32 tensor (10, 4), what `crop_tries` returned.

    Returns:
      int32 tensor (4,): top, left, height, width.
    """
    size = tf.cast(shape, tf.float32)
    sides = tf.round(tries[:, :2] * tf.sqrt(tf.reduce_prod(size)))
    fits = tf.reduce_all((sides >= 1) & (sides <= size), axis=1)
    # The square is an eleventh try, which fits: no branch, which is slow.
    square = tf.fill([1, 2], tf.reduce_min(size))
    first = tf.argmax(tf.concat([fits, [True]], axis=0))
    side = tf.concat([sides, square], axis=0)[first]
    share = tf.concat([tries[:, 2:], [[_CENTRE, _CENTRE]]], axis=0)[first]
    free = size - side
    # Rounding of a draw next to 1 must not leave the image.
    corner = tf.minimum(tf.floor(share * (free + 1)), free)
    return tf.cast(tf.concat([corner, side], axis=0), tf.int32)


def _random_resized_crop(source, augmentation, draws):
    del augmentation
    return images.read_window(
        source, lambda shape: crop_window(shape, draws.tries)
    )


def _whole(source, augmentation, draws):
    del augmentation, draws
    return image_files.decode(source)


_CROPS = {
    "random_resized_crop": _random_resized_crop,
    "pad_crop": _whole,
    "none": _whole,
}


def _shifted(image, uniform):
    """Pads by an eighth, and cuts at random."""
    size = image.shape[0]
    pad = size // 8
    image = tf.pad(image, [[pad, pad], [pad, pad], [0, 0]])
    top, left = tf.unstack(
        tf.cast(uniform[_DOWN : _RIGHT + 1] * (2 * pad + 1), tf.int32)
    )
    return tf.slice(image, [top, left, 0], [size, size, 3])


def _resize(image, size, antialias, interpolation):
    image = tf.image.resize(image, size, interpolation, antialias=antialias)
    # Bicubic interpolation leaves the range at edges.
    if interpolation == "bicubic":
        image = tf.clip_by_value(image, 0.0, 255.0)
    return tf.cast(image, tf.float32)


def _with_policy(image, augmentation, draws):
    pixels = tf.cast(tf.round(image), tf.uint8)
    layers = augmentation.policy_layers
    if augmentation.policy == "randaugment":
        pixels = policies.randaugment(
            pixels, draws, layers, augmentation.policy_magnitude
        )
    else:
        pixels = policies.trivialaugment(
            pixels, draws[: policies.DRAWS_PER_LAYER]
        )
    return tf.cast(pixels, tf.float32)


def _erase(image, probability, draws):
    """Fills a rectangle of random area and aspect with the mean colour."""
    low, high = _ERASE_AREA
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    area = (low + draws[1] * (high - low)) * size[0] * size[1]
    low, high = _ERASE_ASPECT
    ratio = low * (high / low) ** draws[2]
    sides = tf.round(tf.stack([tf.sqrt(area * ratio), tf.sqrt(area / ratio)]))
    # torchvision draws again where the rectangle is too large: rare here.
    sides = tf.minimum(sides, size)
    corner = tf.floor(draws[3:] * (size - sides + 1))
    corner = tf.cast(tf.minimum(corner, size - sides), tf.int32)
    erased = inside(
        tf.shape(image)[:2], corner, corner + tf.cast(sides, tf.int32)
    )
    erased &= draws[0] < probability
    return tf.where(erased, tf.constant(_ERASE_FILL), image)


def inside(shape: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """Returns where a rectangle is.

    Args:
      shape: int32 tensor (2,), height and width.
      low: int32 tensor (2,), its top and left.
      high: int32 tensor (2,), its bottom and right, no part of it.

    Returns:
      bool tensor (height, width, 1).
    """
    rows, columns = tf.range(shape[0]), tf.range(shape[1])
    in_rows = (rows >= low[0]) & (rows < high[0])
    in_columns = (columns >= low[1]) & (columns < high[1])
    return (in_rows[:, None] & in_columns[None])[..., None]


def _pca_lighting(alpha):
    return 255 * tf.linalg.matvec(
        tf.constant(_PCA_VECTORS), alpha * tf.constant(_PCA_VALUES)
    )
