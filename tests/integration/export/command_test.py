"""Tests of the command line of the export."""

import contextlib
import csv
import io
import json
import os
import pathlib
import tempfile
from unittest import mock

import keras
import numpy as np
import tensorflow_datasets as tfds
from absl.testing import absltest
from absl.testing import parameterized
from PIL import Image

import keras_regnet
from keras_regnet import export
from keras_regnet.export import __main__ as command_line
from keras_regnet.export import images as images_lib
from tests.support import export_testing


def _photos(folder, count=6):
    """Writes photographs of classes a to d, in folders within folders."""
    for index, image in enumerate(export_testing.images(count, 40, 48)):
        path = folder / "deep" / "abcd"[index % 4] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


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


class CommandTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.inputs = pathlib.Path(
            cls.enterClassContext(tempfile.TemporaryDirectory())
        )
        cls.run_folder = cls.inputs / "run"
        (cls.run_folder / "saved_model").mkdir(parents=True)
        export_testing.network("x").save(cls.run_folder / "model.keras")
        (cls.run_folder / "config.json").write_text(
            json.dumps({"config": {"image_size": 32}})
        )
        (cls.run_folder / "saved_model" / "labels.txt").write_text(
            "a\nb\nc\nd\n"
        )
        _photos(cls.inputs / "photos")
        (cls.inputs / "empty").mkdir()
        (cls.inputs / "empty.txt").write_text("")
        (cls.inputs / "binary.txt").write_bytes(b"\xff\xfe")
        (cls.inputs / "broken.keras").write_text("nothing")

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )

    def command(self, *arguments):
        """Returns status, stdout and stderr; {...} names what we have."""
        named = [
            argument.format(inputs=self.inputs, out=self.folder)
            for argument in arguments
        ]
        command_line._FLAGS.unparse_flags()
        for flag in command_line._FLAGS:
            command_line._FLAGS[flag].value = command_line._FLAGS[flag].default
        with (
            contextlib.redirect_stdout(io.StringIO()) as output,
            contextlib.redirect_stderr(io.StringIO()) as errors,
        ):
            status = command_line.main(["export", *named])
        return status, output.getvalue(), errors.getvalue()

    def test_int8_of_a_run(self):
        status, output, errors = self.command(
            "{inputs}/run",
            "--quantize=int8",
            "--representative={inputs}/photos",
            "--report={out}/report.json",
            "--results={out}/results.csv",
            "--out={out}/model.tflite",
        )
        self.assertEqual((status, errors), (0, ""))
        self.assertCountEqual(
            os.listdir(self.folder),
            ["model.tflite", "model.labels.txt", "report.json", "results.csv"],
        )
        for words in (
            "int8 ranges of 6 images of the folder",
            "worst layers",
            "top-1 accuracy",
            "XNNPACK",
        ):
            self.assertIn(words, output)
        report = json.loads((self.folder / "report.json").read_text())
        self.assertEqual(report["images"], 6)
        self.assertTrue(report["passed"])
        with (self.folder / "results.csv").open() as file:
            (row,) = csv.DictReader(file)
        self.assertEqual((row["source"], row["images"]), ("export", "6"))
        self.assertAlmostEqual(
            float(row["top1"]), 100 * report["file_accuracy"], 3
        )

    def test_onnx_of_a_keras_file_and_its_comparison(self):
        status, output, _ = self.command(
            "{inputs}/run/model.keras",
            "--format=onnx",
            "--batch=dynamic",
            "--image_size=32x48",
            "--out={out}/model.onnx",
        )
        self.assertEqual(status, 0)
        self.assertIn("compared on noise", output)
        status, output, _ = self.command(
            "{inputs}/run/model.keras",
            "--image_size=32x48",
            "--tolerance=1e-12",
            "--existing={out}/model.onnx",
        )
        self.assertEqual(status, 1)
        self.assertRegex(output, "verdict +max absolute error .* is above")
        status, _, errors = self.command(
            "{out}/model.onnx", "--out={out}/model.tflite"
        )
        self.assertEqual(status, 1)
        self.assertIn("an exported file is compared by --existing", errors)

    def test_gray_photographs(self):
        model = keras_regnet.build(
            export_testing.NETWORKS["x"], input_shape=(32, 32, 1), classes=2
        )
        model.save(self.folder / "gray.keras")
        for images in ((), ("--images={inputs}/photos",)):
            status, output, errors = self.command(
                "{out}/gray.keras", "--out={out}/model.tflite", *images
            )
            self.assertEqual((status, errors), (0, ""))
        self.assertRegex(output, "images compared +6\n")
        self.assertIn("no accuracy: the classes of", output)

    def test_a_sequential_model(self):
        model = export_testing.network("x", 32)
        keras.Sequential([keras.Input((32, 32, 3)), model]).save(
            self.folder / "sequential.keras"
        )
        for form, name in (("litert", "model.tflite"), ("saved_model", "m")):
            status, _, errors = self.command(
                "{out}/sequential.keras",
                f"--format={form}",
                f"--out={{out}}/{name}",
            )
            self.assertEqual((status, errors), (0, ""))

    def test_saved_model_without_comparison(self):
        status, output, _ = self.command(
            "{inputs}/run",
            "--format=saved_model",
            "--fold_batch_norm",
            "--noverify",
            "--out={out}/saved_model",
        )
        self.assertEqual(
            (status, output), (0, f"wrote {self.folder}/saved_model\n")
        )
        self.assertIn("labels.txt", os.listdir(self.folder / "saved_model"))

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
        (
            ("{inputs}/run", "--out={inputs}/broken.keras/a.tflite"),
            "broken.keras",
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
        _photos(self.folder)
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
        _photos(photos)
        linked = photos / "deep" / "b"
        linked.rename(self.folder / "elsewhere")
        linked.symlink_to(self.folder / "elsewhere")
        # A link that leads back into its own folder is not followed for ever.
        (photos / "deep" / "back").symlink_to(photos)
        loaded = images_lib.load(str(photos), 32)
        self.assertEqual(loaded.class_names, ("a", "b", "c", "d"))
        self.assertEqual(loaded.labels.tolist(), [0, 0, 1, 1, 2, 3])

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

    def test_unreadable(self):
        (self.folder / "image.jpg").write_text("nothing")
        with self.assertRaisesRegex(ValueError, "read: .*image.jpg"):
            images_lib.load(str(self.folder), 32)


class LatencyTest(absltest.TestCase):
    def test_latency(self):
        model = export_testing.network("x")
        found = export.latency(model, image_size=32, threads=2, calls=4)
        self.assertEqual((found.threads, found.calls), (2, 4))
        self.assertGreater(found.milliseconds, 0)
        self.assertEqual(found.delegate, "XNNPACK")
        with mock.patch("time.perf_counter", side_effect=[0, 1, 5, 7, 9, 12]):
            found = export.latency(
                model, quantize="none", image_size=32, calls=3, warm_up=0
            )
        self.assertEqual(found.milliseconds, 2000)
        self.assertEqual((found.least, found.most), (1000, 3000))
        with self.assertRaisesRegex(ValueError, "`group_width` must be"):
            export.latency(model, quantize="none", image_size=32, group_width=0)


if __name__ == "__main__":
    absltest.main()
