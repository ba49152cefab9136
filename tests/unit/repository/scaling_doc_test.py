"""The arithmetic of docs/scaling.md, computed again."""

import re

from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from tests.support import paths
from training.config import recipes

_TEXT = (paths.ROOT / "docs" / "scaling.md").read_text()
_IMAGES, _WORKERS, _RATE = 1_281_167, 8, 5e12


def _rows():
    lines = re.findall(r"^\| (Re\S+) \| (.*) \|$", _TEXT, re.MULTILINE)
    return {
        name: [float(cell) for cell in cells.split(" | ")]
        for name, cells in lines
    }


class ScalingTest(parameterized.TestCase):
    def test_every_variant_has_its_row(self):
        self.assertEqual(tuple(_rows()), keras_regnet.list_variants())

    @parameterized.parameters(*keras_regnet.list_variants())
    def test_row(self, name):
        network = keras_regnet.get_config(name)
        complexity = keras_regnet.complexity(network, (224, 224, 3))
        batch, own, gradient, sent, slow, fast, work, steps = _rows()[name]
        self.assertEqual(batch, recipes.get("paper", name).global_batch_size)
        self.assertEqual(own, batch / _WORKERS)
        self.assertEqual(steps, _IMAGES // batch)
        size = 4 * complexity.params
        ring = size * 2 * (_WORKERS - 1) / _WORKERS
        self.assertAlmostEqual(gradient, size / 1e6, delta=0.051)
        self.assertAlmostEqual(sent, ring / 1e6, delta=0.051)
        self.assertAlmostEqual(slow, 1e3 * ring / (10e9 / 8), delta=0.051)
        self.assertAlmostEqual(fast, 1e3 * ring / (100e9 / 8), delta=0.0051)
        self.assertAlmostEqual(
            work, 3 * complexity.flops * own / 1e12, delta=0.0051
        )

    @parameterized.parameters(
        ("RegNetX-400MF", 128, "30.5 ms", "28.9 ms", "2.9 ms"),
        ("RegNetY-16GF", 32, "305.5 ms", "468.1 ms", "46.8 ms"),
    )
    def test_examples(self, name, images, *expected):
        network = keras_regnet.get_config(name)
        complexity = keras_regnet.complexity(network, (224, 224, 3))
        computing = 3e3 * complexity.flops * images / _RATE
        found = [f"{computing:.1f} ms"]
        ring = 4 * complexity.params * 2 * 7 / 8
        for link in (10e9, 100e9):
            found.append(f"{1e3 * ring / (link / 8):.1f} ms")
        self.assertEqual(found, list(expected))
        for text in expected:
            self.assertIn(text, " ".join(_TEXT.split()))

    @parameterized.parameters(
        ("RegNetX-400MF", "4191 images/s"), ("RegNetY-16GF", "105 images/s")
    )
    def test_input_rates(self, name, expected):
        flops = keras_regnet.complexity(
            keras_regnet.get_config(name), (224, 224, 3)
        ).flops
        rate = _RATE / (3 * flops)
        self.assertEqual(f"{rate:.0f} images/s", expected)
        self.assertIn(expected, " ".join(_TEXT.split()))
        if name == "RegNetX-400MF":
            self.assertIn(f"{8 * round(rate):,}", _TEXT)


if __name__ == "__main__":
    absltest.main()
