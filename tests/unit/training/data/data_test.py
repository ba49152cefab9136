"""Tests of the data sets and the input pipeline."""

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

from tests.support import training_testing
from training.data import dataset
from training.data import pipeline as data


def indices_of(images):
    """Reads the index that `noise_set` keeps in the top left pixel."""
    images = np.asarray(images, np.int64)
    return images[:, 0, 0, 0] + 256 * images[:, 0, 0, 1]


def epochs_of(noise, config, **arguments):
    batches = data.train_pipeline(noise, config, **arguments)
    return np.concatenate(
        [indices_of(images) for images, _ in batches.as_numpy_iterator()]
    )


class OrderTest(parameterized.TestCase):
    def test_every_example_once_per_epoch(self):
        noise = training_testing.noise_set(400, 8)
        seen = epochs_of(noise, training_testing.pipeline_config()).reshape(
            3, 400
        )
        for epoch in seen:
            np.testing.assert_array_equal(np.sort(epoch), np.arange(400))
        self.assertTrue((seen[0] != seen[1]).any())

    def test_what_is_left_over_changes(self):
        noise = training_testing.noise_set(14, 8)
        seen = epochs_of(
            noise, training_testing.pipeline_config(epochs=20)
        ).reshape(20, 8)
        for epoch in seen:
            self.assertLen(set(epoch), 8)
        self.assertLen(set(seen.ravel()), 14)

    def test_seed_decides(self):
        noise = training_testing.noise_set(40, 8)
        first = epochs_of(noise, training_testing.pipeline_config())
        np.testing.assert_array_equal(
            first, epochs_of(noise, training_testing.pipeline_config())
        )
        other = epochs_of(noise, training_testing.pipeline_config(seed=1))
        self.assertTrue((first != other).any())

    def test_starts_at_any_step(self):
        noise = training_testing.noise_set(40, 8)
        config = training_testing.pipeline_config(
            augmentation="pad_crop", flip=True
        )
        whole = list(data.train_pipeline(noise, config).as_numpy_iterator())
        rest = list(data.train_pipeline(noise, config, 7).as_numpy_iterator())
        self.assertLen(rest, 8)
        for expected, found in zip(whole[7:], rest, strict=True):
            np.testing.assert_array_equal(expected[0], found[0])

    @parameterized.parameters(2, 4)
    def test_shards_make_up_the_batches(self, count):
        noise = training_testing.noise_set(40, 8)
        whole = epochs_of(noise, training_testing.pipeline_config()).reshape(
            -1, 8
        )
        size = 8 // count
        parts = [
            epochs_of(
                noise,
                training_testing.pipeline_config(),
                shard=data.Shard(index, count, size),
            ).reshape(-1, size)
            for index in range(count)
        ]
        # All images of an epoch, each of them in one share.
        epoch = np.concatenate([part[:5].ravel() for part in parts])
        np.testing.assert_array_equal(np.sort(epoch), np.arange(40))
        np.testing.assert_array_equal(whole, np.concatenate(parts, axis=1))

    def test_labels_belong_to_their_images(self):
        noise = training_testing.noise_set(40, 8)
        for images, labels in data.train_pipeline(
            noise, training_testing.pipeline_config()
        ):
            np.testing.assert_array_equal(indices_of(images) % 10, labels)

    def test_repeated_augmentation(self):
        """Four images, each twice in a batch; half of the set an epoch."""
        noise = training_testing.noise_set(40, 8)
        config = training_testing.pipeline_config(
            repeated_augmentation=2, augmentation="pad_crop"
        )
        batches = data.train_pipeline(noise, config)
        for images, labels in batches.as_numpy_iterator():
            np.testing.assert_array_equal(labels[:4], labels[4:])
            self.assertTrue((images[:4] != images[4:]).any())
        config = training_testing.pipeline_config(repeated_augmentation=2)
        seen = epochs_of(noise, config).reshape(3, 5, 8)
        np.testing.assert_array_equal(seen[..., :4], seen[..., 4:])
        for epoch in seen[..., :4].reshape(3, 20):
            self.assertLen(set(epoch), 20)

    def test_mixed_batches_start_at_any_step(self):
        noise = training_testing.noise_set(40, 8)
        config = training_testing.pipeline_config(
            mixup_alpha=0.2, cutmix_alpha=1.0, repeated_augmentation=2,
            auto_augment="randaugment", randaugment_layers=1,
            random_erasing=0.25,
        )  # fmt: skip
        whole = list(data.train_pipeline(noise, config).as_numpy_iterator())
        rest = list(data.train_pipeline(noise, config, 7).as_numpy_iterator())
        for expected, found in zip(whole[7:], rest, strict=True):
            np.testing.assert_array_equal(expected[0], found[0])
            np.testing.assert_array_equal(expected[1], found[1])
        _, targets = whole[0]
        self.assertEqual(targets.shape, (8, 10))
        np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)

    @parameterized.parameters(
        (
            {"augmentation": "random_resized_crop"},
            [74, 150, 111, 122, 122, 92, 85, 121],
            [5, 1, 8, 2, 9, 1, 2, 1],
        ),
        (
            {"augmentation": "pad_crop"},
            [104.219, 78.504, 98.328, 118.248, 113.525, 87.309, 85.254,
             106.641],
            [5, 1, 8, 2, 9, 1, 2, 1],
        ),
        (
            {"augmentation": "random_resized_crop",
             "crop_aspect": "log_uniform", "pca_lighting_std": 0.1,
             "auto_augment": "randaugment", "random_erasing": 0.5,
             "mixup_alpha": 0.2, "cutmix_alpha": 1.0,
             "repeated_augmentation": 2},
            [85.926, 157.857, 95.449, 104.819, 96.031, 105.526, 83.388,
             96.748],
            [3, 7, 5, 3, 3, 7, 5, 3],
        ),
    )  # fmt: skip
    def test_a_step_sees_what_it_always_saw(self, fields, means, labels):
        """Runs resume as they began, whichever version began them."""
        ramp = np.arange(32)[:, None] * 4 + np.arange(32) * 2
        images = np.arange(40)[:, None, None, None] + ramp[None, :, :, None]
        images = np.repeat(images.astype(np.uint8), 3, axis=-1)
        split = dataset.in_memory(images, np.arange(40) % 10, "ramps")
        ramps = dataset.DataSet(split, split, tuple("0123456789"), True)
        config = training_testing.pipeline_config(seed=7, flip=True, **fields)
        ((images, targets),) = data.train_pipeline(ramps, config, 11).take(1)
        np.testing.assert_allclose(
            images.numpy().mean((1, 2, 3)), means, atol=2e-3
        )
        if targets.shape.rank == 2:
            targets = np.argmax(targets, axis=1)
        np.testing.assert_array_equal(targets, labels)

    @parameterized.parameters(1, 8, 21)
    def test_evaluation_sees_everything_once(self, num_val):
        noise = training_testing.noise_set(8, num_val)
        batches = list(
            data.eval_pipeline(noise, training_testing.pipeline_config())
        )
        weights = np.concatenate([weights for _, _, weights in batches])
        seen = np.concatenate([indices_of(images) for images, _, _ in batches])
        self.assertEqual(len(weights) % 8, 0)
        np.testing.assert_array_equal(seen[weights == 1], np.arange(num_val))
        self.assertEqual(weights.sum(), num_val)

    def test_batch_larger_than_the_set(self):
        noise = training_testing.noise_set(7, 8)
        with self.assertRaisesRegex(
            ValueError, "global_batch_size=8, training images: 7"
        ):
            data.train_pipeline(noise, training_testing.pipeline_config())


if __name__ == "__main__":
    absltest.main()
