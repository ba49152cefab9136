"""The experiment families: its networks, its verdicts, its results."""

import dataclasses

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from experiments.families import networks
from experiments.families import results
from keras_regnet.design_space import records
from tests.support import design_space_testing as testing


def _records(budget, means, seeds=results.SEEDS):
    """Returns records whose errors are means, give or take a half."""
    return [
        dataclasses.replace(
            testing.RECORD,
            trial_id=f"{family}-{seed}",
            config=networks.every()[budget, family].to_json(),
            error=mean + (seed - (seeds - 1) / 2) / 4,
        )
        for family, mean in means.items()
        for seed in range(seeds)
    ]


class NetworksTest(parameterized.TestCase):
    @parameterized.parameters(*networks.BUDGETS)
    def test_files_hold_the_networks(self, budget):
        """If not: python experiments/families/networks.py."""
        self.assertEqual(
            networks.file(budget).read_text(), networks.text(budget)
        )

    @parameterized.parameters(*networks.BUDGETS)
    def test_are_within_the_budget(self, budget):
        for family in networks.FAMILIES:
            config = networks.every()[budget, family.name]
            flops = keras_regnet.complexity(
                config, (32, 32, 3), classes=10
            ).flops
            self.assertLessEqual(abs(flops / (budget * 1e6) - 1), 0.03)


class ResultsTest(absltest.TestCase):
    def test_welch(self):
        """Against the formula."""
        rng = np.random.default_rng(0)
        a, b = rng.normal(40, 1, 5), rng.normal(41, 2, 5)
        error = np.sqrt(a.var(ddof=1) / 5 + b.var(ddof=1) / 5)
        found = results.compare(a, b)
        self.assertAlmostEqual(found.mean, a.mean() - b.mean())
        self.assertBetween(found.high - found.mean, 2.3 * error, 2.8 * error)

    def test_verdicts(self):
        means = {family.name: 40.0 for family in networks.FAMILIES}
        means |= {"RegNetX": 38.0, "RegNetY": 39.0}
        text = results.text(_records(5, means))
        self.assertIn("| RegNetX | 38.00 ± 0.49 | 5 | 5.01 M |", text)
        self.assertRegex(text, r"1 \| RegNetX < ResNet .* 5 M .*\| reproduced")
        self.assertRegex(text, r"3 \| RegNetY < .* 5 M .*\| contradicted")
        self.assertRegex(text, r"1 \| RegNetX < .* 15 M \|.*too few seeds yet")

    def test_equal_networks_are_undecided(self):
        means = {family.name: 40.0 for family in networks.FAMILIES}
        text = results.text(_records(5, means))
        self.assertEqual(text.count("| not reproduced (undecided) |"), 7)

    def test_four_seeds_are_too_few(self):
        means = {family.name: 40.0 for family in networks.FAMILIES}
        text = results.text(_records(5, means, seeds=4))
        self.assertEqual(text.count("too few seeds yet"), 14)

    def test_results_are_those_of_the_records(self):
        """If not: python experiments/families/results.py."""
        found = records.read(results.FOLDER / "records.jsonl.gz")
        self.assertEqual(
            (results.FOLDER / "RESULTS.md").read_text(), results.text(found)
        )


if __name__ == "__main__":
    absltest.main()
