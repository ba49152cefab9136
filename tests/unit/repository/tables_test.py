"""The tables and the picture of README and docs/ are those of the data."""

import csv
import re

from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from benchmarks import tables
from tests.support import paths


class TablesTest(parameterized.TestCase):
    @parameterized.named_parameters(
        (page.stem, page) for page in tables.pages()
    )
    def test_pages_are_current(self, page):
        """If not: python benchmarks/tables.py."""
        text = page.read_text()
        self.assertEqual(text, tables.filled(text))

    def test_pages_have_the_tables(self):
        for page, names in {
            "README.md": ["numbers", "accuracy"],
            "docs/networks.md": ["networks"],
            "docs/speed.md": ["models"],
            "docs/published_weights.md": ["weights"],
        }.items():
            text = (paths.ROOT / page).read_text()
            found = re.findall(r"<!-- table: (\w+) -->", text)
            self.assertEqual(found, names, page)
            self.assertEqual(text.count("<!-- end -->"), len(names), page)

    def test_picture_is_of_the_data(self):
        """If not: python benchmarks/tables.py."""
        self.assertIn(f"data {tables.digest()}", tables.PICTURE.read_text())

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
