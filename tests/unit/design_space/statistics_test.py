import itertools

import hypothesis
import numpy as np
from absl.testing import absltest
from absl.testing import parameterized
from hypothesis import strategies
from scipy import stats

from keras_regnet import design_space
from keras_regnet.design_space import comparisons

_ERRORS = strategies.lists(
    strategies.integers(0, 30).map(float), min_size=1, max_size=40
)


def _rng(seed=0):
    return np.random.default_rng(seed)


class EdfTest(parameterized.TestCase):
    @hypothesis.given(errors=_ERRORS, thresholds=_ERRORS)
    def test_counts(self, errors, thresholds):
        found = design_space.edf(errors, thresholds)
        for share, threshold in zip(found, thresholds, strict=True):
            below = sum(error < threshold for error in errors)
            self.assertEqual(share, below / len(errors))

    def test_area_above_is_the_mean(self):
        # Paper, figure 2: the mean error and the area under the EDF.
        errors = _rng().uniform(30, 70, 50)
        grid = np.linspace(0, 100, 1_000_001)
        area = (1 - design_space.edf(errors, grid)).mean() * 100
        self.assertAlmostEqual(area, errors.mean(), places=3)

    @hypothesis.given(errors=_ERRORS)
    def test_normalized_by_a_constant_is_plain(self, errors):
        grid = np.arange(32)
        np.testing.assert_allclose(
            design_space.normalized_edf(errors, [7.0] * len(errors), grid),
            design_space.edf(errors, grid),
            atol=1e-12,
        )

    def test_normalized_by_copies(self):
        """Weights are what copying networks of rare complexity does."""
        rng = _rng()
        errors = rng.uniform(30, 70, 60)
        # Bins of 10, 20 and 30 networks.
        complexities = np.repeat([1.5, 2.5, 3.5], [10, 20, 30])
        copies = np.repeat(errors, np.repeat([6, 3, 2], [10, 20, 30]))
        grid = np.linspace(20, 80, 50)
        np.testing.assert_allclose(
            design_space.normalized_edf(
                errors, complexities, grid, limits=(1, 4), bins=3
            ),
            design_space.edf(copies, grid),
        )
        # A bin without networks has no weight, nor have those outside.
        np.testing.assert_allclose(
            design_space.normalized_edf(
                errors, complexities, grid, limits=(2, 5), bins=3
            ),
            design_space.edf(copies[60:], grid),
        )

    def test_band_is_binomial(self):
        errors = _rng().uniform(30, 70, 200)
        grid = np.array([60.0, 35.0, 50.0])
        low, high = design_space.edf_band(errors, grid, _rng(1), repeats=20_000)
        shares = design_space.edf(errors, grid)
        for end, percent in ((low, 0.025), (high, 0.975)):
            expected = stats.binom.ppf(percent, 200, shares) / 200
            np.testing.assert_allclose(end, expected, atol=0.0051)

    def test_band_of_thresholds_of_any_shape(self):
        errors, grid = _rng().normal(50, 5, 40), [45.0, 55.0, 50.0, 40.0]
        flat = design_space.edf_band(errors, grid, _rng())
        table = np.reshape(grid, (2, 2))
        for end, other in zip(
            flat, design_space.edf_band(errors, table, _rng()), strict=True
        ):
            np.testing.assert_array_equal(np.reshape(end, (2, 2)), other)
        low, high = design_space.edf_band(errors, 50.0, _rng())
        self.assertEqual((low.shape, high.shape), ((), ()))
        self.assertBetween(design_space.edf(errors, 50.0), low, high)

    def test_band_covers_the_truth(self):
        grid = np.array([0.3, 0.7])
        rng = _rng()
        covered = []
        for _ in range(300):
            band = design_space.edf_band(rng.random(80), grid, rng, repeats=400)
            covered.append((band[0] <= grid) & (grid <= band[1]))
        self.assertBetween(np.mean(covered), 0.91, 0.985)


class BestTest(parameterized.TestCase):
    @parameterized.parameters(0.25, 0.1, 1.0)
    def test_bootstrap_has_its_closed_form(self, fraction):
        """The best of m draws has rank below r in 1 - (1 - r/n)**m."""
        n = 200
        order = _rng().permutation(n)
        values, errors = np.arange(n) * 1.0, 40.0 + order
        by_rank = values[np.argsort(errors)]
        interval = design_space.bootstrap_best(
            order.astype(float), errors, _rng(1), fraction, repeats=200_000
        )
        draws = round(fraction * n)
        reached = 1 - (1 - np.arange(1, n + 1) / n) ** draws
        for found, percent in zip(interval, (2.5, 50, 97.5), strict=True):
            rank = np.searchsorted(reached, percent / 100)
            self.assertAlmostEqual(found, rank, delta=1)
        # And values are carried along, whatever their order.
        shuffled = design_space.bootstrap_best(
            values, errors, _rng(1), fraction, repeats=2000
        )
        self.assertIn(shuffled.median, by_rank[:30])

    def test_bootstrap_one_draw_at_a_time(self):
        rng = _rng()
        values, errors = rng.integers(1, 9, 30) * 1.0, rng.normal(size=30)
        found = design_space.bootstrap_best(values, errors, _rng(1))
        kept = []
        for _ in range(4000):
            drawn = rng.choice(30, 8, replace=True)
            kept.append(values[drawn[np.argmin(errors[drawn])]])
        np.testing.assert_allclose(
            found, np.percentile(kept, [2.5, 50, 97.5]), atol=1.01
        )

    def test_best_of_n_by_enumeration(self):
        errors = [40.0, 45.0, 45.0, 60.0]
        curve = design_space.best_of_n(errors, [1, 2, 3])
        for place, size in enumerate([1, 2, 3]):
            best = [min(x) for x in itertools.product(errors, repeat=size)]
            self.assertAlmostEqual(curve.mean[place], np.mean(best))
            # The least error that at least half of the searches reach.
            reached = np.sort(best)[int(np.ceil(len(best) / 2)) - 1]
            self.assertEqual(curve.median[place], reached)

    def test_best_of_n_by_simulation(self):
        errors = _rng().gamma(3, 4, 300)
        curve = design_space.best_of_n(errors, [5, 32])
        for place, size in enumerate([5, 32]):
            drawn = _rng(2).choice(errors, (20_000, size)).min(axis=1)
            self.assertAlmostEqual(curve.mean[place], drawn.mean(), delta=0.05)
            np.testing.assert_allclose(
                [curve.low[place], curve.median[place], curve.high[place]],
                np.percentile(drawn, [2.5, 50, 97.5]),
                atol=0.15,
            )

    def test_trends(self):
        rng = _rng()
        regimes = []
        for best in (10, 16, 20):
            depth = rng.integers(1, 40, 100)
            regimes.append((depth, (depth - best) ** 2 + rng.normal(size=100)))
        trend = design_space.trends(regimes, _rng(1))
        np.testing.assert_allclose(trend.median, [10, 16, 20], atol=2)
        for place, (depth, errors) in enumerate(regimes):
            self.assertEqual(trend.best[place], depth[np.argmin(errors)])
            self.assertEqual(trend.min[place], depth.min())
            self.assertEqual(trend.max[place], depth.max())
        self.assertTrue((trend.low <= trend.median).all())
        self.assertTrue((trend.median <= trend.high).all())


class CompareTest(parameterized.TestCase):
    def test_agrees_with_the_normal_interval(self):
        rng = _rng()
        first, second = rng.normal(50, 4, 150), rng.normal(52, 6, 100)
        found = design_space.compare(first, second, _rng(1))
        self.assertAlmostEqual(found.difference, first.mean() - second.mean())
        spread = np.sqrt(first.var() / 150 + second.var() / 100)
        self.assertAlmostEqual(
            found.low, found.difference - 1.96 * spread, delta=0.1
        )
        self.assertAlmostEqual(
            found.high, found.difference + 1.96 * spread, delta=0.1
        )
        self.assertEqual(found.sizes, (150, 100))

    def test_level(self):
        rng = _rng()
        first, second = rng.normal(size=80), rng.normal(size=80)
        wide = design_space.compare(first, second, _rng(1), level=0.99)
        narrow = design_space.compare(first, second, _rng(1), level=0.5)
        self.assertLess(wide.low, narrow.low)
        self.assertGreater(wide.high, narrow.high)

    @hypothesis.given(first=_ERRORS, second=_ERRORS)
    def test_distance(self, first, second):
        distances = [
            abs(
                np.mean(np.less_equal(first, x))
                - np.mean(np.less_equal(second, x))
            )
            for x in (*first, *second)
        ]
        self.assertAlmostEqual(
            comparisons.ks_distance(first, second), max(distances)
        )

    @parameterized.parameters(
        *itertools.product((10, 40, 500), (10, 64, 500), (0.1, 0.25, 0.5))
    )
    def test_p_value(self, n, m, distance):
        # Distances that two samples of these sizes can have.
        steps = np.lcm(n, m)
        distance = round(distance * steps) / steps
        first = np.arange(n) / n + 1e-9
        second = np.concatenate(
            [np.full(round(distance * m), 9.0), np.arange(m) / m]
        )[:m]
        result = stats.ks_2samp(first, second, method="exact")
        found = comparisons.ks_p_value(result.statistic, n, m)
        self.assertAlmostEqual(found, result.pvalue, delta=1e-9)

    @parameterized.parameters((32, 32), (50, 70), (200, 150))
    def test_p_values_close_to_0(self, n, m):
        rng = np.random.default_rng(0)
        first, second = rng.normal(size=n), rng.normal(size=m) + 3
        result = stats.ks_2samp(first, second, method="exact")
        self.assertBetween(result.pvalue, 1e-80, 1e-9)
        found = comparisons.ks_p_value(result.statistic, n, m)
        np.testing.assert_allclose(found, result.pvalue, rtol=1e-8)

    def test_p_values_of_many(self):
        with np.errstate(over="raise", invalid="raise"):
            found = comparisons.ks_p_value(0.25, 4000, 3000)
        limit = stats.kstwo.sf(0.25, round(4000 * 3000 / 7000))
        np.testing.assert_allclose(found, limit, rtol=0.1)

    def test_same_space(self):
        found = design_space.compare([1.0, 2.0], [2.0, 1.0], _rng())
        self.assertEqual((found.difference, found.ks), (0, 0))
        self.assertEqual(found.p_value, 1)


class ComplexityFitTest(parameterized.TestCase):
    @parameterized.parameters(
        # Paper, figure 12.
        (("sqrt",), (6.5,)),
        (("constant", "linear"), (3.0, 5.5)),
        (("sqrt", "linear"), (24.0, 6.0)),
    )
    def test_recovers(self, terms, coefficients):
        flops = np.array([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8])
        parts = {"constant": flops**0, "sqrt": flops**0.5, "linear": flops}
        values = sum(
            parts[term] * coefficient
            for term, coefficient in zip(terms, coefficients, strict=True)
        )
        fit = design_space.fit_complexity(flops, values, terms)
        np.testing.assert_allclose(fit.coefficients, coefficients)
        self.assertAlmostEqual(fit.correlation, 1)

    def test_is_least_squares(self):
        rng = _rng()
        flops = rng.uniform(1, 10, 40)
        values = 3 + 5 * flops + rng.normal(size=40)
        fit = design_space.fit_complexity(flops, values, ("constant", "linear"))
        expected = stats.linregress(flops, values)
        np.testing.assert_allclose(
            (*fit.coefficients, fit.correlation),
            (expected.intercept, expected.slope, expected.rvalue),
        )

    @parameterized.parameters(
        (("sqrt",), [1.0], [2.0]),
        (("constant",), [1.0, 2.0, 3.0], [5.0, 6.0, 5.0]),
        (("constant", "linear"), [1.0, 2.0, 3.0], [5.0, 5.0, 5.0]),
    )
    def test_no_correlation_where_nothing_varies(self, terms, flops, values):
        fit = design_space.fit_complexity(flops, values, terms)
        self.assertTrue(np.isfinite(fit.coefficients).all())
        self.assertTrue(np.isnan(fit.correlation))


class RefusalTest(parameterized.TestCase):
    @parameterized.parameters(
        (lambda: design_space.edf([], [1]), "`errors` must be one or more"),
        (lambda: design_space.edf([1, np.nan], [1]), "failed trials"),
        (lambda: design_space.edf([[1]], [1]), "one dimension"),
        (
            lambda: design_space.bootstrap_best([1, 2], [1], _rng()),
            "2 values and 1 errors",
        ),
        (
            lambda: design_space.bootstrap_best([1], [1], _rng(), 0),
            "`fraction` must be above 0",
        ),
        (
            lambda: design_space.bootstrap_best([1], [1], _rng(), repeats=0),
            "`repeats` must be",
        ),
        (
            lambda: design_space.compare([1], [1], _rng(), level=1),
            "`level` must be",
        ),
        (lambda: design_space.best_of_n([1], [0]), "`sizes` must be"),
        (lambda: design_space.best_of_n([1], [np.nan]), "`sizes` must be"),
        (lambda: design_space.best_of_n([1], [1.5]), "`sizes` must be"),
        (lambda: design_space.best_of_n([1], ["two"]), "`sizes` must be"),
        (lambda: design_space.trends([], _rng()), "at least one regime"),
        (lambda: design_space.edf(["a"], [1]), "`errors` must be one or more"),
        (lambda: design_space.edf([1], [np.nan]), "`thresholds` must be num"),
        (
            lambda: design_space.edf_band([1], [np.nan], _rng()),
            "`thresholds` must be num",
        ),
        (
            lambda: design_space.normalized_edf([1], [5], [np.nan]),
            "`thresholds` must be num",
        ),
        (
            lambda: design_space.normalized_edf([1], [5], [1], bins=0),
            "`bins` must be an integer above 0",
        ),
        (
            lambda: design_space.fit_complexity([1, 2], [1, 2], ["sqrt"] * 2),
            "`terms` must each be given once",
        ),
        (
            lambda: design_space.fit_complexity([-1, 2], [1, 2], ("sqrt",)),
            "`flops` must not be negative",
        ),
        (
            lambda: design_space.normalized_edf([1], [5], [1], limits=(6, 7)),
            "from 5 to 5",
        ),
        (
            lambda: design_space.fit_complexity([1, 2], [1, 2], ("cubic",)),
            "'constant', 'sqrt', 'linear'",
        ),
        (
            lambda: design_space.fit_complexity(
                [1], [1], ("constant", "linear")
            ),
            "no more than there are values",
        ),
    )
    def test_refused(self, call, message):
        with self.assertRaisesRegex(ValueError, message):
            call()


if __name__ == "__main__":
    absltest.main()
