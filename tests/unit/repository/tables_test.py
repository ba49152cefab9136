"""The tables and the pictures of README and docs/ are those of the data."""

import csv
import re

from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from benchmarks import choosing
from benchmarks import side_by_side
from benchmarks import tables
from tests.support import paths


def _cells(table):
    return [
        line.removeprefix("| ").removesuffix(" |").split(" | ")
        for line in table.splitlines()
    ]


def _number(text):
    value, unit = text.split()
    return float(value) * {"M": 1, "G": 1e3, "MB": 1}[unit]


class TablesTest(parameterized.TestCase):
    @parameterized.named_parameters(
        (page.stem, page) for page in tables.pages()
    )
    def test_pages_are_current(self, page):
        """If not: python -m benchmarks table."""
        text = page.read_text()
        self.assertEqual(text, tables.filled(text))

    def test_pages_have_the_tables(self):
        for page, names in {
            "README.md": ["numbers", "accuracy"],
            "docs/networks.md": ["networks"],
            "docs/speed.md": [
                "models",
                "models_avx2",
                "models_settings",
                "precision",
            ],
            "docs/export.md": ["runtimes"],
            "docs/published_weights.md": ["weights"],
            "docs/choosing.md": [
                "choosing_multiply_adds",
                "choosing_latency",
                "choosing_memory",
                "choosing_license",
                "others_multiply_adds",
                "others_cpu",
                "others_gpu",
                "choosing_variants",
            ],
            "docs/side_by_side.md": [
                "mobile_regime",
                "equal_multiply_adds",
                "equal_activations",
                "efficientnets",
                "families",
                "explained",
            ],
        }.items():
            text = (paths.ROOT / page).read_text()
            found = re.findall(r"<!-- table: (\w+) -->", text)
            self.assertEqual(found, names, page)
            self.assertEqual(text.count("<!-- end -->"), len(names), page)

    @parameterized.named_parameters(
        (path.stem, path, picture) for path, picture in tables.PICTURES.items()
    )
    def test_pictures_are_of_the_data(self, path, picture):
        """If not: python -m benchmarks plot."""
        self.assertIn(f"data {picture.digest()}", path.read_text())

    def test_numbers(self):
        """README's numbers, counted from the files by other means."""
        data = paths.ROOT / "keras_regnet/data/weights.csv"
        with data.open() as file:
            rows = list(csv.DictReader(file))
        sets = {(row["variant"], row["tag"]) for row in rows}
        restricted = {"cc-by-nc-4.0", "seer-license"}
        permissive = {
            (row["variant"], row["tag"])
            for row in rows
            if row["licence"] not in restricted
        }
        found = re.findall(r"\d+", tables.numbers())
        self.assertEqual(
            list(map(int, found))[:4],
            [
                len(keras_regnet.list_variants()),
                len(sets),
                len(permissive),
                len(rows),
            ],
        )


class AccuracyTest(absltest.TestCase):
    def test_row_of_published_numbers(self):
        """timm: 82.724 % at 288; 19,436,338 parameters."""
        row = tables.accuracy_row("RegNetY-3.2GF")
        self.assertEqual(
            row[1:6], ["`ra_in1k`", "apache-2.0", "288", "82.7 %", "19.4 M"]
        )

    def test_widths_of_the_weights_count(self):
        """torchvision's RegNetX-400MF has 0.414 G, the paper's 0.398 G."""
        row = tables.accuracy_row("RegNetX-400MF")
        self.assertEqual(row[6], "414 M")
        self.assertEqual(row[7:], ["", ""])  # Not the network measured.

    def test_speeds_are_those_measured(self):
        row = tables.accuracy_row("RegNetX-200MF")
        self.assertEqual(row[7:], ["4.6", "3.3"])


class ChoosingTest(absltest.TestCase):
    def test_best_within_a_budget(self):
        """By another way: over the rows of the files."""
        for table, column in (
            (choosing.choosing_multiply_adds(), "multiply-adds"),
            (choosing.choosing_memory(), "float32"),
        ):
            header, _, *rows = _cells(table)
            top1 = [float(row[header.index("top-1, %")]) for row in rows]
            self.assertEqual(top1, sorted(top1), column)
            for row in rows:
                spent = _number(row[header.index(column)])
                self.assertLessEqual(spent, _number(row[0]), row)
                self.assertNotIn("cc-by-nc", " ".join(row))

    def test_license_of_the_best(self):
        rows = _cells(choosing.choosing_license())
        self.assertIn(["cc-by-nc-4.0", "no"], [row[:2] for row in rows])
        self.assertIn(["bsd-3-clause", "yes"], [row[:2] for row in rows])

    def test_a_measured_latency(self):
        """Within 5 ms in float32: only the two of 200 MF (mobile.json)."""
        row = _cells(choosing.choosing_latency())[4]
        self.assertEqual(row[0], "5 ms")
        self.assertEqual(row[1], "70.3: RegNetY-200MF `pycls_in1k`, 4.6 ms")

    def test_data_that_a_set_was_trained_on(self):
        """As the names of timm's sets say, before the fine-tuning."""
        for row in _cells(choosing.others_gpu())[2:]:
            if row[1] == "1k alone":
                self.assertNotRegex(" ".join(row), "in(12|21|22)k")
        rows = _cells(choosing.others_multiply_adds())
        alone = {row[0]: row[5] for row in rows if row[1] == "1k alone"}
        self.assertEqual(
            alone["at most 4.6 G"], "82.1 `convnext_tiny.fb_in1k` 224"
        )

    def test_timm_evaluates_what_the_records_say(self):
        """Two tables of one publisher, carried over at different times."""
        known = {
            (record.hub_id, record.test_size): record.top1
            for record in keras_regnet.list_weights(source="timm")
        }
        compared = 0
        for other in choosing.others():
            top1 = known.get((f"timm/{other.weights}", other.image_size))
            if top1 is not None:
                compared += 1
                self.assertAlmostEqual(other.top1, top1, delta=0.1)
        self.assertGreater(compared, 40)


class SideBySideTest(absltest.TestCase):
    def test_counts_are_the_published_ones(self):
        """Table 3 of the paper; its 11.1 M leave out 0.2 M of the max pool."""
        rows = _cells(side_by_side.equal_multiply_adds())
        self.assertEqual(
            next(row for row in rows if row[0] == "ResNet-152")[:6],
            ["ResNet-152", "11.5 G", "60.2 M", "22.8 M", "20.9 ± 0.12", "21.6"],
        )

    def test_what_stands_beside(self):
        """As the paper pairs them: ResNet-50 has RegNetX-4.0GF's flops."""
        by_flops = _cells(side_by_side.equal_multiply_adds())
        by_activations = _cells(side_by_side.equal_activations())
        beside = {row[0]: row[6:] for row in by_flops}
        self.assertEqual(
            beside["ResNet-50"],
            ["RegNetX-4.0GF", "0.97", "21.4 ± 0.19", "-1.8"],
        )
        beside = {row[0]: row[6:] for row in by_activations}
        self.assertEqual(beside["ResNet-50"][0], "RegNetX-3.2GF")

    def test_marks(self):
        """What is not computed or comes from others says so."""
        rows = {row[0]: row for row in _cells(side_by_side.mobile_regime())}
        self.assertEqual(
            rows["MobileNet"][1:], ["29.4 *", "570 M †", "4.2 M †"]
        )
        self.assertEqual(rows["RegNetX-600MF"][2], "601 M")
        rows = {row[0]: row for row in _cells(side_by_side.efficientnets())}
        self.assertEqual(rows["EfficientNet-B5"][3], "21.5 ± 0.11 ‡ 21.7")


class PicturePointsTest(absltest.TestCase):
    def test_no_restricted_license(self):
        free = {
            (record.variant, record.tag)
            for record in keras_regnet.list_weights()
            if record.licence in ("mit", "apache-2.0", "bsd-3-clause")
        }
        points = tables.points()
        self.assertGreater(len(points), 70)
        for variant, tag, flops, top1 in points:
            self.assertIn((variant, tag), free)
            self.assertBetween(flops, 1.9e8, 5e10)
            self.assertBetween(top1, 60, 90)


if __name__ == "__main__":
    absltest.main()
