"""Tests of the crops of image files."""

import io

import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized
from PIL import Image

from keras_regnet import image_files
from keras_regnet import images
from keras_regnet.center_crop import CenterCrop
from tests.support import training_testing
from training.data import augment
from training.data import decode

_ORIENTATION = 0x0112

CROP = augment.Augmentation(
    "random_resized_crop", (32, 32), 0.08, "log_uniform", True, 0.0,
    CenterCrop(), True,
)  # fmt: skip


def pixels():
    return image_files.decode(
        tf.constant(training_testing.jpeg((40, 50)))
    ).numpy()


def encode(array, kind, mode="RGB", **options):
    file = io.BytesIO()
    Image.fromarray(array).convert(mode).save(file, kind, **options)
    return file.getvalue()


def rotated(orientation):
    exif = Image.Exif()
    exif[0x010F] = "A maker of cameras"
    exif[_ORIENTATION] = orientation
    return encode(pixels(), "jpeg", exif=exif, quality=95, subsampling=0)


class CropsTest(parameterized.TestCase):
    @parameterized.parameters(*range(1, 9))
    def test_crops_are_of_the_turned_image(self, orientation):
        contents = tf.constant(rotated(orientation))
        whole = image_files.decode(contents)
        tries = tf.random.stateless_uniform([10, 4], (1, 2), 0.2, 0.8)
        top, left, height, width = decode.crop_window(
            whole.shape[:2], tries
        ).numpy()
        np.testing.assert_array_equal(
            decode.decode_crop(contents, tries),
            whole[top : top + height, left : left + width],
        )

    @parameterized.parameters((1, 1), (1, 40), (40, 1), (1, 5000))
    def test_single_pixels(self, *side):
        array = np.full((*side, 3), (200, 100, 50), np.uint8)
        zero = tf.constant(0, tf.int64)
        random = augment.sample(CROP, 0, zero, zero, 1)
        random = tf.nest.map_structure(lambda values: values[0], random)
        for kind in ("png", "jpeg"):
            contents = tf.constant(encode(array, kind))
            for image in (
                images.resize_and_crop(image_files.decode(contents), 37, 32),
                augment.augment_image(
                    decode.decode_crop(contents, random.crop_tries),
                    CROP,
                    random,
                ),
            ):  # fmt: skip
                self.assertEqual(image.shape, (32, 32, 3))
                np.testing.assert_allclose(image[16, 16], (200, 100, 50),
                                           atol=4)  # fmt: skip


if __name__ == "__main__":
    absltest.main()
