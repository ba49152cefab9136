"""Fits and correlations of time against what a network counts."""

import numpy as np
from absl.testing import absltest

from benchmarks import explained


class FitTest(absltest.TestCase):
    def test_finds_the_law_behind_the_times(self):
        rng = np.random.default_rng(0)
        flops, activations = rng.uniform(1, 10, (2, 40))
        found = explained.fit(
            [flops, activations], 2 * flops**0.7 * activations**0.3
        )
        np.testing.assert_allclose(found.exponents, [0.7, 0.3])
        self.assertAlmostEqual(found.factor, 2)
        self.assertAlmostEqual(found.residual, 1)

    def test_residual_is_the_deviation_of_the_logarithms(self):
        rng = np.random.default_rng(0)
        counts = rng.uniform(1, 10, 4000)
        times = counts * np.exp(rng.normal(0, 0.2, len(counts)))
        residual = explained.fit([counts], times).residual
        self.assertAlmostEqual(residual, np.exp(0.2), delta=0.01)

    def test_fit_is_that_of_numpy(self):
        rng = np.random.default_rng(1)
        counts, times = rng.uniform(1, 10, (2, 30))
        slope, offset = np.polyfit(np.log(counts), np.log(times), 1)
        found = explained.fit([counts], times)
        np.testing.assert_allclose(
            [found.exponents[0], np.log(found.factor)], [slope, offset]
        )


class PointsTest(absltest.TestCase):
    def test_every_network_is_in_each_panel(self):
        panels = explained.points()
        self.assertLen(panels, 4)
        for _, _, values, milliseconds in panels:
            self.assertLen(values, 32)
            self.assertLen(milliseconds, 32)
            self.assertGreater(min(milliseconds), 0)


if __name__ == "__main__":
    absltest.main()
