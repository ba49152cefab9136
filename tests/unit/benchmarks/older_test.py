"""Results that were stored before the harness read as its own."""

import json
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

from benchmarks import evaluated
from benchmarks import plots
from benchmarks import result_table
from benchmarks.harness import results


def _stored(name):
    return json.loads((evaluated.RESULTS / f"{name}.json").read_text())


def _read(name):
    return results.read(evaluated.RESULTS / f"{name}.json")


class OlderTest(parameterized.TestCase):
    @parameterized.parameters(
        ("models_training", "training", 14),
        ("models_inference", "inference", 16),
        ("mobile", "litert", 64),
        ("input_pipeline", "input", 5),
        ("sampling", "sampler", 4),
        ("trials", "sweep", 4),
        ("trainer", "training", 2),
    )
    def test_has_a_table(self, name, suite, rows):
        result = _read(name)
        self.assertEqual(result["suite"], suite)
        self.assertLen(result_table.table(result).splitlines(), rows + 2)

    def test_ratios_are_those_that_were_stored(self):
        for name in ("models_training", "models_training_avx2"):
            stored = _stored(name)["settings"]
            for old, new in zip(stored, _read(name)["settings"], strict=True):
                for case, facts in old["contestants"].items():
                    found = result_table.ratio(new, case, "seconds")
                    expected = facts["ours_over_it"]
                    self.assertEqual(found._asdict(), expected)
                    self.assertAlmostEqual(
                        result_table.share_of_product(new, case),
                        facts["share_of_product_rate"],
                    )

    def test_latencies_are_those_that_were_stored(self):
        for name, network in _stored("mobile")["networks"].items():
            for file in network["files"]:
                if file["threads"] == 1:
                    found = evaluated.mobile()[name].milliseconds[file["form"]]
                    np.testing.assert_allclose(found, file["milliseconds"])

    def test_weight_parity_is_none(self):
        with self.assertRaisesRegex(ValueError, "is not a result"):
            _read("weight_parity")


class PlotTest(parameterized.TestCase):
    @parameterized.parameters("mobile", "models_inference")
    def test_is_drawn_beside_the_file(self, name):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        image = plots.draw(_read(name), folder / "result.json")
        self.assertEqual(image, folder / "result.png")
        self.assertGreater(image.stat().st_size, 5000)


if __name__ == "__main__":
    absltest.main()
