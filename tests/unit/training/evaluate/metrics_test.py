"""Scores, by hand."""

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

from training.evaluate import metrics


class ScoresTest(parameterized.TestCase):
    def test_by_hand(self):
        probabilities = np.array(
            [
                [0.7, 0.1, 0.1, 0.05, 0.03, 0.02],
                [0.3, 0.4, 0.1, 0.1, 0.05, 0.05],
                [0.1, 0.1, 0.1, 0.3, 0.3, 0.1],
                [0.25, 0.2, 0.2, 0.2, 0.1, 0.05],
            ]
        )
        found = metrics.compute(probabilities, np.array([0, 0, 4, 5]))
        self.assertEqual((found.images, found.top1, found.top5), (4, 50, 75))
        self.assertAlmostEqual(
            found.loss, -np.log([0.7, 0.3, 0.3, 0.05]).mean()
        )
        confusion = np.zeros((6, 6), int)
        confusion[0, 0] = confusion[0, 1] = 1
        confusion[4, 4] = confusion[5, 0] = 1
        np.testing.assert_array_equal(found.confusion, confusion)
        np.testing.assert_array_equal(found.class_images, [2, 0, 0, 0, 1, 1])
        np.testing.assert_array_equal(
            found.class_top1, [50, np.nan, np.nan, np.nan, 100, 0]
        )
        # Each in a bin of its own: |1 - .7|, |0 - .4|, |1 - .3|, |0 - .25|.
        self.assertAlmostEqual(
            found.calibration_error, 100 * (0.3 + 0.4 + 0.7 + 0.25) / 4
        )

    def test_a_calibrated_guesser(self):
        rng = np.random.default_rng(0)
        confidence = rng.uniform(0.1, 1, 100_000)
        correct = rng.uniform(size=100_000) < confidence
        self.assertLess(metrics.calibration_error(confidence, correct), 0.01)
        self.assertAlmostEqual(
            metrics.calibration_error(np.full(10, 0.9), np.zeros(10, bool)), 0.9
        )


if __name__ == "__main__":
    absltest.main()
