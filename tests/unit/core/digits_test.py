"""Tests of the digits that ship with the package."""

import numpy as np
from absl.testing import absltest

from keras_regnet import digits


class DigitsTest(absltest.TestCase):
    def test_the_splits_are_the_published_set(self):
        train, test = digits.load("train"), digits.load("test")
        self.assertLen(train.images, 1437)
        self.assertLen(test.images, 360)
        # Class counts of the UCI test file, 178 zeros to 180 nines.
        np.testing.assert_array_equal(
            np.bincount(train.labels) + np.bincount(test.labels),
            [178, 182, 177, 183, 181, 182, 181, 179, 174, 180],
        )

    def test_the_test_split_is_stratified(self):
        counts = np.bincount(digits.load("test").labels)
        self.assertLessEqual(counts.max() - counts.min(), 2)

    def test_images_are_grey_rgb_over_the_whole_range(self):
        images = digits.load("train").images
        self.assertEqual(images.dtype, np.uint8)
        self.assertEqual(images.shape[1:], (8, 8, 3))
        self.assertEqual((images.min(), images.max()), (0, 255))
        np.testing.assert_array_equal(images[..., 0], images[..., 2])

    def test_no_image_is_in_both_splits(self):
        train = {image.tobytes() for image in digits.load("train").images}
        test = {image.tobytes() for image in digits.load("test").images}
        self.assertEmpty(train & test)

    def test_unknown_split(self):
        with self.assertRaisesRegex(ValueError, "split='val'"):
            digits.load("val")


if __name__ == "__main__":
    absltest.main()
