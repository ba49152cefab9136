"""Arrays of a sweep, as they are stored."""

import dataclasses
import pathlib
import tempfile
from unittest import mock

import numpy as np
from absl.testing import absltest

from tests.support import sweep_folders
from training.data import dataset
from training.data import load
from training.sweeps import arrays as arrays_lib
from training.sweeps import convert
from training.sweeps import regimes


class FolderTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )

    def test_stored(self):
        """Rectangles and gray images, as the trainer evaluates them."""
        sweep_folders.write(self.folder, "train", "val")
        regime = sweep_folders.regime(self.folder)
        target = arrays_lib.path(regime, self.folder)
        target.parent.mkdir()
        convert.store(regime, "", target)
        arrays = arrays_lib.load(regime, self.folder)
        self.assertEqual(arrays.train_images.shape, (16, 32, 32, 3))
        self.assertEqual(arrays.val_labels.dtype, np.int32)
        for images, labels in (
            (arrays.train_images, arrays.train_labels),
            (arrays.val_images, arrays.val_labels),
            (arrays.test_images, arrays.test_labels),
        ):
            for image, label in zip(images, labels, strict=True):
                expected = [(200, 0, 0), (90, 90, 90)][label]
                self.assertEqual(
                    np.unique(image).tolist(), sorted(set(expected))
                )

    def test_large_sets_are_folders(self):
        sweep_folders.write(self.folder, "train", "val")
        regime = sweep_folders.regime(self.folder, val_fraction=0.0)
        target = arrays_lib.path(regime, self.folder)
        target.parent.mkdir()
        with mock.patch.object(convert, "_MAX_FILE", 1000):
            convert.store(regime, "", target)
        self.assertTrue(target.with_suffix("").is_dir())
        arrays = arrays_lib.load(regime, self.folder)
        self.assertIsInstance(arrays.train_images, np.memmap)

    def test_bad_image_leaves_nothing(self):
        sweep_folders.write(self.folder, "train", "val")
        (self.folder / "train" / "a" / "0.png").write_bytes(b"no image")
        regime = sweep_folders.regime(self.folder, val_fraction=0.0)
        target = self.folder / "data" / "folder.npz"
        target.parent.mkdir()
        with (
            mock.patch.object(convert, "_MAX_FILE", 1000),
            self.assertRaisesRegex(ValueError, "unsupported.*0.png"),
        ):
            convert.store(regime, "", target)
        self.assertEmpty(list(target.parent.iterdir()))


class OtherSetsTest(absltest.TestCase):
    def test_pixels_of_small_images_stay(self):
        """As the arrays of the published regime `cifar10` were made."""
        images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3))
        images = images.astype(np.uint8)
        labels = np.arange(40) % 4
        train, test = (
            dataset.in_memory(images[part], labels[part], "x")
            for part in (slice(32), slice(32, None))
        )
        names = ("a", "b", "c", "d")
        data = dataset.DataSet(train, test, names, small_images=True)
        regime = dataclasses.replace(
            regimes.get("cifar10"), classes=4, train_images=8, batch_size=4
        )
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        target = arrays_lib.path(regime, folder)
        self.assertEqual(target.name, "cifar10-8-seed0.npz")
        target.parent.mkdir()
        with mock.patch.object(load, "load_dataset", return_value=data):
            convert.store(regime, "", target)
        arrays = arrays_lib.load(regime, folder)
        chosen = arrays_lib.stratified(labels[:32], 8, seed=0)
        np.testing.assert_array_equal(arrays.train_images, images[chosen])
        np.testing.assert_array_equal(arrays.train_labels, labels[chosen])
        np.testing.assert_array_equal(arrays.test_images, images[32:])
        self.assertIsNone(arrays.val_images)


if __name__ == "__main__":
    absltest.main()
