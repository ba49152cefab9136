"""The figures of docs/scaling.md agree with the networks and each other."""

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

    def test_rows_follow_from_the_complexities(self):
        """Which complexity_test.py holds against published ones."""
        for name, row in _rows().items():
            batch, own, gradient, *_, work, _ = row
            network = keras_regnet.complexity(keras_regnet.get_config(name))
            recipe = recipes.get("paper", name)
            self.assertEqual(batch, recipe.global_batch_size, name)
            # Float32; a training step is three times the inference.
            size = 4 * network.params / 1e6
            self.assertAlmostEqual(gradient, size, delta=0.051, msg=name)
            flops = 3 * network.flops * own / 1e12
            self.assertAlmostEqual(work, flops, delta=0.0051, msg=name)

    def test_columns_agree(self):
        for name, row in _rows().items():
            batch, own, gradient, sent, slow, fast, _, steps = row
            self.assertEqual(own * _WORKERS, batch, name)
            # Around the ring each of eight parts is passed on 14 times.
            self.assertAlmostEqual(sent, 14 / 8 * gradient, delta=0.14)
            self.assertAlmostEqual(sent, slow * 10 / 8, delta=0.12, msg=name)
            self.assertAlmostEqual(fast, slow / 10, delta=0.011, msg=name)
            self.assertBetween(_IMAGES - steps * batch, 0, batch - 1, name)

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
