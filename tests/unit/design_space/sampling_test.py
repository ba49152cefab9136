import ast
import hashlib
import json
import math
import re
import tracemalloc
from unittest import mock

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import plan
from keras_regnet.complexity import complexity
from keras_regnet.design_space import arrays
from keras_regnet.design_space import sampling
from keras_regnet.design_space import space

_BAND = (360e6, 400e6)


def _sample(name, seed=0, n=30, **arguments):
    rng = np.random.default_rng(seed)
    return space(name).sample(rng, n=n, **arguments)


def _built(config):
    """What a network is built of, without the parameters behind it."""
    return plan.stages(config)


class SampleTest(parameterized.TestCase):
    @parameterized.parameters(
        "AnyNetX_A",
        "AnyNetX_E",
        "AnyNetVR_D",
        "RegNetX",
        "RegNetY",
        "RegNetR",
        "RegNetZ",
    )
    def test_budget_holds_and_complexity_is_exact(self, name):
        sample = _sample(
            name, flops=_BAND, params=(2e6, 20e6), activations=(1e6, 9e6)
        )
        self.assertLen(sample, 30)
        for index, config in enumerate(sample):
            counted = complexity(config)
            self.assertBetween(counted.flops, *_BAND)
            self.assertBetween(counted.params, 2e6, 20e6)
            self.assertBetween(counted.activations, 1e6, 9e6)
            self.assertEqual(
                (counted.flops, counted.params, counted.activations),
                (
                    sample.flops[index],
                    sample.params[index],
                    sample.activations[index],
                ),
            )

    def test_other_images_stem_and_classes(self):
        sample = _sample(
            "RegNetX",
            flops=(2e6, 3e6),
            input_shape=(32, 48, 1),
            stem="cifar",
            classes=10,
        )
        for config, flops in zip(sample, sample.flops, strict=True):
            self.assertEqual(config.stem, "cifar")
            counted = complexity(config, (32, 48, 1), classes=10)
            self.assertEqual(counted.flops, flops)
            self.assertBetween(flops, 2e6, 3e6)

    def test_no_two_are_built_alike(self):
        # 6 group widths are drawn, but 2 channels hold groups of 1 or 2.
        few = space("AnyNetX_A", depths=1, widths=8, bottleneck_ratios=4)
        sample = few.sample(np.random.default_rng(0), n=16)
        self.assertLen(set(map(_built, sample)), 16)
        self.assertGreater(sample.acceptance.duplicates, 0)
        self.assertEqual(
            sample.acceptance.candidates,
            sample.acceptance.duplicates + sample.acceptance.accepted,
        )

    def test_acceptance_adds_up(self):
        acceptance = _sample("RegNetX", flops=_BAND).acceptance
        self.assertEqual(acceptance.accepted, 30)
        self.assertEqual(
            acceptance.candidates,
            acceptance.accepted
            + acceptance.wrong_stages
            + acceptance.outside
            + acceptance.duplicates,
        )
        self.assertEqual(acceptance.rate, 30 / acceptance.candidates)
        self.assertIn("30 of", str(acceptance))
        # Half of the band holds about half of the networks.
        half = _sample("RegNetX", n=300, flops=(380e6, 400e6)).acceptance
        whole = _sample("RegNetX", n=300, flops=_BAND).acceptance
        self.assertBetween(half.rate / whole.rate, 0.35, 0.65)

    def test_is_a_sequence(self):
        sample = _sample("AnyNetX_C", n=4)
        self.assertEqual(sample[1:3], (sample[1], sample[2]))
        self.assertIn(sample[3], sample)

    def test_constrained_space(self):
        sample = _sample("RegNetX_constrained", n=100, flops=_BAND)
        for config in sample:
            self.assertLessEqual(config.depth, 40)
            self.assertGreaterEqual(config.w_m, 2)
            self.assertEqual(config.bottleneck_ratio, 1)
        gigaflops = sample.flops / 1e9
        self.assertTrue((sample.params <= (3 + 5.5 * gigaflops) * 1e6).all())
        allowed = 6.5e6 * np.sqrt(gigaflops)
        self.assertTrue((sample.activations <= allowed).all())
        # Not so without the restriction.
        free = _sample("RegNetX", n=100, flops=_BAND)
        allowed = 6.5e6 * np.sqrt(free.flops / 1e9)
        self.assertFalse((free.activations <= allowed).all())

    def test_free_resolution(self):
        chosen = space("RegNetX").vary(resolution=(100, 448))
        rng = np.random.default_rng(0)
        sample = chosen.sample(rng, n=60, flops=_BAND)
        self.assertContainsSubset(
            sample.resolutions.tolist(), range(128, 449, 32)
        )
        self.assertGreater(len(set(sample.resolutions.tolist())), 5)
        for index, side in enumerate(sample.resolutions.tolist()):
            counted = complexity(sample[index], (side, side, 3))
            self.assertEqual(counted.flops, sample.flops[index])


class RepeatableTest(parameterized.TestCase):
    @parameterized.parameters("AnyNetX_A", "AnyNetX_E", "RegNetX")
    def test_chunks_change_nothing(self, name):
        expected = _sample(name, flops=_BAND)
        for chunk in (1000, 20_000):
            with mock.patch.object(sampling, "CHUNK", chunk):
                sample = _sample(name, flops=_BAND)
            self.assertEqual(sample.configs, expected.configs)
            self.assertEqual(sample.acceptance, expected.acceptance)

    def test_seeds(self):
        self.assertNotEqual(
            _sample("RegNetX", 0).configs, _sample("RegNetX", 1).configs
        )
        rng = np.random.default_rng(0)
        samples = [space("RegNetX").sample(rng, n=5) for _ in range(2)]
        self.assertNotEqual(samples[0].configs, samples[1].configs)
        # The generator moves on by as much whatever was asked for.
        other = np.random.default_rng(0)
        space("AnyNetX_A").sample(other, n=50, flops=_BAND)
        again = space("RegNetX").sample(other, n=5)
        self.assertEqual(again.configs, samples[1].configs)

    @parameterized.parameters(
        ("AnyNetX_A", "2f564e5eae5659d3"),
        ("AnyNetX_D", "adc8d14ad7066a57"),
        ("RegNetX", "91c339af4b1bb085"),
    )
    def test_on_any_machine(self, name, digest):
        """Recorded once: another machine must draw the same networks."""
        names = ("depths", "widths", "bottleneck_ratios", "group_widths")
        if name == "RegNetX":
            names = ("depth", "w_0", "w_a", "w_m", "group_width")
        drawn = [
            [getattr(config, field) for field in names]
            for config in _sample(name, n=100, flops=_BAND)
        ]
        found = hashlib.sha256(json.dumps(drawn).encode()).hexdigest()[:16]
        self.assertEqual(found, digest)

    def test_memory_is_flat(self):
        def peak(candidates):
            tracemalloc.start()
            with self.assertRaises(ValueError):
                _sample("AnyNetX_A", flops=(1, 2), max_candidates=candidates)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return peak

        peak(10_000)
        few, many = peak(20_000), peak(300_000)
        self.assertLess(many, 1.2 * few)
        self.assertLess(many, 30e6)


class RefusalTest(parameterized.TestCase):
    def _refusal(self, name, **arguments):
        with self.assertRaises(ValueError) as caught:
            _sample(name, **{"max_candidates": 50_000, **arguments})
        return str(caught.exception)

    @parameterized.parameters(
        (dict(flops=(1, 9e5), params=(1, 1e9)), "`flops` alone"),
        (
            dict(flops=(4e9, 5e9), params=(1, 9e5), activations=(1, 1e9)),
            "`flops` and `params` together",
        ),
        (
            dict(flops=(1, 9e5), params=(1, 9e2)),
            "`flops` alone excludes all of them, and `params` alone",
        ),
    )
    def test_says_which_bounds_exclude_all(self, ranges, expected):
        text = self._refusal("RegNetX", **ranges, n=1)
        self.assertRegex(text, f"{expected} excludes? all of them")

    def test_each_bound_that_it_offers_admits_a_network(self):
        ranges = dict(flops=(360e6, 400e6), activations=(4.5e6, 9e6))
        space = "RegNetX_constrained"
        text = self._refusal(space, **ranges, n=1)
        self.assertIn("`activations` and `lean` together exclude", text)
        offered = re.findall(r"(flops|activations)=(\(\d+, \d+\))", text)
        changed = [
            (name, ast.literal_eval(ends))
            for name, ends in offered
            if ast.literal_eval(ends) != ranges[name]
        ]
        self.assertLen(changed, 2)
        for name, ends in changed:
            moved = {**ranges, name: ends}
            found = _sample(space, **moved, n=1, max_candidates=50_000)
            self.assertLen(found, 1)
            # And it is the nearest: one less would not do.
            low, high = ends
            less = (
                (low + 1, high) if low != ranges[name][0] else (low, high - 1)
            )
            self._refusal(space, **{**ranges, name: less}, n=1)
        self.assertIn("or a space that is not lean", text)

    def test_gives_up_early_where_all_hope_is_gone(self):
        text = self._refusal(
            "AnyNetX_A", flops=(1, 1000), n=1000, max_candidates=20_000_000
        )
        self.assertIn("among 147456 candidates", text)

    def test_empty_band_says_how_near(self):
        text = self._refusal("AnyNetX_A", flops=(1, 1000), n=1)
        self.assertIn("`flops` alone excludes all", text)
        self.assertIn("Received: n=1, flops=(1, 1000)", text)
        flops = float(text.split("nearest had ")[1].split(" flops")[0])
        # About the least that as many candidates have.
        chosen = space("AnyNetX_A")
        uniforms = np.random.default_rng(1).random((chosen.numbers, 50_000))
        least = arrays.complexity(
            chosen.candidates(uniforms).networks,
            chosen.template,
            chosen.strides,
            (224, 224),
        )[0].min()
        self.assertAlmostEqual(flops / least, 1, delta=0.1)

    def test_too_few_networks(self):
        one = space("AnyNetX_C", depths=1, widths=64)
        # 3 ratios times 6 group widths; 16 channels hold no group of 32.
        with self.assertRaisesRegex(ValueError, "17 different networks among"):
            one.sample(np.random.default_rng(0), n=19, max_candidates=9000)

    def test_no_number_of_stages(self):
        shallow = space("RegNetX", depth=3)
        with self.assertRaisesRegex(ValueError, "another number of stages"):
            shallow.sample(np.random.default_rng(0), n=1, max_candidates=9000)

    def test_contradictory_constraints(self):
        with self.assertRaisesRegex(ValueError, "params=.10000000, 20000000"):
            _sample(
                "RegNetX_constrained",
                flops=_BAND,
                params=(1e7, 2e7),
                max_candidates=50_000,
            )

    @parameterized.parameters(
        (dict(flops=(4e8, 3e8)), "`flops` must be .min, max."),
        (dict(params=5e6), "`params` must be"),
        (dict(activations=(0, math.nan)), "`activations` must be"),
        (dict(n=0), "`n` must be an integer above 0"),
        (dict(stem="cifr"), "Did you mean 'cifar'"),
        (dict(input_shape=(224, 224)), "`input_shape` must be"),
        (dict(classes=0), "`classes` must be"),
        (dict(max_candidates=0), "`max_candidates` must be"),
    )
    def test_bad_arguments(self, arguments, message):
        with self.assertRaisesRegex(ValueError, message):
            _sample("RegNetX", **arguments)

    def test_rng(self):
        with self.assertRaisesRegex(ValueError, "`rng` must be a NumPy"):
            space("RegNetX").sample(0)


if __name__ == "__main__":
    absltest.main()
