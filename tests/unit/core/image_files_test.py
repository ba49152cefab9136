"""Tests that image files become the pixels that Pillow reads."""

import warnings

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import image_bytes
from keras_regnet import image_files
from tests.support import image_corpus

pytestmark = pytest.mark.versions

# TensorFlow and Pillow may link different versions of libjpeg.
_DECODERS_DIFFER = 1
# Pillow rounds a weighted sum, TensorFlow floating-point numbers.
_GRAY_DIFFERS = 1

_FILE = [tf.TensorSpec([], tf.string)]
_decode = tf.function(image_files.decode, _FILE, autograph=False)


@tf.function(input_signature=_FILE, autograph=False)
def _decode_gray(source):
    return image_files.decode(source, channels=1)


def decode(contents):
    return _decode(tf.constant(contents)).numpy()


def refusal(contents):
    """Returns why a file is refused."""
    try:
        decode(contents)
    except tf.errors.InvalidArgumentError as error:
        return image_bytes.reason(error)
    raise AssertionError("The file was read.")


class ImageFilesTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Traces, which takes a second.
        decode(image_corpus.encode(image_corpus.photo(), "png"))

    def assert_pillows(self, contents, tolerance=0):
        with warnings.catch_warnings():
            # Of Exif data that are not as they should be.
            warnings.simplefilter("ignore", UserWarning)
            expected = image_corpus.by_pillow(contents).astype(int)
        found = decode(contents)
        self.assertEqual(found.shape, expected.shape)
        np.testing.assert_allclose(found, expected, atol=tolerance)

    @parameterized.parameters("pngs", "bmps", "gifs", "partial_gifs", "webps")
    def test_lossless_files(self, kind):
        for name, contents in getattr(image_corpus, kind)().items():
            with self.subTest(name):
                self.assert_pillows(contents)

    def test_jpegs(self):
        for name, contents in image_corpus.jpegs().items():
            with self.subTest(name):
                self.assert_pillows(contents, _DECODERS_DIFFER)

    def test_outside_of_a_graph(self):
        for kind in ("jpegs", "pngs", "bmps", "gifs", "webps"):
            contents = list(getattr(image_corpus, kind)().values())[-1]
            np.testing.assert_array_equal(
                image_files.decode(tf.constant(contents)), decode(contents)
            )

    def test_what_pillow_does_not_read_as_pixels(self):
        for name, (contents, pixels) in image_corpus.others().items():
            with self.subTest(name):
                np.testing.assert_array_equal(decode(contents), pixels)

    def test_gray(self):
        for kind in ("jpegs", "pngs", "bmps", "gifs", "webps"):
            contents = next(iter(getattr(image_corpus, kind)().values()))
            found = _decode_gray(tf.constant(contents)).numpy()[..., 0]
            np.testing.assert_allclose(
                found.astype(int),
                image_corpus.by_pillow(contents, "L").astype(int),
                atol=_GRAY_DIFFERS,
            )

    @parameterized.parameters("jpegs", "bmps", "gifs", "webps", "pngs")
    def test_truncated_files_are_refused(self, kind):
        contents = next(iter(getattr(image_corpus, kind)().values()))
        for count in (3, 12, 20, 40, len(contents) // 2, len(contents) - 12):
            self.assertNotEmpty(refusal(contents[:count]))

    def test_broken_exif_counts_as_none(self):
        jfif = image_corpus.jpegs()["jfif"]
        for body in (
            b"", b"II", b"II\x2a\0", b"II\x2a\0\xff\xff\xff\xff\0\0",
            b"II\x2a\0\xff\xff\xff\x7f" + bytes(20),
            b"II\x2a\0\x08\0\0\0\xff\xff" + bytes(24),
            b"MM\0\x2a\0\0\0\x08\xff\xff" + bytes(24), b"XX" + bytes(40),
        ):  # fmt: skip
            segment = image_corpus.segment(0xE1, b"Exif\0\0" + body)
            np.testing.assert_array_equal(
                decode(jfif[:20] + segment + jfif[20:]), decode(jfif)
            )

    def test_refused_with_advice(self):
        for contents in (b"", b"nothing", b"II\x2a\0 a TIFF file", b"\xff\xd8"):
            self.assertIn("neither JPEG, PNG, GIF, BMP nor WebP: convert it",
                          refusal(contents))  # fmt: skip
        for contents in image_corpus.run_length_bmps().values():
            self.assertIn("run lengths", refusal(contents))
            self.assertIn("convert it to PNG", refusal(contents))
        bmp = image_corpus.bmps()["8 bits"]
        self.assertEqual(
            refusal(bmp[:10] + bytes(4) + bmp[14:]),
            "the pixels begin too early",
        )

    def test_sizes_beyond_the_limit_are_refused_before_they_are_taken(self):
        for name, contents in image_corpus.bombs().items():
            with self.subTest(name):
                reason = refusal(contents)
                if "jpeg" in name:
                    self.assertIn("Invalid JPEG data", reason)
                else:
                    self.assertEqual(
                        reason,
                        "the file declares more than 178956970 pixels",
                    )

    def test_a_whole_jpeg_that_is_not_turned_is_plain(self):
        files = image_corpus.jpegs()
        for name, plain in (
            ("jfif", True), ("no segments", True), ("progressive", True),
            ("icc before exif", False), ("xmp alone", False),
            ("exif before the scan", False),
        ):  # fmt: skip
            source = tf.constant(files[name])
            self.assertEqual(image_files.is_plain_jpeg(source), plain)
        cut = tf.constant(files["jfif"][:-2])
        self.assertFalse(image_files.is_plain_jpeg(cut))


if __name__ == "__main__":
    absltest.main()
