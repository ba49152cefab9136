"""Rows of results are whole, or they are not there."""

import csv
import errno
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest

from keras_regnet import results


class AppendTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.path = pathlib.Path(folder) / "results.csv"

    def _append(self, top1):
        row = {"source": "validate", "model": "m.keras", "top1": top1}
        results.append(self.path, row)

    def _top1(self):
        with self.path.open() as file:
            return [row["top1"] for row in csv.DictReader(file)]

    def test_a_full_disk_leaves_no_half_row(self):
        self._append(1)
        real_open = pathlib.Path.open

        def full(path, mode="r", **options):
            file = real_open(path, mode, **options)
            if mode != "ab":
                return file
            wrapped = mock.MagicMock(wraps=file)
            wrapped.__enter__.return_value = wrapped
            wrapped.write = lambda text: file.write(text[:9])
            wrapped.__exit__.side_effect = lambda *_: file.close()
            return wrapped

        before = self.path.read_bytes()
        with (
            mock.patch.object(pathlib.Path, "open", full),
            self.assertRaises(OSError) as raised,
        ):
            self._append(2)
        self.assertEqual(raised.exception.errno, errno.ENOSPC)
        self.assertEqual(self.path.read_bytes(), before)
        self._append(3)
        self.assertEqual(self._top1(), ["1", "3"])

    def test_what_cannot_be_written_is_found_out_before(self):
        with self.assertRaisesRegex(ValueError, "`results` must be a file"):
            results.check(self.path.parent)
        with (
            mock.patch("os.access", return_value=False),
            self.assertRaises(OSError) as raised,
        ):
            results.check(self.path / "in" / "a" / "folder.csv")
        self.assertEqual(raised.exception.errno, errno.EACCES)
        self.assertTrue(results.check(self.path))

    def test_a_file_without_a_last_line_break(self):
        self._append(1)
        self.path.write_bytes(self.path.read_bytes().rstrip(b"\n"))
        self._append(2)
        self.assertEqual(self._top1(), ["1", "2"])

    def test_a_file_of_before_several_labels(self):
        old = results.COLUMNS[: -len(results.MULTILABEL)]
        self.path.write_text(f"{','.join(old)}\n")
        self._append(1)
        self.assertEqual(self._top1(), ["1"])
        with self.assertRaisesRegex(ValueError, "columns .*,map,.*Received: "):
            results.check(self.path, multilabel=True)
        with self.assertRaisesRegex(ValueError, "with the columns"):
            results.append(self.path, {"source": "train", "map": 50.0})
        self.path.unlink()
        results.append(self.path, {"source": "train", "map": 50.0})
        self._append(2)
        with self.path.open() as file:
            rows = list(csv.DictReader(file))
        self.assertEqual([row["map"] for row in rows], ["50", ""])
        self.assertEqual(tuple(rows[0]), results.COLUMNS)

    def test_other_columns(self):
        self.path.write_text("time,source\n")
        with self.assertRaisesRegex(ValueError, "with the columns"):
            results.check(self.path)


if __name__ == "__main__":
    absltest.main()
