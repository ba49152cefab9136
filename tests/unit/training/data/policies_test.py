"""Tests of the augmentation policies against Pillow."""

import math

import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized
from PIL import Image
from PIL import ImageEnhance
from PIL import ImageOps

from tests.support import training_testing
from training.data import randaugment

RANGES = randaugment.RANDAUGMENT
_SHEAR, _SHIFT = 0.3, math.floor(80 * 150 / 331 * 0.8)


def photo():
    """An RGB image that uses most, not all, of the range."""
    pixels = tf.io.decode_jpeg(training_testing.jpeg((60, 80))).numpy()
    return (20 + pixels * 0.8).astype(np.uint8)


def affine(image, *matrix):
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )


# What Pillow does for a strength of 0.8 and a positive sign.
_PILLOW = {
    "identity": lambda image: image,
    "shear_x": lambda image: affine(image, 1, 0.8 * _SHEAR, 0, 0, 1, 0),
    "shear_y": lambda image: affine(image, 1, 0, 0, 0.8 * _SHEAR, 1, 0),
    "translate_x": lambda image: affine(image, 1, 0, _SHIFT, 0, 1, 0),
    "translate_y": lambda image: affine(
        image, 1, 0, 0, 0, 1, math.floor(60 * 150 / 331 * 0.8)
    ),
    "rotate": lambda image: image.rotate(24, Image.Resampling.BILINEAR),
    "brightness": lambda image: ImageEnhance.Brightness(image).enhance(1.72),
    "color": lambda image: ImageEnhance.Color(image).enhance(1.72),
    "contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.72),
    "sharpness": lambda image: ImageEnhance.Sharpness(image).enhance(1.72),
    "posterize": lambda image: ImageOps.posterize(image, 8 - 3),
    "solarize": lambda image: ImageOps.solarize(image, 51),
    "autocontrast": ImageOps.autocontrast,
    "equalize": ImageOps.equalize,
}
# Rounding: Pillow interpolates in fixed point and truncates when it blends.
_EXACT = ("identity", "posterize", "solarize", "equalize", "translate_x",
          "translate_y")  # fmt: skip


class OperationsTest(parameterized.TestCase):
    @parameterized.parameters(*randaugment.OPERATIONS)
    def test_is_pillows(self, name):
        image = photo()
        found = randaugment.apply(name, tf.constant(image), 0.8, 1.0, RANGES)
        expected = np.asarray(_PILLOW[name](Image.fromarray(image)), int)
        difference = np.abs(np.asarray(found, int) - expected)
        if name in _EXACT:
            self.assertEqual(difference.max(), 0)
            return
        if name in ("shear_x", "shear_y", "rotate"):
            # At the border of what is outside, Pillow does not blend with 0.
            difference = np.sort(difference, axis=None)[: -image.size // 20]
        self.assertLessEqual(difference.max(), 2)

    @parameterized.parameters("brightness", "color", "contrast", "sharpness")
    def test_the_other_direction(self, name):
        image = photo()
        found = randaugment.apply(name, tf.constant(image), 0.8, -1.0, RANGES)
        enhancer = {
            "brightness": ImageEnhance.Brightness,
            "color": ImageEnhance.Color,
            "contrast": ImageEnhance.Contrast,
            "sharpness": ImageEnhance.Sharpness,
        }[name]
        expected = enhancer(Image.fromarray(image)).enhance(1 - 0.72)
        difference = np.abs(np.asarray(found, int) - np.asarray(expected, int))
        self.assertLessEqual(difference.max(), 2)

    @parameterized.product(
        name=randaugment.OPERATIONS, value=(0, 255), side=(1, 33)
    )
    def test_flat_images(self, name, value, side):
        image = tf.fill([side, side, 3], tf.constant(value, tf.uint8))
        found = randaugment.apply(
            name, image, 1.0, 1.0, randaugment.TRIVIAL_WIDE
        )
        self.assertEqual(found.shape, image.shape)
        self.assertEqual(found.dtype, tf.uint8)

    @parameterized.parameters("autocontrast", "equalize")
    def test_flat_images_stay(self, name):
        image = np.full((20, 20, 3), (9, 99, 199), np.uint8)
        found = randaugment.apply(name, tf.constant(image), 1.0, 1.0, RANGES)
        np.testing.assert_array_equal(found, image)


class PoliciesTest(parameterized.TestCase):
    def test_every_operation_is_drawn(self):
        """Draws in the middle of each operation's share give that one."""
        image = tf.constant(photo())
        for number, name in enumerate(randaugment.OPERATIONS):
            uniform = [(number + 0.5) / len(randaugment.OPERATIONS), 0.0, 0.9]
            found = randaugment.randaugment(
                image, tf.constant(uniform), 1, 24.0
            )
            expected = randaugment.apply(name, image, 0.8, -1.0, RANGES)
            np.testing.assert_array_equal(found, expected, name)

    def test_layers_follow_each_other(self):
        image = tf.constant(photo())
        uniform = np.random.default_rng(2).random(6).astype("float32")
        once = randaugment.randaugment(image, uniform[:3], 1, 9.0)
        twice = randaugment.randaugment(once, uniform[3:], 1, 9.0)
        found = randaugment.randaugment(image, uniform, 2, 9.0)
        np.testing.assert_array_equal(found, twice)

    def test_trivialaugment_uniform_its_strength(self):
        image = tf.constant(photo())
        brightness = randaugment.OPERATIONS.index("brightness") + 0.5
        which = brightness / len(randaugment.OPERATIONS)
        for draw, level in ((0.0, 0), (0.5, 15), (0.999, 30)):
            found = randaugment.trivialaugment(
                image, tf.constant([which, draw, 0.0])
            )
            expected = ImageEnhance.Brightness(
                Image.fromarray(image.numpy())
            ).enhance(1 + 0.99 * level / 30)
            np.testing.assert_allclose(
                np.asarray(found, int), np.asarray(expected, int), atol=1
            )


if __name__ == "__main__":
    absltest.main()
