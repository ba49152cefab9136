"""Tests of mixup and CutMix."""

import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized

from training.data import mixup

_IMAGES = np.random.default_rng(0).random((6, 16, 20, 3)).astype("float32")
_LABELS = np.array([0, 1, 2, 3, 0, 1], np.int32)


def mix(seed=0, epoch=0, position=0, **fields):
    settings = {"mixup_alpha": 0.0, "cutmix_alpha": 0.0, "probability": 1.0}
    images, targets = mixup.mix(
        tf.constant(_IMAGES),
        tf.constant(_LABELS),
        mixup.Mixing(classes=4, **{**settings, **fields}),
        seed,
        tf.constant(epoch, tf.int64),
        tf.constant(position, tf.int64),
    )
    return images.numpy(), targets.numpy()


def shares(targets):
    """The share of its own label that each image kept: one for all."""
    # Image 2's partner has another label.
    return targets[2, 2]


class MixingTest(parameterized.TestCase):
    def test_mixup_mixes_images_as_it_mixes_labels(self):
        images, targets = mix(mixup_alpha=1.0)
        share = shares(targets)
        self.assertBetween(share, 0.001, 0.999)
        partner = np.roll(_IMAGES, 1, axis=0)
        np.testing.assert_allclose(
            images, share * _IMAGES + (1 - share) * partner, atol=1e-6
        )
        own, other = np.eye(4)[_LABELS], np.eye(4)[np.roll(_LABELS, 1)]
        np.testing.assert_allclose(
            targets, share * own + (1 - share) * other, atol=1e-6
        )

    def test_cutmix_pastes_the_area_that_labels_say(self):
        for position in range(20):
            images, targets = mix(cutmix_alpha=1.0, position=position)
            partner = np.roll(_IMAGES, 1, axis=0)
            pasted = (images == partner).all(axis=(0, 3))
            kept = (images == _IMAGES).all(axis=(0, 3))
            np.testing.assert_array_equal(pasted, ~kept)
            self.assertAlmostEqual(shares(targets), kept.mean(), places=6)
            # One rectangle.
            rows, columns = pasted.any(1), pasted.any(0)
            np.testing.assert_array_equal(pasted, rows[:, None] & columns)

    def test_targets_sum_to_one(self):
        for position in range(10):
            _, targets = mix(0, 0, position, mixup_alpha=0.2, cutmix_alpha=1.0)
            np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)

    def test_both_are_used_and_the_probability_holds(self):
        mixed, cut = 0, 0
        for position in range(200):
            images, targets = mix(
                position=position,
                mixup_alpha=1.0,
                cutmix_alpha=1.0,
                probability=0.5,
            )
            if shares(targets) < 1:
                mixed += 1
                cut += (images == _IMAGES).any()
        self.assertBetween(mixed, 75, 125)
        self.assertBetween(cut / mixed, 0.3, 0.7)

    def test_shares_are_beta_distributed(self):
        found = [
            shares(mix(position=p, mixup_alpha=0.2)[1]) for p in range(300)
        ]
        # Beta(a, a) has the variance 1 / (4 * (2 a + 1)).
        self.assertAlmostEqual(np.mean(found), 0.5, delta=0.08)
        self.assertAlmostEqual(np.var(found), 1 / 5.6, delta=0.03)

    @parameterized.parameters("seed", "epoch", "position")
    def test_pure(self, part):
        both = {"mixup_alpha": 1.0, "cutmix_alpha": 1.0}
        first, again = mix(**both), mix(**both)
        np.testing.assert_array_equal(first[0], again[0])
        other = mix(**{part: 1}, **both)
        self.assertTrue((first[1] != other[1]).any())

    def test_tiny_alpha_gives_no_nan(self):
        for position in range(20):
            _, targets = mix(position=position, mixup_alpha=1e-6)
            self.assertTrue(np.isfinite(targets).all())


if __name__ == "__main__":
    absltest.main()
