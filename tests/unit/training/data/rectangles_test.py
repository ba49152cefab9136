"""Tests of images that are not squares, in training and in evaluation."""

import dataclasses

import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized
from PIL import Image

from keras_regnet import image_files
from keras_regnet.center_crop import CenterCrop
from tests.support import training_testing
from training.data import augment
from training.data import decode
from training.data import pipeline

_WIDE, _TALL = (40, 64), (64, 40)


def _windows(shape, size, aspect, count=300):
    """Returns windows of random crops of a large image."""
    rng = np.random.default_rng(0)
    uniform = tf.constant(rng.random((count, 10, 5)), tf.float32)
    tries = decode.crop_tries(uniform, 0.08, aspect, size[1] / size[0])
    return np.array(
        [decode.crop_window(tf.constant(shape), one, size) for one in tries]
    )


class RandomCropTest(parameterized.TestCase):
    @parameterized.product(
        size=[_WIDE, _TALL], aspect=["uniform_swapped", "log_uniform"]
    )
    def test_a_crop_is_stretched_as_much_as_for_a_square(self, size, aspect):
        windows = _windows((1200, 1000), size, aspect)
        _, _, height, width = windows.T
        self.assertTrue((windows[:, :2] >= 0).all())
        self.assertTrue((windows[:, 0] + height <= 1200).all())
        self.assertTrue((windows[:, 1] + width <= 1000).all())
        stretch = width / height * size[0] / size[1]
        self.assertBetween(stretch.min(), 0.745, 0.80)
        self.assertBetween(stretch.max(), 1.25, 1.34)
        self.assertBetween(np.median(stretch), 0.93, 1.07)
        area = height * width / 1.2e6
        self.assertBetween(area.min(), 0.079, 0.13)

    @parameterized.parameters(
        ((10, 1000), (40, 64), (10, 16)),
        ((1000, 16), (40, 64), (10, 16)),
        ((90, 300), (224, 320), (90, 129)),
        ((1, 7), (32, 320), (1, 7)),
    )
    def test_without_a_fit_the_largest_central_window(
        self, shape, size, expected
    ):
        tries = decode.crop_tries(
            tf.ones([10, 5]) * 0.99, 0.08, "log_uniform", size[1] / size[0]
        )
        top, left, *sides = decode.crop_window(
            tf.constant(shape), tf.where(tries > 0, 100.0, 0.0), size
        ).numpy()
        self.assertEqual(tuple(sides), expected)
        self.assertAlmostEqual(top, (shape[0] - sides[0]) / 2, delta=0.5)
        self.assertAlmostEqual(left, (shape[1] - sides[1]) / 2, delta=0.5)

    def test_crops_for_squares_do_not_depend_on_their_size(self):
        for shape in ((60, 80), (500, 90)):
            np.testing.assert_array_equal(
                _windows(shape, (224, 224), "uniform_swapped", 50),
                _windows(shape, (1, 1), "uniform_swapped", 50),
            )

    @parameterized.parameters(
        ("random_resized_crop", "none"),
        ("pad_crop", "randaugment"),
        ("none", "none"),
    )
    def test_batches(self, augmentation, policy):
        config = training_testing.pipeline_config(
            image_size="40x64",
            augmentation=augmentation,
            flip=True,
            auto_augment=policy,
            random_erasing=0.5,
            cutmix_alpha=1.0,
        )
        found = dataclasses.replace(
            training_testing.noise_set(16, 8), small_images=False
        )
        for images, targets in pipeline.train_pipeline(found, config).take(1):
            self.assertEqual(images.shape, (8, 40, 64, 3))
            np.testing.assert_allclose(tf.reduce_sum(targets, 1), 1, rtol=1e-6)
        (images, _, _), *_ = pipeline.eval_pipeline(found, config)
        self.assertEqual(images.shape, (8, 40, 64, 3))

    def test_a_shift_is_an_eighth_of_each_side_at_most(self):
        config = training_testing.pipeline_config(
            image_size="40x64", augmentation="pad_crop"
        )
        augmentation = augment.Augmentation.from_config(config, True)
        image = np.ones((40, 64, 3), np.uint8)
        zero = tf.constant(0, tf.int64)
        samples = augment.sample(augmentation, 0, zero, zero, 200)
        borders = np.array(
            [
                [(seen[:, 32] == 0).sum(), (seen[20] == 0).sum()]
                for index in range(200)
                for seen in [
                    augment.augment_image(
                        image,
                        augmentation,
                        tf.nest.map_structure(lambda x, i=index: x[i], samples),
                    ).numpy()[..., 0]
                ]
            ]
        )
        np.testing.assert_array_equal(borders.max(0), (40 // 8, 64 // 8))
        np.testing.assert_array_equal(borders.min(0), 0)


class EvaluationTest(parameterized.TestCase):
    @parameterized.product(
        shape=[(60, 80), (80, 60), (200, 70)], size=[_WIDE, _TALL, (32, 32)]
    )
    def test_the_center_as_pillow_scales_it(self, shape, size):
        source = image_files.decode(tf.constant(training_testing.jpeg(shape)))
        crop = CenterCrop(0.8, antialias=True)
        found = augment.fit(source, size, crop, whole=False)
        # The smallest image of its aspect that covers the size by 0.8.
        high, wide = (round(side / 0.8) for side in size)
        scale = max(high / shape[0], wide / shape[1])
        scaled = tuple(int(side * scale + 1e-9) for side in shape)
        by_pillow = Image.fromarray(source.numpy()).resize(
            scaled[::-1], Image.Resampling.BILINEAR
        )
        top, left = (
            (own - side + 1) // 2
            for own, side in zip(scaled, size, strict=True)
        )
        expected = by_pillow.crop((left, top, left + size[1], top + size[0]))
        np.testing.assert_allclose(found, np.array(expected), atol=1.01)

    def test_small_images_are_seen_to_their_edges_as_the_record_says(self):
        """Not stretched: clients go by the record, which has no such thing."""
        noise = training_testing.noise_set(8, 8, side=24)
        high, wide = _WIDE
        config = training_testing.pipeline_config(image_size=f"{high}x{wide}")
        (images, _, _), *_ = pipeline.eval_pipeline(noise, config)
        stored = next(noise.val.sources().as_numpy_iterator())
        by_pillow = Image.fromarray(stored).resize(
            (wide, wide), Image.Resampling.BILINEAR
        )
        top = (wide - high + 1) // 2
        expected = by_pillow.crop((0, top, wide, top + high))
        np.testing.assert_allclose(images[0], np.array(expected), atol=1.01)


if __name__ == "__main__":
    absltest.main()
