"""Class names and records beside files: they belong to one model."""

import pathlib
import tempfile

from absl.testing import absltest

from keras_regnet import labels
from keras_regnet import record_files
from keras_regnet.model_record import ModelRecord


class ReplacingTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.folder = pathlib.Path(folder)

    def _write(self, name, class_names, **fields):
        record = ModelRecord(class_names=class_names, **fields)
        with record_files.replacing(self.folder / name, record, 2) as partial:
            partial.touch()

    def test_files_of_one_stem_share_their_names(self):
        self._write("m.tflite", ("ant", "bee"))
        self._write("m.onnx", ("ant", "bee"))
        for others in (("cat", "dog"), None):
            with self.assertRaisesRegex(ValueError, "class names of m.tflite"):
                self._write("m.onnx", others)
        self.assertEqual(
            labels.read_labels(self.folder / "m.labels.txt"), ("ant", "bee")
        )

    def test_files_of_one_stem_share_their_record(self):
        names, size = ("ant", "bee"), (64, 96)
        self._write("m.tflite", names, image_size=size)
        self._write("m.onnx", names, image_size=size)
        with self.assertRaisesRegex(ValueError, "record of m.tflite"):
            self._write("m.onnx", names)
        self.assertEqual(
            record_files.find(self.folder / "m.onnx"),
            ModelRecord(image_size=size),
        )
        (self.folder / "m.record.json").write_text("[]")
        with self.assertRaisesRegex(ValueError, "Not the record .*m.record"):
            record_files.find(self.folder / "m.onnx")
        self.assertIsNone(record_files.find(self.folder / "other.onnx"))

    def test_names_of_an_older_file_go(self):
        self._write("m.tflite", ("ant", "bee"))
        self._write("m.tflite", ("cat", "dog"))
        path = self.folder / "m.labels.txt"
        self.assertEqual(labels.read_labels(path), ("cat", "dog"))
        self._write("m.tflite", None)
        self.assertFalse(path.exists())

    def test_what_else_ends_a_line_of_text(self):
        names = ("a\u2028b", "c\x0bd")
        self._write("m.tflite", names)
        self.assertEqual(
            labels.read_labels(self.folder / "m.labels.txt"), names
        )


if __name__ == "__main__":
    absltest.main()
