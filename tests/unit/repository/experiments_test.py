"""The claims of the CIFAR-10 experiment; that all results are current."""

import pathlib
import tempfile

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

from experiments.cifar10 import claims
from experiments.flowers import compare
from keras_regnet import design_space
from keras_regnet.config import from_json
from keras_regnet.design_space import records
from keras_regnet.design_space import summary
from tests.support import design_space_testing as testing
from training.sweeps import regimes
from training.sweeps import spec as spec_lib

_FOLDER = pathlib.Path(claims.__file__).parent


def _population(mean, count=64, spread=1.0, seed=0):
    """Returns a population with exactly this mean."""
    rng = np.random.default_rng(seed)
    errors = rng.normal(size=count) * spread
    errors = errors - errors.mean() + mean
    found = testing.population("A", count, mean)
    for record, error in zip(found, errors, strict=True):
        object.__setattr__(record, "error", float(error))
    return summary.Population("A", tuple(found), ())


class VerdictTest(parameterized.TestCase):
    @parameterized.parameters(
        (40, 50, "reproduced"),
        (50, 40, "contradicted"),
        (50, 50, "not reproduced (undecided)"),
    )
    def test_better(self, first, second, expected):
        result = claims._better(_population(first), _population(second, seed=1))
        self.assertEqual(result[-1], expected)
        other = claims._worse(_population(second), _population(first, seed=1))
        self.assertEqual(other[-1], expected)

    @parameterized.parameters(
        (50, 1.0, "reproduced"),
        (51, 1.0, "reproduced"),
        (55, 1.0, "contradicted"),
        (52, 1.0, "not reproduced (undecided)"),
        (50, 20.0, "not reproduced (undecided)"),
    )
    def test_equal(self, mean, spread, expected):
        result = claims._equal(
            _population(mean, spread=spread),
            _population(50, spread=spread, seed=1),
        )
        self.assertEqual(result[-1], expected)

    @parameterized.parameters(
        (40, 50, "reproduced"),
        (50, 40, "contradicted"),
    )
    def test_search(self, first, second, expected):
        result = claims._finds_better(
            _population(first), _population(second, seed=1)
        )
        self.assertEqual(result[-1], expected)

    @parameterized.parameters(
        (lambda b: b <= 2, "reproduced"), (lambda b: b > 2, "contradicted")
    )
    def test_best_value(self, allowed, expected):
        evaluate = claims._best_value(lambda n: n.bottleneck_ratios[0], allowed)
        result = evaluate(_population(50))
        self.assertEqual(result, ("2", "[2, 2]", expected))


class TableTest(absltest.TestCase):
    def test_a_row_for_each_claim(self):
        found = testing.population("AnyNetX_D", 20, 40)
        found += testing.population("AnyNetX_C", 20, 50)
        found += testing.population("AnyNetX_E", 7, 50)
        rows = claims.table(found).splitlines()[2:]
        self.assertLen(rows, 12)
        self.assertRegex(rows[1], r"\| 20, 20 \| 0, 0 \| reproduced \|$")
        self.assertEndsWith(rows[2], "| too few trials |")
        self.assertLen({row.count("|") for row in rows}, 1)

    def test_unfinished_experiment_says_so(self):
        found = [
            record
            for space in claims.SPACES.values()
            for record in testing.population(space, 64, 50)
        ]
        self.assertNotIn("Interim", claims.results(found))
        interim = claims.results(found[1:])
        self.assertIn("**Interim: 511 of 512 trials.**", interim)

    def test_only_the_margin_leaves_it_open(self):
        """Equal within the margin or not: that they differ is certain."""
        # Certain but small, equal, far apart, and anything.
        cases = (
            (64, 42, True),
            (64, 40, False),
            (64, 50, False),
            (8, 40, False),
        )
        for n, other, said in cases:
            found = testing.population("AnyNetX_A", n, 40)
            found += testing.population("AnyNetX_C", n, other, seed=1)
            text = claims.results(found)
            with self.subTest((n, other)):
                self.assertEqual(
                    "Claim 1 is undecided only by the margin" in text, said
                )

    def test_results_are_those_of_the_records(self):
        found = records.read(_FOLDER / "records.jsonl.gz")
        written = (_FOLDER / "RESULTS.md").read_text()
        self.assertEqual(claims.results(found), written)
        self.assertEqual({record.regime for record in found}, {"cifar10"})


class FlowersTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(compare.__file__).parent

    def test_results_are_those_of_the_records(self):
        written = (self.folder / "RESULTS.md").read_text()
        self.assertEqual(compare.results(), written)

    def test_the_picked_network_is_the_one_of_the_records(self):
        networks, errors = [], []
        for record in records.read(self.folder / "picks.jsonl"):
            if record.network not in networks:
                networks.append(record.network)
                errors.append([])
            errors[networks.index(record.network)].append(record.error)
        best = networks[design_space.pick(np.array(errors)).best]
        text = (self.folder / "networks/picked.json").read_text()
        self.assertEqual(from_json(text), best)

    def test_differences_by_photographs(self):
        """As of the correct shares: the interval is around the difference."""
        hits = compare.right()
        self.assertEqual(hits.shape, (5, 3, 736))
        rng = np.random.default_rng(0)
        low, high = compare._by_photographs(hits[0], hits[3], rng)
        difference = 100 * (hits[3].mean() - hits[0].mean())
        self.assertBetween(difference, low, high)
        self.assertLess(high, 0)


class SampleTest(absltest.TestCase):
    def test_the_same_networks_are_sampled_today(self):
        spec = spec_lib.Spec(
            regime=regimes.get("cifar10"),
            spaces=tuple(claims.SPACES.values()),
            n=2,
        )
        with tempfile.TemporaryDirectory() as folder:
            trials = spec_lib.sample(spec, folder)
        recorded = {
            (r.space, r.index): (r.network, r.seed, r.trial_id)
            for r in records.read(_FOLDER / "records.jsonl.gz")
        }
        for trial in trials:
            self.assertEqual(
                recorded[trial.space, trial.index],
                (from_json(trial.config), trial.seed, trial.trial_id),
            )


if __name__ == "__main__":
    absltest.main()
