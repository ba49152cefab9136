"""The export's command line: what it refuses, and the images that it reads."""

import os
import pathlib
import tempfile
from unittest import mock

import numpy as np
import tensorflow_datasets as tfds
from absl.testing import absltest
from absl.testing import parameterized
from PIL import Image

from keras_regnet.export import images as images_lib
from tests.support import command_testing
from tests.support import export_testing
from tests.support import image_corpus


class _Builder:
    """Stands for a set of tensorflow-datasets; images show their labels."""

    def __init__(self, **labels):
        self._labels = labels
        self.info = mock.Mock(
            splits={
                split: mock.Mock(num_examples=len(found))
                for split, found in labels.items()
            },
            features={"label": mock.Mock(names=["a", "b"])},
        )

    def as_dataset(self, split):
        split, _, end = split.partition("[:")
        labels = self._labels[split]
        if end:
            labels = labels[: int(end.removesuffix("]"))]
        for label in labels:
            yield {
                "image": np.full((32, 32, 3), label, "uint8"),
                "label": label,
            }


class CommandTest(command_testing.CommandTestCase):
    @parameterized.parameters(
        ((), "One MODEL is needed"),
        (("RegNetX-200MF",), "One of --out and --existing"),
        (("RegNetX-20MF", "--out={out}/a.tflite"), "Did you mean"),
        (("{inputs}/run", "--out={out}/a.onnx"), "must end in '.tflite'"),
        (("{inputs}/empty", "--out={out}/a.tflite"), "must be a run folder"),
        (
            ("{inputs}/broken.keras", "--out={out}/a.tflite"),
            "is not a readable .keras file",
        ),
        (
            ("{inputs}/none.keras", "--out={out}/a.tflite"),
            "`model` does not exist",
        ),
        (
            ("{inputs}/run", "--quantize=int8", "--out={out}/a.tflite"),
            "`representative` must be given for quantize=int8",
        ),
        (
            ("{inputs}/run", "--quantize=int8", "--out={out}/a.tflite",
             "--representative={inputs}/empty"),
            "No images",
        ),
        (
            ("{inputs}/run", "--quantize=int8", "--out={out}/a.tflite",
             "--representative=no_such_set", "--data_dir={inputs}"),
            "Received: source='no_such_set'",
        ),
        (
            ("{inputs}/run", "--format=onnx", "--quantize=int8",
             "--out={out}/a.onnx"),
            "`quantize` is for format=litert",
        ),
        (
            ("{inputs}/run", "--bfloat16", "--out={out}/a.tflite"),
            "`bfloat16` is for format=saved_model. Received: bfloat16=True",
        ),
        (
            ("{inputs}/run", "--format=saved_model", "--input=int8",
             "--out={out}/a"),
            "`input` is for format=litert or onnx",
        ),
        (
            ("{inputs}/run", "--format=saved_model", "--batch=4",
             "--out={out}/a"),
            "`batch` is for",
        ),
        (
            ("{inputs}/run", "--noverify", "--report={out}/a.json",
             "--out={out}/a.tflite"),
            "`report` needs --verify",
        ),
        (
            ("{inputs}/run", "--format=saved_model", "--out={inputs}/photos"),
            "older SavedModel, which is replaced",
        ),
        (
            ("{inputs}/run", "--image_size=\u00b2", "--out={out}/a.tflite"),
            "HEIGHTxWIDTH",
        ),
        (
            ("{inputs}/run", "--weights=imagenet", "--out={out}/a.tflite"),
            "`weights` is for a variant",
        ),
        (
            ("{inputs}/run", "--labels={inputs}/empty.txt",
             "--out={out}/a.tflite"),
            "0 names for 4 outputs",
        ),
        (
            ("{inputs}/run", "--labels={inputs}/binary.txt",
             "--out={out}/a.tflite"),
            "binary.txt is not a text in UTF-8",
        ),
        (
            ("{inputs}/run", "--batch=many", "--out={out}/a.tflite"),
            "`batch` must be",
        ),
        (
            ("{inputs}/run", "--image_size=big", "--out={out}/a.tflite"),
            "HEIGHTxWIDTH",
        ),
        (
            ("{inputs}/run", "--existing={inputs}/broken.keras"),
            "Unknown `file`",
        ),
        (
            ("{inputs}/run", "--quantize=int9", "--out={out}/a.tflite"),
            "int9",
        ),
    )  # fmt: skip
    def test_errors_in_one_line(self, arguments, message):
        status, _, errors = self.command(*arguments)
        self.assertEqual(status, 1)
        self.assertRegex(errors, r"^error: [^\n]*\n$")
        self.assertIn(message, errors)
        self.assertEqual(os.listdir(self.folder), [])

    def test_help_names_the_flags(self):
        status, output, _ = self.command("--help")
        self.assertEqual(status, 0)
        for flag in ("--format", "--representative", "--[no]fold_batch_norm"):
            self.assertIn(flag, output)


class ImagesTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )

    def test_folder(self):
        command_testing.write_photos(self.folder)
        loaded = images_lib.load(str(self.folder), 32)
        self.assertEqual(loaded.pixels.shape, (6, 32, 32, 3))
        self.assertEqual(loaded.pixels.dtype, np.uint8)
        self.assertEqual(loaded.class_names, ("a", "b", "c", "d"))
        self.assertEqual(loaded.labels.tolist(), [0, 0, 1, 1, 2, 3])
        few = images_lib.load(str(self.folder), (32, 64), count=2)
        self.assertEqual(few.pixels.shape, (2, 32, 64, 3))
        self.assertEqual(few.labels.tolist(), [0, 3])

    def test_class_folders_may_be_links(self):
        photos = self.folder / "photos"
        photos.mkdir()
        command_testing.write_photos(photos)
        linked = photos / "deep" / "b"
        linked.rename(self.folder / "elsewhere")
        linked.symlink_to(self.folder / "elsewhere")
        # A link that leads back into its own folder is not followed for ever.
        (photos / "deep" / "back").symlink_to(photos)
        loaded = images_lib.load(str(photos), 32)
        self.assertEqual(loaded.class_names, ("a", "b", "c", "d"))
        self.assertEqual(loaded.labels.tolist(), [0, 0, 1, 1, 2, 3])

    def test_folders_are_read_as_the_trainer_reads_them(self):
        pixels = image_corpus.photo(40, 40)
        for place, kind in (
            ("train/ant/a.png", "png"), ("train/ant/more/b.webp", "webp"),
            ("valid/bee/c.bmp", "bmp"),
        ):  # fmt: skip
            path = self.folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image_corpus.encode(pixels, kind))
            (path.parent / "Thumbs.db").write_text("")
        (self.folder / "train" / "notes.txt").write_text("")
        loaded = images_lib.load(str(self.folder), 32)
        self.assertEqual(loaded.class_names, ("ant", "bee"))
        self.assertEqual(loaded.labels.tolist(), [0, 0, 1])
        self.assertLen(loaded.others, 1)
        self.assertIn("notes.txt", loaded.others[0])
        inner = images_lib.load(str(self.folder / "train" / "ant"), 32)
        self.assertLen(inner.pixels, 2)

    def test_center_is_cut_out(self):
        image = export_testing.images(1, 37, 57)[0]
        (self.folder / "one").mkdir()
        Image.fromarray(image).save(self.folder / "one" / "image.png")
        loaded = images_lib.load(str(self.folder), 32)
        self.assertIsNone(loaded.labels)
        np.testing.assert_array_equal(loaded.pixels[0], image[3:35, 13:45])

    def test_photograph_of_a_camera_held_sideways(self):
        image = Image.fromarray(export_testing.images(1, 40, 40)[0])
        sideways = Image.Exif()
        sideways[0x0112] = 6
        # Colors at full resolution: else what a block has depends on the turn.
        options = {"quality": 100, "subsampling": 0}
        image.save(self.folder / "a.jpg", **options)
        image = image.rotate(90)
        image.save(self.folder / "b.jpg", exif=sideways, **options)
        upright, turned = images_lib.load(str(self.folder), 32).pixels
        difference = np.abs(upright.astype(int) - turned)
        self.assertLess(difference.mean(), 2)

    def test_set_of_tensorflow_datasets(self):
        """Calibration takes no image that the comparison takes."""
        builder = _Builder(train=range(10), test=range(100, 106))
        with (
            mock.patch.object(tfds, "builder", return_value=builder) as make,
            mock.patch.object(tfds, "as_numpy", lambda dataset: dataset),
        ):
            held_out = images_lib.load("some_set", 32, 3, "there")
            training = images_lib.load("some_set", 32, 4, training=True)
            all_of_it = images_lib.load("some_set", 32, 99, training=True)
        make.assert_any_call("some_set", data_dir="there")
        self.assertEqual(held_out.labels.tolist(), [100, 102, 105])
        self.assertEqual(held_out.pixels[:, 5, 7, 1].tolist(), [100, 102, 105])
        self.assertEqual(held_out.class_names, ("a", "b"))
        self.assertEqual(training.labels.tolist(), [0, 1, 2, 3])
        self.assertEqual(all_of_it.labels.tolist(), list(range(10)))

    def test_sizes_beyond_the_limit_are_refused_by_name(self):
        bomb = image_corpus.bombs()["png of 60000"]
        (self.folder / "bomb.png").write_bytes(bomb)
        with self.assertRaisesRegex(
            ValueError, r"bomb.png \(the file declares more than 178956970 pix"
        ):
            images_lib.load(str(self.folder), 32)

    def test_unreadable(self):
        (self.folder / "image.jpg").write_text("nothing")
        with self.assertRaisesRegex(ValueError, "read: .*image.jpg"):
            images_lib.load(str(self.folder), 32)


if __name__ == "__main__":
    absltest.main()
