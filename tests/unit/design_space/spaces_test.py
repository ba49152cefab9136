import dataclasses
import itertools
import math

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized
from scipy import stats

from keras_regnet import design_space
from keras_regnet import plan
from keras_regnet import variants
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.design_space import space

# Below this a fixed seed is so unlucky that the draws must be wrong.
_MIN_P_VALUE = 1e-4


def _rng(seed=0):
    return np.random.default_rng(seed)


def _draw(chosen, n=100_000):
    return chosen.candidates(_rng().random((chosen.numbers, n))).parameters


def _log_uniform(values, below_first):
    """Chance of a log-uniform number to be rounded up to each value."""
    edges = [below_first, *values]
    whole = math.log(edges[-1] / edges[0])
    return {
        high: math.log(high / low) / whole
        for low, high in itertools.pairwise(edges)
    }


_POWERS = (1, 2, 4, 8, 16, 32)
_MARGINALS = {
    "depths": _log_uniform(range(1, 17), 0.5),
    "widths": _log_uniform(range(8, 1025, 8), 4),
    "bottleneck_ratios": dict.fromkeys((1, 2, 4), 1 / 3),
    "group_widths": dict.fromkeys(_POWERS, 1 / 6),
    "depth": dict.fromkeys(range(1, 64), 1 / 63),
    "w_0": _log_uniform(range(8, 249, 8), 4),
}


class SizeTest(parameterized.TestCase):
    @parameterized.parameters(
        # Paper, table 1, with one digit more computed from its formulas.
        ("AnyNetX_A", 1.847e18),
        ("AnyNetX_B", 6.840e16),
        ("AnyNetX_C", 3.167e14),
        ("AnyNetX_D", 1.319e13),
        ("AnyNetX_E", 5.498e11),
        ("RegNetX", 3.020e8),
        ("AnyNetV_A", (16 * 128) ** 4),
        ("RegNetR", 64**4 * 3),
        ("RegNetX_constrained", 40 * 64**3 * 6 * 2 / 3),
    )
    def test_table_1(self, name, size):
        self.assertAlmostEqual(space(name).size() / size, 1, delta=5e-4)

    def test_exact(self):
        two = space("AnyNetX_C").vary(stages=2)
        two = two.restrict(depths=1, bottleneck_ratios=1, group_widths=8)
        rising = two.restrict(widths=(8, 24)).restrict(widths="rising")
        # 8 8, 8 16, 8 24, 16 16, 16 24, 24 24
        self.assertEqual(rising.size(exact=True), 6)
        self.assertEqual(rising.size(), round(9 / 2))

    def test_restrictions_shrink(self):
        whole = space("RegNetX").size()
        self.assertEqual(space("RegNetX", w_m=2).size(), whole // 64)
        self.assertEqual(space("RegNetX", w_0="w_a").size(), whole // 64)
        narrow = space("RegNetX", depth=(12, 28)).size()
        self.assertEqual(narrow, whole // 64 * 17)


class MarginalsTest(parameterized.TestCase):
    def _assert_drawn(self, values, chances):
        found, counts = np.unique(values, return_counts=True)
        self.assertContainsSubset(found.tolist(), chances)
        by_value = dict(zip(found.tolist(), counts.tolist(), strict=True))
        counts = [by_value.get(value, 0) for value in chances]
        expected = np.array([*chances.values()]) * np.size(values)
        self.assertGreater(
            stats.chisquare(counts, expected).pvalue, _MIN_P_VALUE
        )

    @parameterized.parameters(
        ("AnyNetX_A", "depths"),
        ("AnyNetX_A", "widths"),
        ("AnyNetX_A", "bottleneck_ratios"),
        ("AnyNetX_A", "group_widths"),
    )
    def test_each_stage(self, name, parameter):
        for stage in _draw(space(name))[parameter]:
            self._assert_drawn(stage, _MARGINALS[parameter])

    @parameterized.parameters("bottleneck_ratios", "group_widths")
    def test_equal_is_one_draw(self, parameter):
        drawn = _draw(space("AnyNetX_C"))[parameter]
        self.assertTrue((drawn == drawn[0]).all())
        self._assert_drawn(drawn[0], _MARGINALS[parameter])

    @parameterized.parameters("rising", "falling")
    def test_ordered_as_among_free_draws(self, order):
        drawn = _draw(space("AnyNetX_C", depths=order))["depths"]
        steps = np.diff(drawn, axis=0) * (1 if order == "rising" else -1)
        self.assertGreaterEqual(steps.min(), 0)
        chances = _MARGINALS["depths"]
        tuples = {
            depths: math.prod(map(chances.get, depths))
            for depths in itertools.product(range(1, 17), repeat=4)
            if all(a <= b for a, b in itertools.pairwise(depths))
        }
        total = sum(tuples.values())
        for place in range(4):
            marginal = dict.fromkeys(range(1, 17), 0.0)
            for depths, chance in tuples.items():
                marginal[depths[place]] += chance / total
            drawn_place = place if order == "rising" else 3 - place
            self._assert_drawn(drawn[drawn_place], marginal)
        # The pair in the middle, too: order links the stages.
        pairs = dict.fromkeys(
            itertools.combinations_with_replacement(range(1, 17), 2), 0.0
        )
        for depths, chance in tuples.items():
            pairs[depths[1:3]] += chance / total
        middle = np.sort(drawn[1:3], axis=0)
        coded = {
            16 * low + high: chance for (low, high), chance in pairs.items()
        }
        self._assert_drawn(16 * middle[0] + middle[1], coded)

    @parameterized.parameters("depth", "w_0")
    def test_regnet(self, parameter):
        chosen = space("RegNetX")
        uniforms = _rng().random((1, 100_000))
        drawn = chosen.samplers[parameter].sample(uniforms)
        self._assert_drawn(drawn, _MARGINALS[parameter])

    @parameterized.parameters(
        ("w_a", 7.9, 255.9, 0.1), ("w_m", 1.499, 3, 0.001)
    )
    def test_regnet_log_uniform(self, parameter, low, high, step):
        drawn = (
            space("RegNetX")
            .samplers[parameter]
            .sample(_rng().random((1, 9999)))
        )
        on_grid = np.abs(drawn / step - np.round(drawn / step))
        self.assertLess(on_grid.max(), 1e-6)
        # Within a step, the logarithm is uniform.
        place = np.log(drawn[0] / low) / math.log(high / low)
        self.assertGreater(stats.kstest(place, "uniform").pvalue, _MIN_P_VALUE)


class RestrictTest(parameterized.TestCase):
    def test_restrictions_are_listed(self):
        self.assertEqual(
            space("AnyNetX_E").restrictions,
            (
                "bottleneck_ratios equal",
                "group_widths equal",
                "widths rising",
                "depths rising",
            ),
        )
        self.assertEqual(
            repr(space("RegNetX_constrained").restrict(depth=(12, 28))),
            "RegNetX_constrained, depth in [12, 28]",
        )

    def test_d_is_c_with_rising_widths(self):
        by_hand = space("AnyNetX_A").restrict(
            bottleneck_ratios="equal", group_widths="equal", widths="rising"
        )
        uniforms = _rng().random((by_hand.numbers, 50))
        drawn = [
            s.candidates(uniforms).networks
            for s in (by_hand, space("AnyNetX_D"))
        ]
        np.testing.assert_array_equal(drawn[0].widths, drawn[1].widths)

    @parameterized.parameters(
        ("AnyNetX_C", dict(widths="falling"), "widths", -1),
        ("AnyNetX_C", dict(widths="equal"), "widths", 0),
        ("AnyNetX_D", dict(depths="falling"), "depths", -1),
        ("AnyNetX_D", dict(depths="equal"), "depths", 0),
    )
    def test_counterexamples(self, name, restriction, parameter, sign):
        drawn = _draw(space(name, **restriction), 500)[parameter]
        steps = np.sign(np.diff(drawn, axis=0))
        self.assertContainsSubset(np.unique(steps), {0, sign})

    @parameterized.parameters(
        ("AnyNetX_D", dict(widths="falling"), "`widths` cannot be .falling"),
        ("AnyNetX_B", dict(bottleneck_ratios=3), "1, 2, 4: restrictions"),
        ("RegNetX", dict(w_m=(3.5, 4)), "values from 1.5 to 3: restrict"),
        ("RegNetX", dict(depth=(30, 20)), "two numbers in order"),
        ("RegNetX", dict(w_m="w_a"), "`w_m` must be a number or"),
        ("RegNetX", dict(depth="x"), "`depth` must be a number or"),
        ("RegNetX", dict(depth=(-5, -1)), "positive finite number between"),
        ("RegNetX", dict(w_m=(np.inf, np.inf)), "positive finite number"),
        (
            "RegNetX",
            dict(lean="no"),
            "`lean` must be True.*Received: lean='no'",
        ),
        ("RegNetX_constrained", dict(lean=False), "`lean` must be True"),
        ("RegNetX", dict(widths="rising"), "Unknown `restriction`"),
        ("RegNetX", dict(wm=2), "Did you mean 'w_m'"),
        ("AnyNetX_A", dict(widths="rise"), "Did you mean 'rising'"),
        ("AnyNetV_A", dict(group_widths="equal"), "Unknown `restriction`"),
        ("RegNetX", dict(depth=12.5), "restrictions contradict"),
    )
    def test_refused(self, name, restriction, message):
        with self.assertRaisesRegex(ValueError, message):
            space(name, **restriction)

    def test_not_lean_is_no_restriction(self):
        plain = space("RegNetX", lean=False)
        self.assertFalse(plain.lean)
        self.assertEqual(repr(plain), "RegNetX")

    def test_one_restriction_after_another_that_contradicts_it(self):
        shallow = space("RegNetX", depth=(1, 10))
        with self.assertRaisesRegex(ValueError, "depth in .1, 10.*contradict"):
            shallow.restrict(depth=(12, 28))

    def test_unknown_space(self):
        with self.assertRaisesRegex(ValueError, "Did you mean 'AnyNetX_A'"):
            space("AnyNetX-A")
        with self.assertRaisesRegex(ValueError, "Unknown `name`"):
            space(3)

    def test_all_spaces_have_samples(self):
        for name in design_space.list_spaces():
            sample = space(name).sample(_rng(), n=3, flops=(1e8, 1e9))
            self.assertLen(sample, 3, name)


class VaryTest(parameterized.TestCase):
    @parameterized.parameters(
        ("AnyNetX_A", 3), ("AnyNetX_E", 5), ("RegNetX", 3), ("RegNetX", 5)
    )
    def test_stages(self, name, stages):
        sample = space(name).vary(stages=stages).sample(_rng(), n=5)
        for config in sample:
            self.assertLen(plan.stages(config), stages)

    def test_template(self):
        chosen = space("RegNetX").vary(
            stem="cifar", stem_width=16, activation="silu", strides=(1, 2, 2, 2)
        )
        for config in chosen.sample(_rng(), n=3, input_shape=(32, 32, 3)):
            self.assertEqual(
                (config.stem, config.stem_width, config.activation),
                ("cifar", 16, "silu"),
            )
            self.assertEqual(config.strides, (1, 2, 2, 2))

    def test_norm(self):
        chosen = space("RegNetX").vary(norm="group", norm_group_width=8)
        self.assertEqual(
            repr(chosen), "RegNetX, norm group, norm_group_width 8"
        )
        (config,) = chosen.sample(_rng(), n=1)
        self.assertEqual((config.norm, config.norm_group_width), ("group", 8))
        self.assertTrue(chosen.contains(config))
        self.assertFalse(space("RegNetX").contains(config))

    def test_depthwise_and_inverted(self):
        depthwise = space("RegNetX_constrained", group_width=1)
        for config in depthwise.sample(_rng(), n=3, flops=(1e8, 1e9)):
            groups = [s.groups == s.inner_width for s in plan.stages(config)]
            self.assertTrue(all(groups))
        inverted = space("RegNetX").vary(bottleneck_ratio=(1 / 8, 0.25, 0.5, 1))
        ratios = {c.bottleneck_ratio for c in inverted.sample(_rng(), n=60)}
        self.assertEqual(ratios, {1 / 8, 0.25, 0.5, 1})

    def test_new_values_replace_a_restriction(self):
        wide = space("RegNetX", group_width=(8, 16), w_m=2)
        wide = wide.vary(group_width=(24, 32, 64))
        self.assertEqual(
            repr(wide), "RegNetX, w_m = 2, group_width (24, 32, 64)"
        )
        groups = {config.group_width for config in wide.sample(_rng(), n=40)}
        self.assertEqual(groups, {24, 32, 64})

    @parameterized.parameters(
        (dict(stem="cifr"), "Did you mean 'cifar'"),
        (dict(stages=0), "`stages` must be an integer above 0"),
        (dict(strides=(2, 2)), "one value per stage, 4"),
        (dict(resolution=(33, 63)), "multiple of 32"),
        (dict(block="v"), "`group_width` must be None"),
        (dict(expand_from="input"), "must be 'output' in a design space"),
        (dict(norm="grup"), "Did you mean 'group'"),
        (dict(stem_wdth=3), "Did you mean 'stem_width'"),
    )
    def test_refused(self, changes, message):
        with self.assertRaisesRegex(ValueError, message):
            space("RegNetX").vary(**changes)


class ContainsTest(parameterized.TestCase):
    @parameterized.parameters("A", "B", "C", "D", "E")
    def test_chain(self, letter):
        """Samples of a space lie in all spaces before it."""
        sample = space(f"AnyNetX_{letter}").sample(_rng(), n=60)
        inside = {
            other: sum(map(space(f"AnyNetX_{other}").contains, sample))
            for other in "ABCDE"
        }
        for other, count in inside.items():
            if other <= letter:
                self.assertEqual(count, 60, other)
            else:
                self.assertLess(count, 60, other)

    def test_what_restrictions_mean(self):
        config = AnyNetConfig((1, 2, 3, 4), (32, 64, 64, 128), 2, 1, 16)
        inside = {
            name: space(f"AnyNetX_{name}").contains(config) for name in "ABCDE"
        }
        self.assertEqual(set(inside.values()), {True})

        def letters(**changes):
            changed = dataclasses.replace(config, **changes)
            return "".join(
                letter
                for letter in "ABCDE"
                if space(f"AnyNetX_{letter}").contains(changed)
            )

        self.assertEqual(letters(depths=(1, 2, 3, 2)), "ABCD")
        self.assertEqual(letters(widths=(64, 32, 64, 128)), "ABC")
        self.assertEqual(letters(group_widths=(16, 8, 16, 16)), "AB")
        self.assertEqual(letters(bottleneck_ratios=(1, 2, 2, 2)), "A")
        self.assertEqual(letters(depths=(1, 2, 3, 17)), "")
        self.assertEqual(letters(widths=(32, 64, 64, 1040)), "")
        self.assertEqual(letters(strides=(1, 2, 2, 2)), "")
        self.assertEqual(letters(se_ratio=0.25), "")

    def test_clamped_groups_may_have_been_wider(self):
        # 16 channels cannot hold a group of 32, so one group was asked for.
        config = AnyNetConfig(
            (1,) * 4, (16, 64, 96, 96), 2, 1, (16, 32, 32, 32)
        )
        self.assertTrue(space("AnyNetX_C").contains(config))
        # But here a group of 32 would have fitted.
        other = dataclasses.replace(config, widths=(32, 64, 96, 96))
        self.assertFalse(space("AnyNetX_C").contains(other))

    def test_order_holds_before_groups_fit(self):
        rising = space("AnyNetX_A", widths="rising")
        # 24 channels round to 32 with groups of 16 and stay with groups of 8.
        config = AnyNetConfig((1,) * 4, (32, 24, 24, 24), 2, 1, (16, 8, 8, 8))
        self.assertTrue(rising.contains(config))
        other = dataclasses.replace(config, group_widths=8)
        self.assertFalse(rising.contains(other))

    def test_published_networks(self):
        small = variants.get_config("RegNetX-200MF")
        for name in (
            "AnyNetX_A",
            "AnyNetX_E",
            "RegNetX",
            "RegNetX_constrained",
        ):
            self.assertTrue(space(name).contains(small), name)
        self.assertFalse(space("RegNetY").contains(small))
        # Four in the third stage, two in the last.
        self.assertFalse(
            space("AnyNetX_E").contains(variants.get_config("RegNetX-800MF"))
        )
        # w_0 = 320.
        self.assertFalse(
            space("RegNetX").contains(variants.get_config("RegNetX-32GF"))
        )

    def test_regnet(self):
        small = variants.get_config("RegNetX-200MF")

        def inside(*restrictions, **changes):
            chosen = space("RegNetX", **dict(restrictions))
            return chosen.contains(dataclasses.replace(small, **changes))

        self.assertTrue(inside(w_0=21.3, w_a=36.4444))
        self.assertFalse(inside(depth=64))
        self.assertFalse(inside(w_m=3.1))
        self.assertFalse(inside(group_width=24))
        self.assertFalse(inside(bottleneck_ratio=3))
        # Too shallow for four stages.
        self.assertFalse(inside(depth=3))
        self.assertFalse(inside(("w_0", "w_a")))
        self.assertTrue(inside(("w_0", "w_a"), w_0=36, w_a=36))
        with self.assertRaisesRegex(ValueError, "fit one"):
            space("RegNetX").contains(plan.anynet_config(small))

    @parameterized.parameters("RegNetX", "RegNetY_constrained", "RegNetVR")
    def test_own_samples(self, name):
        chosen = space(name)
        for config in chosen.sample(_rng(1), n=40, flops=(1e8, 1e9)):
            self.assertIsInstance(config, RegNetConfig)
            self.assertTrue(chosen.contains(config), config)


if __name__ == "__main__":
    absltest.main()
