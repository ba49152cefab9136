"""Tests of resizing and cropping."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import images


def columns(height, width):
    """An image whose pixels hold the number of their column."""
    row = np.arange(width, dtype="float32")
    return np.broadcast_to(row[None, :, None], (height, width, 3))


class ResizeAndCropTest(parameterized.TestCase):
    @parameterized.parameters(
        ("up", 3, 2), ("down", 3, 1), ("even", 3, 2), ("up", 5, 3),
        ("down", 5, 2), ("even", 5, 2), ("even", 4, 2),
    )  # fmt: skip
    def test_odd_margins(self, rounding, margin, first):
        image = columns(40, 40 + margin)
        crop = images.resize_and_crop(image, 40, 40, crop_rounding=rounding)
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(crop), image[:, first : first + 40]
        )

    @parameterized.parameters(
        (300, 421), (421, 300), (64, 64), (3, 500), (500, 3), (1, 1)
    )
    def test_sizes_known_and_unknown_agree(self, height, width):
        image = columns(height, width)
        known = images.resize_and_crop(tf.constant(image), 56, 48)
        unknown = tf.function(
            lambda x: images.resize_and_crop(x, 56, 48),
            input_signature=[tf.TensorSpec([None, None, 3])],
        )
        self.assertEqual(known.shape, (48, 48, 3))
        np.testing.assert_array_equal(unknown(image), known)
        by_keras = images.resize_and_crop(
            keras.ops.convert_to_tensor(image), 56, 48
        )
        np.testing.assert_allclose(by_keras, known, atol=1e-3)

    @parameterized.parameters(
        (100, 100, (64, 128)), (50, 200, (64, 128)), (200, 50, (128, 64))
    )
    def test_covers_what_is_not_square(self, height, width, size):
        scale = max(size[0] / height, size[1] / width)
        expected = tf.image.resize(
            columns(height, width), [int(height * scale), int(width * scale)]
        )
        top, left = (
            (whole - part + 1) // 2
            for whole, part in zip(expected.shape, size, strict=False)
        )
        np.testing.assert_array_equal(
            images.resize_and_crop(
                tf.constant(columns(height, width)), size, size
            ),
            expected[top : top + size[0], left : left + size[1]],
        )

    def test_strips_are_cut_before_they_are_scaled(self):
        """Scaled whole, this one would take 35 GB."""
        strip = tf.zeros([1, 50_000, 3], tf.uint8)
        crop = images.resize_and_crop(strip, 256, 224)
        self.assertEqual(crop.shape, (224, 224, 3))

    def test_integers_stay_in_range(self):
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 2, (40, 50, 3)) * 255.0
        crop = images.resize_and_crop(
            noise.astype("float32"), 60, 56, interpolation="bicubic",
            to_integers=True,
        )  # fmt: skip
        crop = keras.ops.convert_to_numpy(crop)
        np.testing.assert_array_equal(crop, np.round(crop))
        self.assertEqual((crop.min(), crop.max()), (0, 255))


if __name__ == "__main__":
    absltest.main()
