"""What a sweep reads of a data set, by the trainer's data layer."""

import pathlib
import tempfile
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized

from tests.support import sweep_folders
from training.data import dataset
from training.data import load
from training.sweeps import convert
from training.sweeps import preparing
from training.sweeps import regimes


class FolderTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )

    @parameterized.parameters(
        (("",), {"train": 12, "val": 4, "test": 4}),
        (("train",), {"train": 12, "val": 4, "test": 4}),
        (("train", "val"), {"train": 16, "val": 4, "test": 20}),
        (("train", "test"), {"train": 16, "val": 4, "test": 20}),
        (
            ("train", "val", "test"),
            {"train": 20, "val": 20, "test": 20},
        ),
    )
    def test_parts(self, parts, counts):
        sweep_folders.write(self.folder, *parts)
        found = convert.read(sweep_folders.regime(self.folder), "")
        named = found.named()
        seen = {name: part.num_examples for name, part in named.items()}
        self.assertEqual(seen, counts)
        paths = [
            part.describe(index)
            for part in named.values()
            for index in range(part.num_examples)
        ]
        self.assertLen(set(paths), sum(counts.values()))
        for part in named.values():
            self.assertEqual(*np.bincount(part.labels))
        self.assertEqual(found.test_held_out, len(parts) == 1)

    def test_no_validation_part(self):
        """As the published regimes: errors are measured on the test images."""
        sweep_folders.write(self.folder, "train", "test")
        found = convert.read(
            sweep_folders.regime(self.folder, val_fraction=0.0), ""
        )
        self.assertIsNone(found.val)
        self.assertEqual(found.train.num_examples, 20)

    def test_other_images_than_when_sampled(self):
        sweep_folders.write(self.folder, "train", "val")
        said = convert.describe(sweep_folders.regime(self.folder), "")
        self.assertEqual((said["classes"], said["small"]), (2, False))
        regime = sweep_folders.regime(
            self.folder, data_digest=said["data_digest"]
        )
        (self.folder / "train" / "a" / "0.png").unlink()
        with self.assertRaisesRegex(ValueError, "has other images"):
            convert.store(regime, "", self.folder / "x.npz")

    @parameterized.parameters(
        ({"batch_size": 64}, "`batch_size` must not exceed.*16.*=64"),
        ({"train_images": 3}, "multiple of the number of classes"),
        ({"train_images": 40}, "`train_images` must be 16 at most"),
    )
    def test_too_few(self, change, message):
        sweep_folders.write(self.folder, "train", "val")
        with self.assertRaisesRegex(ValueError, message):
            convert.read(sweep_folders.regime(self.folder, **change), "")

    def test_one_image_a_class(self):
        sweep_folders.write(self.folder, "train", "val", images=1)
        with self.assertRaisesRegex(ValueError, "`val_fraction`.*two images"):
            convert.read(sweep_folders.regime(self.folder), "")

    def test_one_class(self):
        sweep_folders.write_images(self.folder / "train" / "a", 5, (1, 2, 3))
        with self.assertRaisesRegex(ValueError, "two class folders"):
            convert.read(sweep_folders.regime(self.folder), "")


class ThreePartsTest(absltest.TestCase):
    def test_three_parts(self):
        splits = [
            dataset.in_memory(np.zeros((n, 8, 8, 3), np.uint8), [0, 1] * 4, "x")
            for n in (8, 8, 8)
        ]
        data = dataset.DataSet(
            *splits[:2], ("a", "b"), True, read_test=lambda: splits[2]
        )
        regime = regimes.of_data("x", classes=2, batch_size=4)
        with mock.patch.object(load, "load_dataset", return_value=data):
            found = convert.read(regime, "")
        self.assertIs(found.val, splits[1])
        self.assertIs(found.test, splits[2])

    def test_test_part_without_labels(self):
        """As ImageNet's: its labels are all -1."""
        images = np.zeros((8, 8, 8, 3), np.uint8)
        train, val = (
            dataset.in_memory(images, [0, 1] * 4, name) for name in "ab"
        )
        test = dataset.in_memory(images, [-1] * 8, "c")
        stream = dataset.Stream(
            8, lambda key: tf.data.Dataset.from_tensors((images[0], -1)), "c"
        )
        regime = regimes.of_data("x", classes=2, batch_size=4)
        for part in (test, stream):
            data = dataset.DataSet(
                train, val, ("a", "b"), True, read_test=lambda part=part: part
            )
            with mock.patch.object(load, "load_dataset", return_value=data):
                found = convert.read(regime, "")
            self.assertIs(found.test, val)
            self.assertEqual(found.train.num_examples, 6)


class StoreTest(parameterized.TestCase):
    @parameterized.parameters(
        ([0, 1], 3, "images that it says, 3. Received: 2"),
        ([0, 2, 1], 3, "within 0 and 1. Received: 2 for example 1"),
        ([0, 1, -1], 3, "within 0 and 1. Received: -1 for example 2"),
    )
    def test_wrong_labels(self, labels, count, message):
        with self.assertRaisesRegex(ValueError, message):
            convert._check_filled(np.array(labels), count, classes=2)


class PreparingTest(parameterized.TestCase):
    def test_preset_needs_no_data(self):
        regime = regimes.get("cifar10")
        self.assertIs(preparing.complete(regime, {}, ""), regime)
        longer = preparing.complete(regime, {"epochs": 3}, "")
        self.assertEqual((longer.epochs, longer.classes), (3, 10))

    def test_sets_of_the_package(self):
        regime = preparing.complete(None, {"dataset": "digits"}, "")
        self.assertEqual((regime.classes, regime.image_size), (10, 64))
        self.assertEqual((regime.crop, regime.shift), ("shift", 8))

    @parameterized.parameters(
        ("digits", {"image_size": 36}, "`image_size`.*image_size=36"),
        ("digits", {"batch_size": 2000}, "`batch_size`.*1437.*batch_size=2000"),
        ("synthetic", {"batch_size": 64}, "`batch_size`.*32.*batch_size=64"),
        ("digits", {"train_images": 7}, "`train_images`.*train_images=7"),
        ("digits", {"test_images": 9}, "`test_images`.*test_images=9"),
        ("cifar10", {"test_images": 9}, "`test_images`.*test_images=9"),
    )
    def test_what_a_set_is_not_fit_for(self, name, given, message):
        with self.assertRaisesRegex(ValueError, message):
            preparing.complete(regimes.get(name), given, "")

    def test_what_the_data_say(self):
        said = {"classes": 7, "data_digest": "ab", "words": "x"}
        for small, base, expected in (
            (False, None, ("area", 0)),
            (True, None, ("shift", 4)),
            (False, regimes.get("cifar10"), ("shift", 4)),
        ):
            given = {"dataset": "folder:x", "image_size": 32}
            with mock.patch.object(
                preparing,
                "_convert",
                return_value=preparing.json.dumps({**said, "small": small}),
            ):
                regime = preparing.complete(base, given, "")
            self.assertEqual((regime.classes, regime.data_digest), (7, "ab"))
            self.assertEqual((regime.crop, regime.shift), expected)

    def test_wrong_fields_before_the_data_are_read(self):
        with self.assertRaisesRegex(ValueError, "`epochs`.*epochs=0"):
            preparing.complete(None, {"dataset": "folder:x", "epochs": 0}, "")

    def test_needs_data_dir(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        with self.assertRaisesRegex(ValueError, "`data_dir`.*'cifar10'"):
            preparing.prepare(regimes.get("cifar10"), folder, "")
        self.assertEmpty(list(pathlib.Path(folder).iterdir()))

    def test_data_dir_without_the_set(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        failed = preparing.subprocess.CompletedProcess(
            [], 1, "", "x\nerror: Not found: a\n"
        )
        with (
            mock.patch.object(preparing.subprocess, "run", return_value=failed),
            self.assertRaisesRegex(ValueError, "^Not found: a"),
        ):
            preparing.prepare(regimes.get("cifar10"), folder, folder)
        self.assertEmpty(list(pathlib.Path(folder).iterdir()))

    def test_no_such_data_dir(self):
        """tensorflow-datasets would make it, and fetch the set."""
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        missing = folder / "data_sets"
        with self.assertRaisesRegex(ValueError, "`data_dir` must be an exist"):
            preparing.prepare(regimes.get("cifar10"), folder, str(missing))
        self.assertFalse(missing.exists())


if __name__ == "__main__":
    absltest.main()
