import numpy as np
from absl.testing import absltest
from absl.testing import parameterized
from scipy import stats

from keras_regnet import design_space
from keras_regnet.design_space import sample_size


class PowerTest(parameterized.TestCase):
    @parameterized.parameters(
        # R 4's power.t.test at power 0.80: 393.4, 63.8 and 25.5.
        (0.2, 394),
        (0.5, 64),
        (0.8, 26),
    )
    def test_published(self, effect, expected):
        self.assertEqual(design_space.networks_needed(effect, 1.0), expected)

    def test_as_often_as_simulated(self):
        rng = np.random.default_rng(0)
        first = rng.normal(50, 6, (20_000, 20))
        second = rng.normal(55, 6, (20_000, 20))
        found = stats.ttest_ind(first, second, axis=1).pvalue < 0.05
        self.assertAlmostEqual(
            design_space.power(effect=5, spread=6, n=20),
            found.mean(),
            delta=0.01,
        )

    def test_grows(self):
        needed = [design_space.networks_needed(e, 6) for e in (1, 2, 4, 8)]
        self.assertEqual(needed, sorted(needed, reverse=True))
        self.assertGreater(
            design_space.networks_needed(3, 6, chance=0.95),
            design_space.networks_needed(3, 6, chance=0.8),
        )

    def test_spread(self):
        rng = np.random.default_rng(0)
        pilots = rng.normal(0, 6, (20_000, 16)).std(axis=1, ddof=1)
        at_most = np.array(
            [sample_size.spread_at_most(s, 16, 0.9) for s in pilots[:2000]]
        )
        self.assertAlmostEqual((at_most >= 6).mean(), 0.9, delta=0.02)
        self.assertAlmostEqual(
            sample_size.pooled_spread([1.0, 3.0], [5.0, 5.0]), 1.0
        )

    @parameterized.parameters(
        ({"effect": 0}, "`effect` must be a number above 0"),
        ({"effect": 1e-6}, "`effect` must be large enough"),
        ({"spread": -1}, "`spread` must be a number above 0"),
        ({"chance": 1.0}, "`chance` must be above 0 and at most 0.999"),
    )
    def test_arguments(self, changed, message):
        arguments = {"effect": 3.0, "spread": 6.0, **changed}
        with self.assertRaisesRegex(ValueError, message):
            design_space.networks_needed(**arguments)


if __name__ == "__main__":
    absltest.main()
