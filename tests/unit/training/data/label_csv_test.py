"""CSV files of labels: their forms, and what is wrong with them."""

import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from training.data import label_csv


class ReadTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.path = pathlib.Path(folder) / "labels.csv"

    def read(self, *lines, encoding="utf-8"):
        self.path.write_bytes("\n".join(lines).encode(encoding))
        return label_csv.read(self.path)

    def labels(self, table):
        return {row.file: row.labels for row in table.rows}

    @parameterized.parameters(
        # As Roboflow writes it, as pandas does, as spreadsheets do.
        (("filename, cat, honey bee", "1.jpg, 1, 0", "2.jpg, 0, 0",
          "3.jpg, 1, 1"),),
        (("file_name,cat,honey bee", "./1.jpg,1.0,0.0", "2.jpg,0.0,0.0",
          "3.jpg,1.0,1.0"),),
        (("Image,cat,honey bee", "1.jpg,TRUE,FALSE", "", "2.jpg,FALSE,false",
          '"3.jpg","True","true"'),),
    )  # fmt: skip
    def test_one_hot(self, lines):
        table = self.read(*lines)
        self.assertEqual(table.classes, ("cat", "honey bee"))
        self.assertEqual(
            self.labels(table),
            {"1.jpg": ("cat",), "2.jpg": (), "3.jpg": ("cat", "honey bee")},
        )

    @parameterized.parameters(
        (("filename,labels", '1.jpg,"cat;honey bee"', "2.jpg,", "3.jpg,cat"),),
        (("image_id,tags", "1.jpg,cat|honey bee|", "2.jpg,", "3.jpg,cat|cat"),),
        (("path,label", '1.jpg,"cat, honey bee"', '2.jpg,""', "3.jpg,cat"),),
    )  # fmt: skip
    def test_lists(self, lines):
        table = self.read(*lines)
        self.assertIsNone(table.classes)
        self.assertEqual(
            self.labels(table),
            {"1.jpg": ("cat", "honey bee"), "2.jpg": (), "3.jpg": ("cat",)},
        )

    def test_parts(self):
        table = self.read(
            "filename,split,cat,dog",
            "1.jpg,train,1,0",
            "2.jpg,Validation,0,1",
            "3.jpg,test,0,0",
        )
        self.assertTrue(table.has_parts)
        self.assertEqual(table.classes, ("cat", "dog"))
        self.assertEqual(
            [row.part for row in table.rows], ["train", "val", "test"]
        )

    def test_a_mark_of_utf8(self):
        table = self.read(
            "filename,labels", "1.jpg,Bär;Käse", encoding="utf-8-sig"
        )
        self.assertEqual(self.labels(table), {"1.jpg": ("Bär", "Käse")})
        self.assertTrue(label_csv.is_table(self.path))

    def test_one_label_with_a_space_is_said(self):
        with self.assertLogs("absl", "WARNING") as logs:
            table = self.read("filename,labels", "1.jpg,scab rust", "2.jpg,")
        self.assertIn("'scab rust' is taken for one label", logs.output[0])
        self.assertEqual(table.rows[0].labels, ("scab rust",))

    @parameterized.parameters(
        (("filename,cat", "1.jpg,2"), "line 2: column 'cat' must be 0 or 1"),
        (("filename,cat", "1.jpg,-1"), "Received: '-1'"),
        (("filename,cat", "1.jpg,"), "Received: ''"),
        (("filename,labels,width", "1.jpg,cat,640"), "'labels' must be 0 or 1"),
        (("filename,cat,dog", "1.jpg,1"), "line 2: 2 columns for 3"),
        (("filename,cat,dog", "1.jpg,1,0", ",,"), "line 3: no file is named"),
        (("filename,cat", "1.jpg,1", "1.jpg,0"), "3: '1.jpg' is in line 2"),
        (("filename,cat,cat", "1.jpg,1,1"), "columns of other names"),
        (("filename,cat,", "1.jpg,1,"), "columns of other names"),
        (("filename", "1.jpg"), "columns of other names"),
        (("filename,split", "1.jpg,train"), "columns of other names"),
        (("filename,cat",), "has no rows"),
        (("filename,split,cat", "1.jpg,trian,1"),
         "line 2: `split` must be .*'trian' .did you mean 'train'"),
        (("filename,labels", "1.jpg,a;b", "2.jpg,a|b"), "one of ; . and ,"),
        (("filename,labels", "1.jpg,Cat;dog", "2.jpg,cat"),
         "differ in case alone. Received: 'Cat', 'cat'"),
        (("filename,Cat,cat", "1.jpg,1,0"),
         "differ in case alone. Received: 'Cat', 'cat'"),
    )  # fmt: skip
    def test_what_is_wrong(self, lines, message):
        with self.assertRaisesRegex(ValueError, message) as raised:
            self.read(*lines)
        self.assertIn(str(self.path), str(raised.exception))

    def test_other_encodings(self):
        with self.assertRaisesRegex(ValueError, "text in UTF-8"):
            self.read("filename,labels", "1.jpg,Bär", encoding="latin-1")

    @parameterized.parameters("name,age", "cat,dog", "", '"')
    def test_other_tables(self, header):
        self.path.write_text(f"{header}\n1.jpg,2\n")
        self.assertFalse(label_csv.is_table(self.path))


if __name__ == "__main__":
    absltest.main()
