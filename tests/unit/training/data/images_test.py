"""Tests of reading image files, of all the kinds that folders hold."""

import io

import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized
from PIL import Image
from PIL import ImageOps

from keras_regnet import image_files
from keras_regnet import images
from tests.support import training_testing
from training.data import augment
from training.data import decode

_ORIENTATION = 0x0112
# TensorFlow and Pillow may link different versions of libjpeg.
_DECODERS_DIFFER = 1


CROP = augment.Augmentation(
    "random_resized_crop", 32, 0.08, "log_uniform", True, 0.0, False
)


def pixels(side=(40, 50), grey=False):
    smooth = image_files.decode(
        tf.constant(training_testing.jpeg(side))
    ).numpy()
    if grey:
        smooth[:] = smooth.mean(-1, keepdims=True).astype(np.uint8)
    return smooth


def encode(array, kind, mode="RGB", **options):
    file = io.BytesIO()
    Image.fromarray(array).convert(mode).save(file, kind, **options)
    return file.getvalue()


def rotated(orientation):
    exif = Image.Exif()
    exif[0x010F] = "A maker of cameras"
    exif[_ORIENTATION] = orientation
    return encode(pixels(), "jpeg", exif=exif, quality=95, subsampling=0)


def as_pillow(contents):
    image = Image.open(io.BytesIO(contents))
    return np.asarray(ImageOps.exif_transpose(image).convert("RGB"), int)


class FormatsTest(parameterized.TestCase):
    @parameterized.parameters("png", "bmp", "gif", "L", "RGBA", "LA", "P", "1")
    def test_lossless_files_become_rgb(self, kind):
        array = pixels(grey=True)
        if kind == "1":
            array = np.where(array > 128, 255, 0).astype(np.uint8)
        if kind in ("png", "bmp", "gif"):
            contents = encode(array, kind)
        else:
            contents = encode(array, "png", kind)
        expected = as_pillow(contents)
        np.testing.assert_array_equal(
            image_files.decode(tf.constant(contents)), expected
        )
        if kind != "P":
            np.testing.assert_array_equal(expected, array)

    def test_a_mode_of_its_own_for_jpeg(self):
        for mode in ("L", "CMYK"):
            contents = encode(pixels(), "jpeg", mode, quality=95, subsampling=0)
            np.testing.assert_allclose(
                image_files.decode(tf.constant(contents)),
                as_pillow(contents),
                atol=_DECODERS_DIFFER,
            )

    @parameterized.parameters(*range(1, 9))
    def test_exif_orientation_is_obeyed(self, orientation):
        contents = rotated(orientation)
        self.assertEqual(image_files.exif_orientation(tf.constant(contents)),
                         orientation)  # fmt: skip
        expected = as_pillow(contents)
        found = image_files.decode(tf.constant(contents))
        self.assertEqual(found.shape, expected.shape)
        np.testing.assert_allclose(found, expected, atol=_DECODERS_DIFFER)
        tries = tf.random.stateless_uniform([10, 4], (1, 2), 0.2, 0.8)
        top, left, height, width = decode.crop_window(
            expected.shape[:2], tries
        ).numpy()
        np.testing.assert_array_equal(
            decode.decode_crop(tf.constant(contents), tries),
            found[top : top + height, left : left + width],
        )

    def test_big_endian_exif_behind_jfif(self):
        plain = encode(pixels(), "jpeg", quality=95, subsampling=0)
        self.assertEqual(plain[2:4], b"\xff\xe0")
        tiff = (b"MM\0\x2a\0\0\0\x08" b"\0\x01" b"\x01\x12\0\x03\0\0\0\x01"
                b"\0\x06\0\0" b"\0\0\0\0")  # fmt: skip
        body = b"Exif\0\0" + tiff
        segment = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
        contents = plain[:20] + segment + plain[20:]
        self.assertEqual(image_files.exif_orientation(tf.constant(contents)), 6)
        np.testing.assert_allclose(
            image_files.decode(tf.constant(contents)),
            as_pillow(contents),
            atol=_DECODERS_DIFFER,
        )

    @parameterized.parameters(
        b"", b"\xff\xd8\xff", b"\xff\xd8\xff\xe1\0\x08Exif\0\0",
        b"\xff\xd8\xff\xe1\0\x0eExif\0\0II\x2a\0\xff\xff\xff\xff",
        b"\xff\xd8\xff\xe1\0\x0eExif\0\0II\x2a\0\xff\xff\xff\x7f\xff\xff",
    )  # fmt: skip
    def test_broken_exif_counts_as_none(self, contents):
        self.assertEqual(image_files.exif_orientation(tf.constant(contents)), 1)

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
