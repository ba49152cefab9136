"""Tests of the stateless augmentation."""

import dataclasses

import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import image_files
from keras_regnet import images
from keras_regnet.center_crop import CenterCrop
from tests.support import training_testing
from training.data import augment
from training.data import decode

PAPER = augment.Augmentation(
    kind="random_resized_crop",
    image_size=(32, 32),
    min_crop_area=0.08,
    crop_aspect="uniform_swapped",
    flip=True,
    pca_lighting_std=0.1,
    crop=CenterCrop(),
    whole=True,
)
PAD_CROP = dataclasses.replace(PAPER, kind="pad_crop", pca_lighting_std=0.0)


def train_image(source, augmentation=PAPER, seed=0, epoch=0, index=0):
    epoch, index = (tf.constant(value, tf.int64) for value in (epoch, index))
    random = augment.sample(augmentation, seed, epoch, index, 1)
    random = tf.nest.map_structure(lambda values: values[0], random)
    return augmented(tf.constant(source), augmentation, random).numpy()


def augmented(source, augmentation, random):
    if augmentation.kind == "random_resized_crop":
        pixels = decode.decode_crop(source, random.crop_tries)
    else:
        pixels = image_files.decode(source)
    return augment.augment_image(pixels, augmentation, random)


class PurityTest(parameterized.TestCase):
    @parameterized.named_parameters(("paper", PAPER), ("pad_crop", PAD_CROP))
    def test_the_same_key_gives_the_same_image(self, augmentation):
        source = training_testing.jpeg()
        first = train_image(source, augmentation, seed=3, epoch=4, index=5)
        train_image(source, augmentation, seed=3, epoch=4, index=6)
        again = train_image(source, augmentation, seed=3, epoch=4, index=5)
        np.testing.assert_array_equal(first, again)

    @parameterized.parameters("seed", "epoch", "index")
    def test_every_part_of_the_key_counts(self, part):
        source = training_testing.jpeg()
        first = train_image(source)
        other = train_image(source, **{part: 1})
        self.assertGreater(np.abs(first - other).max(), 1)

    def test_parallel_maps_agree_with_one_image_at_a_time(self):
        source = training_testing.jpeg()

        random = augment.sample(
            PAPER, 1, tf.constant(2, tf.int64), tf.constant(40, tf.int64), 20
        )
        one_by_one, parallel = (
            tf.data.Dataset.from_tensor_slices({"random": random}).map(
                lambda element: augmented(
                    tf.constant(source), PAPER, element["random"]
                ),
                calls,
            )
            for calls in (None, tf.data.AUTOTUNE)
        )
        for image, other in zip(one_by_one, parallel, strict=True):
            np.testing.assert_array_equal(image, other)

    def test_keys_of_different_images_differ(self):
        keys = {
            tuple(
                augment.random_key(
                    seed, tf.constant(epoch, tf.int64), tf.constant(index), salt
                ).numpy()
            )
            for seed in (0, 1, 2**31 - 1)
            for epoch in (0, 1, 10**6)
            for index in (np.int64(0), np.int64(1), np.int64(2**31))
            for salt in (0, 1)
        }
        self.assertLen(keys, 54)


class CropTest(parameterized.TestCase):
    @parameterized.product(
        shape=[(60, 80), (1, 1), (1, 500), (500, 2), (33, 32)],
        aspect=["uniform_swapped", "log_uniform"],
    )
    def test_windows_lie_within_the_image(self, shape, aspect):
        rng = np.random.default_rng(0)
        for _ in range(30):
            uniform = tf.constant(rng.random((10, 5)), tf.float32)
            top, left, height, width = decode.crop_window(
                tf.constant(shape), decode.crop_tries(uniform, 0.08, aspect)
            ).numpy()
            self.assertBetween(top, 0, shape[0] - height)
            self.assertBetween(left, 0, shape[1] - width)
            self.assertGreater(min(height, width), 0)

    @parameterized.parameters("uniform_swapped", "log_uniform")
    def test_area_and_aspect_have_the_stated_ranges(self, aspect):
        rng = np.random.default_rng(1)
        windows = np.array(
            [
                decode.crop_window(
                    tf.constant([1000, 1000]),
                    decode.crop_tries(
                        tf.constant(rng.random((10, 5)), tf.float32),
                        0.08,
                        aspect,
                    ),
                ).numpy()
                for _ in range(400)
            ]
        )
        area = windows[:, 2] * windows[:, 3] / 1e6
        self.assertBetween(area.min(), 0.079, 0.12)
        self.assertGreater(area.max(), 0.9)
        ratio = windows[:, 3] / windows[:, 2]
        self.assertBetween(ratio.min(), 0.745, 0.80)
        self.assertBetween(ratio.max(), 1.25, 1.34)
        # As many wide as tall.
        self.assertBetween((ratio > 1).mean(), 0.42, 0.58)

    def test_without_a_fit_the_central_square(self):
        window = decode.crop_window(
            tf.constant([10, 1000]),
            decode.crop_tries(tf.ones([10, 5]) * 0.99, 0.08, "log_uniform"),
        )
        np.testing.assert_array_equal(window, [0, 495, 10, 10])

    def test_decoding_a_part_equals_a_part_of_the_decoded(self):
        source = tf.constant(training_testing.jpeg((70, 90)))
        whole = image_files.decode(source).numpy()
        rng = np.random.default_rng(0)
        windows = [(0, 0, 70, 90), (13, 21, 40, 37), (69, 89, 1, 1)]
        for _ in range(20):
            top, left = rng.integers(0, 70), rng.integers(0, 90)
            height = rng.integers(1, 71 - top)
            windows.append((top, left, height, rng.integers(1, 91 - left)))
        for top, left, height, width in windows:
            window = tf.constant([top, left, height, width], tf.int32)
            np.testing.assert_array_equal(
                decode.decode_jpeg_window(
                    source, tf.constant([70, 90]), window
                ),
                whole[top : top + height, left : left + width],
            )

    def test_pixels_stay_in_range(self):
        source = training_testing.jpeg()
        augmentation = dataclasses.replace(PAPER, pca_lighting_std=0.0)
        for index in range(5):
            image = train_image(source, augmentation, index=index)
            self.assertEqual(image.shape, (32, 32, 3))
            self.assertBetween(image.min(), 0, 255)
            self.assertBetween(image.max(), 0, 255)

    def test_pad_crop_shifts_by_an_eighth_at_most(self):
        source = np.zeros((32, 32, 3), np.uint8)
        source[16, 16] = 255
        augmentation = dataclasses.replace(PAD_CROP, flip=False)
        found = set()
        for index in range(60):
            image = train_image(source, augmentation, index=index)
            found.add(tuple(np.argwhere(image[..., 0])[0] - 16))
        self.assertContainsSubset(
            found, {(y, x) for y in range(-4, 5) for x in range(-4, 5)}
        )
        self.assertGreater(len(found), 25)

    def test_lighting_shifts_whole_channels(self):
        source = training_testing.jpeg()
        plain = dataclasses.replace(PAPER, pca_lighting_std=0.0)
        shift = train_image(source) - train_image(source, plain)
        self.assertGreater(np.abs(shift).max(), 0.1)
        np.testing.assert_allclose(shift.std(axis=(0, 1)), 0, atol=1e-4)


class EvalTest(parameterized.TestCase):
    @parameterized.parameters(((60, 80),), ((80, 60),), ((64, 64),))
    def test_center_of_the_scaled_image(self, shape):
        source = training_testing.jpeg(shape)
        image = images.resize_and_crop(
            image_files.decode(tf.constant(source)), 37, 32
        )
        short = min(shape)
        scaled = [side * 37 // short for side in shape]
        expected = tf.image.resize(
            image_files.decode(tf.constant(source)), scaled
        )
        top, left = ((side - 32 + 1) // 2 for side in scaled)
        np.testing.assert_array_equal(
            image, expected[top : top + 32, left : left + 32]
        )

    def test_bicubic_interpolation(self):
        source = training_testing.jpeg((60, 80))
        image = images.resize_and_crop(
            image_files.decode(tf.constant(source)),
            50,
            48,
            interpolation="bicubic",
        )
        # 80 * 50 // 60 = 66.
        scaled = tf.image.resize(
            image_files.decode(tf.constant(source)), [50, 66], "bicubic"
        )
        np.testing.assert_allclose(
            image, np.clip(scaled[1:49, 9:57], 0, 255), atol=1e-4
        )


class PolicyTest(parameterized.TestCase):
    @parameterized.parameters("randaugment", "trivialaugment")
    def test_policies_change_images_purely(self, policy):
        source = training_testing.jpeg()
        plain = dataclasses.replace(PAPER, pca_lighting_std=0.0)
        augmented = dataclasses.replace(plain, policy=policy)
        changed = 0
        for index in range(8):
            image = train_image(source, augmented, index=index)
            np.testing.assert_array_equal(
                image, train_image(source, augmented, index=index)
            )
            same = train_image(source, plain, index=index)
            changed += np.abs(image - same).max() > 1
        self.assertGreater(changed, 4)

    def test_erasing(self):
        source = np.full((64, 64, 3), 255, np.uint8)
        augmentation = dataclasses.replace(
            PAPER, image_size=(64, 64), pca_lighting_std=0.0, erasing=0.5
        )
        areas = []
        for index in range(100):
            image = train_image(source, augmentation, index=index)
            erased = (image != 255).any(-1)
            areas.append(erased.mean())
            rows, columns = erased.any(1), erased.any(0)
            np.testing.assert_array_equal(erased, rows[:, None] & columns)
            if erased.any():
                # Grey-brown: the mean of ImageNet.
                np.testing.assert_allclose(
                    image[erased][0], (123.675, 116.28, 103.53), 1e-5
                )
        areas = np.array(areas)
        self.assertBetween((areas > 0).mean(), 0.35, 0.65)
        self.assertBetween(areas[areas > 0].min(), 0.01, 0.1)
        self.assertBetween(areas.max(), 0.2, 0.34)


if __name__ == "__main__":
    absltest.main()
