"""Stateless augmentation: pure functions of (image, random numbers).

The random numbers of a step are sampled at once, by a key of seed, epoch and
position in the epoch. Nothing is kept between images, so order of execution,
number of threads and restarts change nothing. Images are RGB in 0..255.

TensorFlow spends some microseconds on each operation in a tf.data map, however
small: what need not be done image by image is done in `sample`.
"""

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from keras_regnet import images as images_lib
from keras_regnet.center_crop import CenterCrop
from training.config import config as train_config
from training.data import decode
from training.data import randaugment

# Salts keep the streams of one position apart.
_CROP_SALT = 0
_LIGHTING_SALT = 1
_UNIFORM_SALT = 2
MIXING_SALT = 3
_SALTS_PER_POSITION = 16

# An image's uniform numbers: flip, shift down and right, erasure; the policy's
# follow.
_FLIP, _DOWN, _RIGHT = range(3)
_ERASE = slice(3, 8)
_POLICY = 8

# Of an erased rectangle (arXiv 1708.04896, torchvision's numbers), and the
# mean color of ImageNet, with which it is filled.
_ERASE_AREA = (0.02, 0.33)
_ERASE_ASPECT = (0.3, 3.3)
_ERASE_FILL = (123.675, 116.28, 103.53)

# RGB components of ImageNet's colors (pycls datasets/transforms.py, there
# for images in 0..1).
_PCA_VALUES = (0.2175, 0.0188, 0.0045)
_PCA_VECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What happens to a training image; see `TrainConfig` for the fields.

    `crop` and `whole` are those of `fit`; what was cropped at random is scaled
    whole. `image_size` is (height, width).
    """

    kind: str
    image_size: tuple[int, int]
    min_crop_area: float
    crop_aspect: str
    flip: bool
    pca_lighting_std: float
    crop: CenterCrop
    whole: bool
    policy: str = "none"
    policy_layers: int = 2
    policy_magnitude: float = 9.0
    erasing: float = 0.0

    @classmethod
    def from_config(
        cls, config: train_config.TrainConfig, small_images: bool
    ) -> "Augmentation":
        """Returns what a configuration asks for: "auto" depends on the set."""
        kind = config.augmentation
        if kind == "auto":
            kind = "pad_crop" if small_images else "random_resized_crop"
        return cls(
            kind=kind,
            image_size=config.training_size(),
            min_crop_area=config.min_crop_area,
            crop_aspect=config.crop_aspect,
            flip=config.flip,
            pca_lighting_std=config.pca_lighting_std,
            crop=crop_of(config.center_crop(), small_images),
            whole=kind == "random_resized_crop",
            policy=config.auto_augment,
            policy_layers=config.randaugment_layers,
            policy_magnitude=config.randaugment_magnitude,
            erasing=config.random_erasing,
        )


def crop_of(crop: CenterCrop, small_images: bool) -> CenterCrop:
    """Returns how images are scaled and cropped: small ones to their edges."""
    return dataclasses.replace(crop, fraction=1.0) if small_images else crop


def fit(
    image: tf.Tensor, size: tuple[int, int], crop: CenterCrop, whole: bool
) -> tf.Tensor:
    """Returns an image in the size of a network's input.

    It is the same in training as in evaluation.

    Args:
      image: (height, width, 3) in 0..255.
      size: height and width in pixels.
      crop: what part of the image is seen, and how it is scaled.
      whole: whether to scale height and width to the size instead, whatever
        the aspect.

    Returns:
      float32 tensor (height, width, 3).
    """
    prepare = images_lib.scale_whole if whole else images_lib.center_crop
    return tf.ensure_shape(prepare(image, size, crop), [*size, 3])


class RandomNumbers(NamedTuple):
    """Random numbers of some images, or of one; float32 tensors.

    Args:
      crop_tries: (..., 10, 4), see `decode.crop_tries`.
      uniform: (..., n), in [0, 1).
      normal: (..., 3).
    """

    crop_tries: tf.Tensor
    uniform: tf.Tensor
    normal: tf.Tensor


def random_key(
    seed: int, epoch: tf.Tensor, position: tf.Tensor, salt: int = 0
) -> tf.Tensor:
    """Returns the key of the random numbers of a step.

    Args:
      seed: the run's seed, below 2**31.
      epoch: int64 scalar.
      position: int64 scalar, position of the step's first image in the epoch.
      salt: which stream of the step.

    Returns:
      int64 tensor (2,), different for every combination.
    """
    return tf.stack(
        [
            tf.cast(seed, tf.int64) * 2**32 + epoch,
            position * _SALTS_PER_POSITION + salt,
        ]
    )


def sample(
    augmentation: Augmentation,
    seed: int,
    epoch: tf.Tensor,
    position: tf.Tensor,
    count: int,
) -> RandomNumbers:
    """Returns the random numbers of a step's images.

    Args:
      augmentation: what they are for.
      seed: the run's seed.
      epoch: int64 scalar.
      position: int64 scalar, position of the first image in the epoch.
      count: number of images.

    Returns:
      `RandomNumbers` with a leading dimension of `count`.
    """

    def key(salt):
        return random_key(seed, epoch, position, salt)

    per_policy = randaugment.NUMBERS_PER_LAYER * augmentation.policy_layers
    return RandomNumbers(
        decode.crop_tries(
            tf.random.stateless_uniform(
                [count, decode.CROP_TRIES, decode.NUMBERS_PER_TRY],
                key(_CROP_SALT),
            ),
            augmentation.min_crop_area,
            augmentation.crop_aspect,
            augmentation.image_size[1] / augmentation.image_size[0],
        ),
        tf.random.stateless_uniform(
            [count, _POLICY + per_policy], key(_UNIFORM_SALT)
        ),
        tf.random.stateless_normal([count, 3], key(_LIGHTING_SALT)),
    )


def augment_image(
    image: tf.Tensor, augmentation: Augmentation, random: RandomNumbers
) -> tf.Tensor:
    """Returns a decoded image as a training image.

    Args:
      image: uint8 tensor (height, width, 3): a random crop, or the whole.
      augmentation: what to do.
      random: the image's random numbers.

    Returns:
      float32 tensor (*image_size, 3).
    """
    uniform = random.uniform
    if augmentation.flip:
        # Before it is scaled: the image is smaller, and in bytes.
        mirror = tf.stack([False, uniform[_FLIP] < 0.5, False])
        image = tf.raw_ops.Reverse(tensor=image, dims=mirror)
    image = fit(
        image,
        augmentation.image_size,
        augmentation.crop,
        augmentation.whole,
    )
    if augmentation.kind == "pad_crop":
        image = _shifted(image, uniform)
    if augmentation.policy != "none":
        image = _with_policy(image, augmentation, uniform[_POLICY:])
    if augmentation.pca_lighting_std:
        image += _pca_lighting(augmentation.pca_lighting_std * random.normal)
    if augmentation.erasing:
        image = _erase(image, augmentation.erasing, uniform[_ERASE])
    return image


def _shifted(image, uniform):
    """Pads by an eighth, and cuts at random."""
    height, width, _ = image.shape
    down, right = height // 8, width // 8
    image = tf.pad(image, [[down, down], [right, right], [0, 0]])
    shifts = tf.constant([2 * down + 1, 2 * right + 1], tf.float32)
    top, left = tf.unstack(
        tf.cast(uniform[_DOWN : _RIGHT + 1] * shifts, tf.int32)
    )
    return tf.slice(image, [top, left, 0], [height, width, 3])


def _with_policy(image, augmentation, uniform):
    pixels = tf.cast(tf.round(image), tf.uint8)
    layers = augmentation.policy_layers
    if augmentation.policy == "randaugment":
        pixels = randaugment.randaugment(
            pixels, uniform, layers, augmentation.policy_magnitude
        )
    else:
        pixels = randaugment.trivialaugment(
            pixels, uniform[: randaugment.NUMBERS_PER_LAYER]
        )
    return tf.cast(pixels, tf.float32)


def _erase(image, probability, uniform):
    """Fills a rectangle of random area and aspect with the mean color."""
    low, high = _ERASE_AREA
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    area = (low + uniform[1] * (high - low)) * size[0] * size[1]
    low, high = _ERASE_ASPECT
    ratio = low * (high / low) ** uniform[2]
    sides = tf.round(tf.stack([tf.sqrt(area * ratio), tf.sqrt(area / ratio)]))
    # torchvision uniform again where the rectangle is too large: rare here.
    sides = tf.minimum(sides, size)
    corner = tf.floor(uniform[3:] * (size - sides + 1))
    corner = tf.cast(tf.minimum(corner, size - sides), tf.int32)
    erased = inside(
        tf.shape(image)[:2], corner, corner + tf.cast(sides, tf.int32)
    )
    erased &= uniform[0] < probability
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
