"""The claims of the experiments, and that their results are current."""

import pathlib
import tempfile

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

from experiments import figures
from experiments import verdicts
from experiments.cifar10 import claims
from experiments.cifar10_long import claims as long_claims
from experiments.cifar10_long import pilot
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


def _records(experiment, count=None):
    """Returns records of all spaces of an experiment."""
    return [
        record
        for key, space in experiment.spaces.items()
        for record in testing.population(
            space, count or experiment.planned[key], 50
        )
    ]


class VerdictTest(parameterized.TestCase):
    @parameterized.parameters(
        (40, 50, "reproduced"),
        (50, 40, "contradicted"),
        (50, 50, "not reproduced (undecided)"),
    )
    def test_better(self, first, second, expected):
        populations = _population(first), _population(second, seed=1)
        self.assertEqual(verdicts.better(*populations).verdict(), expected)
        other = verdicts.worse(*populations[::-1])
        self.assertEqual(other.verdict(), expected)

    @parameterized.parameters(
        (50, 1.0, "reproduced"),
        (51, 1.0, "reproduced"),
        (55, 1.0, "contradicted"),
        (52, 1.0, "not reproduced (undecided)"),
        (50, 20.0, "not reproduced (undecided)"),
    )
    def test_equal(self, mean, spread, expected):
        result = verdicts.equal(2.0)(
            _population(mean, spread=spread),
            _population(50, spread=spread, seed=1),
        )
        self.assertEqual(result.verdict(), expected)

    @parameterized.parameters(
        (40, 50, "reproduced"),
        (50, 40, "contradicted"),
    )
    def test_search(self, first, second, expected):
        result = verdicts.finds_better(32)(
            _population(first), _population(second, seed=1)
        )
        self.assertEqual(result.verdict(), expected)

    @parameterized.parameters(
        (lambda b: b <= 2, "reproduced"), (lambda b: b > 2, "contradicted")
    )
    def test_best_value(self, allowed, expected):
        evaluate = verdicts.best_value(
            lambda n: n.bottleneck_ratios[0], allowed
        )
        result = evaluate(_population(50))
        self.assertEqual((result.ours, result.interval), ("2", "[2, 2]"))
        self.assertEqual(result.verdict(), expected)

    def test_part(self):
        population = _population(50)
        for record in population.done[:32]:
            object.__setattr__(record, "error", record.error - 10)
        better = {record.network for record in population.done[:32]}
        self.assertLen(better, 1)  # All have one network: no two parts.
        result = verdicts.part_better(lambda n: n in better)(population)
        self.assertEqual(result.verdict(), verdicts.UNDECIDED)

    def test_levels_agree_with_intervals(self):
        """A p-value is where the interval of `compare` ends at zero."""
        first, second = _population(50), _population(50.3, seed=1)
        finding = verdicts.better(first, second)
        for level in (0.5, 0.9, 0.95, 0.99):
            compared = design_space.compare(
                first.errors,
                second.errors,
                np.random.default_rng(0),
                level=level,
            )
            self.assertEqual(
                compared.high < 0, finding.agrees <= 1 - level, level
            )

    @parameterized.parameters(
        # Holm's thresholds of three: 0.0167, 0.025, 0.05.
        ((0.01, 0.02, 0.04), 3, (True, True, True)),
        ((0.04, 0.03, 0.01), 3, (False, False, True)),
        ((0.04,), 3, (False,)),
        ((0.01, 0.02), 3, (True, True)),
    )
    def test_holm(self, p_values, family, decided):
        findings = {
            number: verdicts.Finding("", "", p_value, 1.0)
            for number, p_value in enumerate(p_values)
        }
        found = verdicts.holm(findings, family)
        self.assertEqual(
            [found[n] == verdicts.REPRODUCED for n in range(len(decided))],
            list(decided),
        )

    def test_mean_best(self):
        errors = _population(50).errors
        self.assertAlmostEqual(
            float(verdicts._mean_best(errors, 32)),
            float(design_space.best_of_n(errors, [32]).mean[0]),
        )


class TableTest(absltest.TestCase):
    def test_a_row_for_each_claim(self):
        found = testing.population("AnyNetX_D", 20, 40)
        found += testing.population("AnyNetX_C", 20, 50)
        found += testing.population("AnyNetX_E", 7, 50)
        judged = verdicts.judge(claims.EXPERIMENT, found)
        table = verdicts.table(claims.EXPERIMENT, found, judged)
        rows = table.splitlines()[2:]
        self.assertLen(rows, 12)
        self.assertRegex(rows[1], r"\| 20, 20 \| 0, 0 \| reproduced \|$")
        self.assertEndsWith(rows[2], "| too few trials |")
        self.assertLen({row.count("|") for row in rows}, 1)

    def test_unfinished_experiment_says_so(self):
        found = _records(claims.EXPERIMENT)
        self.assertEqual(verdicts._interim(claims.EXPERIMENT, found), "")
        interim = verdicts._interim(claims.EXPERIMENT, found[1:])
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
            text = verdicts.results(claims.EXPERIMENT, found)
            with self.subTest((n, other)):
                self.assertEqual(
                    "Claim 1 is undecided only by the margin" in text, said
                )

    def test_results_are_those_of_the_records(self):
        found = records.read(_FOLDER / "records.jsonl.gz")
        written = (_FOLDER / "RESULTS.md").read_text()
        self.assertEqual(verdicts.results(claims.EXPERIMENT, found), written)
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


class LongTest(absltest.TestCase):
    def test_claims(self):
        """Each is about spaces that are trained, and is decided by n of 64."""
        experiment = long_claims.EXPERIMENT
        numbers = [claim.number for claim in experiment.claims]
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
        used = {key for claim in experiment.claims for key in claim.spaces}
        self.assertEqual(used, set(experiment.spaces))
        readme = (_FOLDER.parent / "cifar10_long" / "README.md").read_text()
        for space in experiment.spaces.values():
            self.assertIn(f'"{space}"' if " " in space else space, readme)
        for claim in experiment.claims:
            self.assertIn(f"| {claim.number} | ", readme)
            self.assertIn(f"| {claim.paper} |", readme)

    def test_corrected_for_the_number_of_claims(self):
        found = testing.population("AnyNetX_D", 64, 48.3)
        found += testing.population("AnyNetX_C", 64, 50, seed=1)
        text = verdicts.results(long_claims.EXPERIMENT, found)
        self.assertIn("| p | verdict |", text)
        self.assertRegex(text, r"\| 3 \| D < C .*\| .*undecided\) \|")
        self.assertIn("decided by an own interval of 95 %: 3.", text)
        self.assertIn("2 of 20 claims are decided.", text)

    def test_verdicts_of_few_networks_are_interim(self):
        for n, expected in ((63, "interim: reproduced"), (64, "reproduced")):
            found = testing.population("AnyNetX_D", n, 40)
            found += testing.population("AnyNetX_C", n, 50, seed=1)
            text = verdicts.results(long_claims.EXPERIMENT, found)
            self.assertRegex(text, rf"\| 3 \| D < C .*\| {expected} \|")
            self.assertIn(f"{3 * (n == 64)} of 20 claims are decided.", text)

    def test_sampled(self):
        """All spaces have networks within the regime's budget."""
        spec = spec_lib.Spec(
            regime=regimes.get("cifar10_long"),
            spaces=tuple(long_claims.EXPERIMENT.spaces.values()),
            n=1,
        )
        with tempfile.TemporaryDirectory() as folder:
            trials = spec_lib.sample(spec, folder)
        by_space = {trial.space: trial.network for trial in trials}
        spaces = long_claims.EXPERIMENT.spaces
        self.assertLess(by_space[spaces["b <= 1"]].bottleneck_ratio, 1.001)
        self.assertEqual(by_space[spaces["g = 1"]].group_width, 1)
        self.assertEqual(by_space[spaces["Swish"]].activation, "silu")
        self.assertEqual(by_space[spaces["Y"]].se_ratio, 0.25)

    def test_figures(self):
        found = testing.population("AnyNetX_A", 8, 40)
        found += testing.population("AnyNetX_B", 8, 50)
        with tempfile.TemporaryDirectory() as folder:
            text = figures.write(
                pathlib.Path(folder) / "figures",
                [
                    figures.Edfs("both", "Both spaces", ("A", "B")),
                    figures.Edfs("none", "No networks", ("A", "C")),
                    figures.Scatter("depth", "Depth", ("A",), "depth"),
                ],
                long_claims.EXPERIMENT.spaces,
                found,
            )
            drawn = sorted(pathlib.Path(folder).rglob("*.svg"))
            self.assertEqual([p.stem for p in drawn], ["both", "depth"])
            both, depth = (path.read_text() for path in drawn)
        self.assertIn("(figures/both.svg)", text)
        self.assertNotIn("No networks", text)
        for part in ("Both spaces", "AnyNetX_B: n = 8, [", "error (%)"):
            self.assertIn(part, both)
        self.assertIn("depth (blocks); best: ", depth)

    def test_edf_has_its_steps(self):
        rows = list(figures._steps(np.array([40.0, 50.0]), (39.0, 51.0)))
        edf = [(row["edf"]["error"], row["edf"]["share"]) for row in rows]
        self.assertEqual(edf, [(39, 0), (40, 0.5), (50, 1), (51, 1)])
        for row in rows:
            share = row["edf"]["share"]
            self.assertBetween(share, row["band"]["low"], row["band"]["high"])


class PilotTest(absltest.TestCase):
    def test_best_rate(self):
        found = {
            rate: testing.population("RegNetX", 2, mean)
            for rate, mean in ((0.05, 50), (0.1, 40), (0.2, 45))
        }
        errors = pilot.errors_by_rate(found)
        self.assertEqual(pilot.best_rate(errors), 0.1)
        failed = testing.FAILED
        errors = pilot.errors_by_rate({0.1: [failed], 0.2: found[0.2]})
        self.assertEqual(errors[0.1].tolist(), [90.0])
        self.assertEqual(pilot.best_rate(errors), 0.2)

    def test_networks(self):
        found = testing.population("A", 8, 40)
        found += testing.population("B", 8, 50, seed=1)
        variances = [
            np.var([r.error for r in found if r.space == space], ddof=1)
            for space in "AB"
        ]
        # 3.822 is the quantile 0.2 of chi-squared with 7 degrees of freedom,
        # 2.802 the sum of the normal quantiles 0.975 and 0.8.
        at_most = np.sqrt(np.mean(variances) * 7 / 3.822)
        normal = 2 * (2.802 * at_most / 3) ** 2
        self.assertBetween(pilot.networks(found), normal, normal + 2)


class SampleTest(absltest.TestCase):
    def test_the_same_networks_are_sampled_today(self):
        spec = spec_lib.Spec(
            regime=regimes.get("cifar10"),
            spaces=tuple(claims.EXPERIMENT.spaces.values()),
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
