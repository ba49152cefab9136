import numpy as np
from absl.testing import absltest
from absl.testing import parameterized
from scipy import stats

from keras_regnet import design_space
from keras_regnet.design_space import bands

_TEN = np.array([40.0, 41, 42.5, 44, 45, 47, 50, 55, 61, 70])
# opda 0.8.0, confidence bands of `_TEN` at 0.95, which it finds by simulation:
# to about 3e-4.
_OPDA_LOW = (0, 0.0015, 0.0205, 0.0604, 0.1166, 0.1868, 0.2703, 0.3675, 0.4796)
_OPDA_HIGH = (0.5204, 0.6325, 0.7297, 0.8132, 0.8834, 0.9396, 0.9795, 0.9985, 1)
# Mean and median of the best of 1, 4, 16 under the ends of that band.
_OPDA_MEAN_HIGH = (72.79218206, 50.87901556, 44.33307968)
_OPDA_MEAN_LOW = (26.7456989, 5.80936861, 0.0167280858)
_OPDA_MEDIAN_HIGH = (70, 47, 44)
_OPDA_MEDIAN_LOW = (40, 0, 0)


class ChanceInsideTest(parameterized.TestCase):
    @parameterized.parameters((5, 0.3), (20, 0.2), (100, 0.1), (400, 0.06))
    def test_kolmogorov(self, n, distance):
        rank = np.arange(1, n + 1)
        low = np.maximum(rank / n - distance, 0)
        high = np.minimum((rank - 1) / n + distance, 1)
        self.assertAlmostEqual(
            bands.chance_inside(low, high), stats.kstwo.cdf(distance, n), 8
        )

    def test_any_intervals(self):
        rng = np.random.default_rng(0)
        low = np.array([0.05, 0.1, 0.1, 0.5])
        high = np.array([0.4, 0.6, 0.9, 0.95])
        numbers = np.sort(rng.uniform(size=(200_000, 4)), axis=1)
        inside = ((low <= numbers) & (numbers <= high)).all(axis=1).mean()
        self.assertAlmostEqual(
            bands.chance_inside(low, high), inside, delta=4e-3
        )

    def test_impossible(self):
        chance = bands.chance_inside(np.array([0.0, 0.8]), np.array([0.2, 0.8]))
        self.assertEqual(chance, 0.0)


class EdfConfidenceBandTest(parameterized.TestCase):
    def test_equals_opda(self):
        after = np.nextafter(_TEN[:9], np.inf)
        low, high = design_space.edf_confidence_band(_TEN, after)
        np.testing.assert_allclose(low, _OPDA_LOW, atol=5e-4)
        np.testing.assert_allclose(high, _OPDA_HIGH, atol=5e-4)

    def test_holds_as_often_as_it_says(self):
        rng = np.random.default_rng(0)
        for method, expected in (("exact", 0.9), ("dkw", None)):
            samples = rng.uniform(size=(4000, 12))
            low, high = design_space.edf_confidence_band(
                np.arange(12.0), np.arange(13.0), 0.9, method
            )
            # The distribution at, and just before, each sorted number.
            numbers = np.sort(samples, axis=1)
            held = (low[1:] <= numbers).all(1) & (numbers <= high[:-1]).all(1)
            if expected:
                self.assertAlmostEqual(held.mean(), expected, delta=0.015)
            else:
                self.assertGreater(held.mean(), 0.9)

    def test_exact_is_narrower_in_the_tails(self):
        errors = np.linspace(30, 60, 64)
        widths = {
            method: np.ptp(
                design_space.edf_confidence_band(
                    errors, [31, 45, 59], method=method
                ),
                axis=0,
            )
            for method in ("exact", "dkw")
        }
        narrower = widths["exact"] < widths["dkw"]
        self.assertEqual(narrower.tolist(), [True, False, True])

    def test_holds_the_edf(self):
        errors = np.random.default_rng(1).normal(50, 5, 30)
        grid = np.linspace(30, 70, 100)
        low, high = design_space.edf_confidence_band(errors, grid)
        fractions = design_space.edf(errors, grid)
        self.assertTrue((low <= fractions).all() and (fractions <= high).all())

    def test_arguments(self):
        with self.assertRaisesRegex(ValueError, "Did you mean 'dkw'"):
            design_space.edf_confidence_band([1.0], [1.0], method="dkv")
        with self.assertRaisesRegex(ValueError, "`level` must be between"):
            design_space.edf_confidence_band([1.0], [1.0], level=95)


class BestOfNBandTest(absltest.TestCase):
    def test_equals_opda(self):
        band = design_space.best_of_n_band(_TEN, [1, 4, 16])
        np.testing.assert_allclose(band.mean_high, _OPDA_MEAN_HIGH, atol=5e-3)
        np.testing.assert_allclose(band.mean_low, _OPDA_MEAN_LOW, atol=5e-3)
        np.testing.assert_array_equal(band.median_high, _OPDA_MEDIAN_HIGH)
        np.testing.assert_array_equal(band.median_low, _OPDA_MEDIAN_LOW)

    def test_holds_the_search_of_the_space(self):
        """Of normal errors, whose best of m has a known mean."""
        rng = np.random.default_rng(0)
        sizes = [1, 8, 32]
        draws = rng.normal(50, 5, (20_000, 32))
        truth = [draws[:, :size].min(axis=1).mean() for size in sizes]
        missed = 0
        for _ in range(200):
            band = design_space.best_of_n_band(
                rng.normal(50, 5, 40), sizes, level=0.8
            )
            inside = (band.mean_low <= truth) & (truth <= band.mean_high)
            missed += not inside.all()
        self.assertLess(missed / 200, 0.2)

    def test_limits(self):
        with self.assertRaisesRegex(ValueError, "`limits` must hold all"):
            design_space.best_of_n_band([1.0, 101.0], [1])
        with self.assertRaisesRegex(ValueError, "`sizes` must be one or more"):
            design_space.best_of_n_band([1.0], [0])


if __name__ == "__main__":
    absltest.main()
