import dataclasses
import math

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized
from scipy import stats

from keras_regnet import design_space
from tests.support import design_space_testing as testing


class PickTest(parameterized.TestCase):
    @parameterized.parameters(
        # Dunnett (1955), table 1a: one-sided, 95 %.
        (1, 10, 1.81),
        (4, 10, 2.47),
        (9, 10, 2.81),
        (2, 5, 2.44),
        (4, 20, 2.30),
    )
    def test_published_quantiles(self, others, degrees, expected):
        found = design_space.dunnett_quantile(others, degrees)
        self.assertAlmostEqual(found, expected, delta=0.006)

    def test_quantile_is_that_of_the_multivariate_t(self):
        found = design_space.dunnett_quantile(4, 3, level=0.9)
        correlated = (np.eye(4) + 1) / 2
        student = stats.multivariate_t(shape=correlated, df=3, seed=0)
        self.assertAlmostEqual(student.cdf([found] * 4), 0.9, delta=2e-3)

    def test_interval_of_one_network_is_students(self):
        errors = np.array([24.1, 25.3, 24.8, 26.0])
        picked = design_space.pick([errors], level=0.9)
        expected = stats.t.interval(
            0.9, 3, loc=errors.mean(), scale=stats.sem(errors)
        )
        np.testing.assert_allclose(
            [picked.low[0], picked.high[0]], expected, rtol=1e-9
        )
        self.assertEqual((picked.best, picked.margin), (0, 0.0))

    def test_spread_is_that_of_an_analysis_of_variance(self):
        errors = np.random.default_rng(0).normal(30, 2, (4, 3))
        errors += np.array([0, 1, 2, 9])[:, None]
        picked = design_space.pick(errors)
        # F is the variance of the means over that within networks.
        f = stats.f_oneway(*errors).statistic
        between = 3 * errors.mean(axis=1).var(ddof=1)
        self.assertAlmostEqual(picked.spread, math.sqrt(between / f))
        self.assertEqual(picked.order[-1], 3)

    def test_the_best_is_within_noise_as_often_as_it_says(self):
        """With equal means, where it is hardest; simulated by Monte Carlo."""
        rng = np.random.default_rng(0)
        quantile = design_space.dunnett_quantile(4, 10, 0.9)
        errors = rng.normal(0, 1, (40_000, 5, 3))
        means = errors.mean(axis=2)
        spreads = np.sqrt(errors.var(axis=2, ddof=1).mean(axis=1))
        margins = quantile * spreads * math.sqrt(2 / 3)
        kept = means[:, 0] <= means.min(axis=1) + margins
        self.assertAlmostEqual(kept.mean(), 0.9, delta=0.01)
        picked = design_space.pick(errors[0], level=0.9)
        self.assertAlmostEqual(picked.margin, margins[0])
        np.testing.assert_array_equal(
            picked.within_noise, means[0] <= means[0].min() + margins[0]
        )

    def test_clear_and_unclear(self):
        errors = [[20, 22, 24], [21, 22, 23], [30, 31, 32]]
        picked = design_space.pick(errors)
        # Two are alike: the one that came first in the sweep is chosen.
        self.assertEqual(picked.best, 0)
        self.assertEqual(picked.order.tolist(), [0, 1, 2])
        self.assertEqual(picked.within_noise.tolist(), [True, True, False])

    @parameterized.parameters(
        ([[1.0], [2.0]], "two repeats or more. Received: shape .2, 1"),
        ([1.0, 2.0], "networks, repeats"),
        ([[1.0, math.nan]], "finite numbers"),
    )
    def test_refused(self, errors, message):
        with self.assertRaisesRegex(ValueError, message):
            design_space.pick(errors)


class BestNetworksTest(absltest.TestCase):
    def _record(self, number, error, seed=0, space="RegNetX"):
        config = dataclasses.replace(testing.RECORD.network, depths=(1, number))
        return dataclasses.replace(
            testing.RECORD,
            trial_id=f"{space} {number} {seed}",
            config=config.to_json(),
            space=space,
            index=number,
            seed=seed,
            error=error,
        )

    def test_seeds_and_spaces_of_a_network_count_together(self):
        lucky = [self._record(1, 10.0), self._record(1, 50.0, seed=1)]
        same = self._record(2, 28.0), self._record(2, 24.0, space="AnyNetX_A")
        failed = dataclasses.replace(
            self._record(3, None), status="failed", reason="nan"
        )
        last = self._record(4, 40.0)
        found = design_space.best_networks([*lucky, *same, failed, last], 3)
        self.assertEqual([x.error for x in found], [26.0, 30.0, 40.0])
        self.assertEqual([x.record.index for x in found], [2, 1, 4])

    def test_more_than_there_are(self):
        with self.assertRaisesRegex(ValueError, "`top` must be at most.*, 1.*"):
            design_space.best_networks([testing.RECORD, testing.FAILED], 2)


if __name__ == "__main__":
    absltest.main()
