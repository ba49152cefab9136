"""Tests of the mobile benchmark, on a network that is soon converted."""

import json
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest

from benchmarks import mobile
from tests.support import export_testing


class MobileTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )
        self.enterContext(mock.patch.object(mobile, "SIZE", 32))
        self.enterContext(
            mock.patch.object(mobile, "TOP1", {"RegNetX-1MF": 50.0})
        )
        self.enterContext(
            mock.patch.object(
                mobile,
                "build",
                return_value=export_testing.network("x", 32),
            )
        )
        self.enterContext(
            mock.patch.object(
                mobile, "product_rates", return_value={1: 2.0, 2: 4.0}
            )
        )

    def test_record_table_and_plot(self):
        mobile.convert("RegNetX-1MF", self.folder)
        self.assertLen(list(self.folder.iterdir()), 5)
        record = mobile.measure(["RegNetX-1MF"], self.folder, 2)
        json.dumps(record)
        network = record["networks"]["RegNetX-1MF"]
        settings = [(f["form"], f["threads"]) for f in network["files"]]
        self.assertCountEqual(
            settings, [(form, n) for form in mobile.FORMS for n in (1, 2)]
        )
        for file in network["files"]:
            self.assertEqual(file["delegate"], "XNNPACK")
            rate = network["flops"] / file["milliseconds"] / 1e6
            product = 2.0 * file["threads"]
            self.assertAlmostEqual(
                file["share_of_product_rate"], rate / product
            )
        self.assertLess(
            network["files"][2]["bytes"], network["files"][0]["bytes"]
        )
        _, _, *rows = mobile.table(record)
        self.assertLen(rows, 4)
        self.assertIn("| 50.0 | int8 |", rows[1])
        mobile.plot(record, str(self.folder / "plot.png"))
        self.assertGreater((self.folder / "plot.png").stat().st_size, 5000)

    def test_files_that_are_there_stay(self):
        (self.folder / "RegNetX-1MF.json").write_text("{}")
        mobile.convert("RegNetX-1MF", self.folder)
        self.assertLen(list(self.folder.iterdir()), 1)


if __name__ == "__main__":
    absltest.main()
