from unittest import mock

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import design_space
from keras_regnet.complexity import complexity
from keras_regnet.design_space import proposals


class ProposeTest(parameterized.TestCase):
    @parameterized.parameters(
        ("regnetx", "200MF", 200e6), ("regnety", "1.6GF", 1.6e9)
    )
    def test_inside_the_budget(self, family, text, flops):
        found = design_space.propose(flops=text, family=family, n=5)
        self.assertLen(set(found), 5)
        for place, config in enumerate(found):
            counted = complexity(config)
            self.assertBetween(counted.flops, 0.95 * flops, flops)
            self.assertEqual(counted.flops, found.flops[place])
            self.assertBetween(config.depth, 12, 28)
            self.assertGreaterEqual(config.w_m, 2)
            self.assertEqual(config.bottleneck_ratio, 1)
            self.assertEqual(
                config.se_ratio, 0.25 if family == "regnety" else 0
            )

    def test_more_budgets_at_once(self):
        found = design_space.propose(
            flops=(300e6, 400e6), params="5M", activations=(1e6, "3.5M"), n=4
        )
        self.assertTrue((found.flops >= 300e6).all())
        self.assertTrue((found.params <= 5e6).all())
        self.assertTrue((found.activations <= 3.5e6).all())

    def test_best_first(self):
        found = design_space.propose(flops="400MF", n=20)
        apart = [
            sum(x**2 for x in proposals.distances(config, flops))
            for config, flops in zip(found, found.flops.tolist(), strict=True)
        ]
        self.assertLess(np.mean(apart[:5]), np.mean(apart[-5:]))
        # And a random network of section 4's space is farther off.
        space = design_space.space("RegNetY_constrained", depth=(12, 28))
        sample = space.sample(
            np.random.default_rng(0), n=20, flops=(380e6, 400e6)
        )
        random = [
            sum(x**2 for x in proposals.distances(config, 4e8))
            for config in sample
        ]
        self.assertLess(max(apart), np.median(random))

    @parameterized.parameters("400MF", "3.2GF", "12GF")
    def test_near_the_fits_of_figure_12(self, text):
        """Random networks of these depths have far more of one or other."""

        def excess(networks):
            gigaflops = networks.flops / 1e9
            params = networks.params / (3e6 + 5.5e6 * gigaflops)
            activations = networks.activations / (6.5e6 * gigaflops**0.5)
            return np.maximum(params, activations)

        found = design_space.propose(flops=text, n=10)
        self.assertLess(excess(found).max(), 1.25)
        flops = found.flops.max()
        sample = design_space.space(
            "RegNetY", bottleneck_ratio=1, depth=(12, 28)
        ).sample(np.random.default_rng(0), n=40, flops=(0.9 * flops, flops))
        self.assertGreater(np.median(excess(sample)), excess(found).mean())

    def test_repeatable(self):
        first = design_space.propose(n=3)
        self.assertEqual(first.configs, design_space.propose(n=3).configs)
        self.assertNotEqual(
            first.configs, design_space.propose(n=3, seed=1).configs
        )

    def test_latency_filters(self):
        measured = []

        def latency(config):
            measured.append(config)
            return config.depth * 0.5

        found = design_space.propose(
            flops="800MF", n=5, latency=latency, max_latency=8.5
        )
        self.assertLen(found, 5)
        for config, time in zip(found, found.latencies, strict=True):
            self.assertLessEqual(config.depth, 17)
            self.assertEqual(time, config.depth * 0.5)
        self.assertLessEqual(len(measured), 200)
        # Those before were measured and too slow.
        self.assertGreater(len(measured), 5)

    def test_equal_latencies_keep_the_order(self):
        plain = design_space.propose(flops="400MF", n=3)
        found = design_space.propose(
            flops="400MF", n=3, latency=lambda c: np.float32(2), max_latency=2
        )
        self.assertEqual(found.configs, plain.configs)
        self.assertEqual(found.latencies.tolist(), [2, 2, 2])

    def test_fewer_than_asked_for(self):
        """And some that do not run at all."""
        calls = []

        def latency(config):
            calls.append(config)
            return 1.0 if len(calls) in (7, 150) else float("inf")

        found = design_space.propose(
            flops="400MF", n=5, latency=latency, max_latency=3
        )
        self.assertEqual(list(found), [calls[6], calls[149]])
        self.assertLen(calls, 200)

    def test_nothing_runs(self):
        with self.assertRaisesRegex(ValueError, "infinity for 200 of them"):
            design_space.propose(
                flops="400MF", n=5, latency=lambda c: np.inf, max_latency=3
            )

    def test_errors_of_the_latency_come_through(self):
        error = RuntimeError("no such delegate")
        with self.assertRaisesRegex(RuntimeError, "no such delegate"):
            design_space.propose(
                latency=mock.Mock(side_effect=error), max_latency=3
            )

    @parameterized.parameters(
        (0.2e9, (16, 2.45, 8)),
        (12.8e9, (23, 2.77, 16)),
        # Beyond the ends, and halfway on the logarithmic scale.
        (100e9, (23, 2.77, 16)),
        (0.4e9 * 2**0.5, (18, 2.475, 8 * 2**0.5)),
    )
    def test_figure_11(self, flops, expected):
        np.testing.assert_allclose(proposals.best_values(flops), expected)

    @parameterized.parameters(
        (dict(flops="400XF"), "`flops` must be a number above 0"),
        (dict(flops="1.2.3GF"), "'500MF'"),
        (dict(params=-1), "`params` must be a number above 0"),
        (dict(flops=(4e8, 3e8)), "two numbers in order"),
        (dict(flops=400), "need its unit, such as '400MF'.*flops=400"),
        (dict(flops="400"), "need its unit, such as '400MF'"),
        (dict(flops="400MF", params=(1, 6)), "such as '6M'.*params="),
        (dict(family="regnett"), "Did you mean 'regnet"),
        (dict(n=0), "`n` must be an integer above 0"),
        (dict(max_latency=3), "must be given together"),
        (
            dict(latency=lambda config: 9.0, max_latency=3),
            "at least 9, the lowest of 200 networks",
        ),
        (dict(latency=3.0, max_latency=3), "must be a function"),
        (dict(latency=len, max_latency="3ms"), "a number above 0.*'3ms'"),
        (dict(latency=len, max_latency=0), "a number above 0"),
        (dict(latency=len, max_latency=float("nan")), "a number above 0"),
        (
            dict(latency=lambda config: None, max_latency=3),
            "must return a number of 0 or more.*None for RegNetConfig",
        ),
        (
            dict(latency=lambda config: float("nan"), max_latency=3),
            "must return .*nan",
        ),
        (dict(latency=lambda config: -1.0, max_latency=3), "must return .*-1"),
    )
    def test_refused(self, arguments, message):
        with self.assertRaisesRegex(ValueError, message):
            design_space.propose(**arguments)

    def test_impossible_budget_says_how_near(self):
        with self.assertRaisesRegex(
            ValueError,
            "`flops` and `params` together .*admitted by .* or params=",
        ):
            design_space.propose(flops="1GF", params="1M")

    def test_small_images(self):
        found = design_space.propose(
            flops="20MF", n=2, input_shape=(64, 64, 3), classes=10
        )
        for config, flops in zip(found, found.flops, strict=True):
            counted = complexity(config, (64, 64, 3), classes=10)
            self.assertEqual(counted.flops, flops)


if __name__ == "__main__":
    absltest.main()
