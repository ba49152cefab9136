"""Tests of curves.png."""

import pathlib
import sys
import tempfile
import warnings
from unittest import mock

import numpy as np
from absl.testing import absltest
from PIL import Image

from tests.support import training_testing  # noqa: F401, finds the checkout
from training.workdir import curves
from training.workdir import files


def rows(count):
    """Metrics whose validation loss alone is a dip."""
    return [
        {
            **dict.fromkeys(files.COLUMNS, 1.0),
            "epoch": epoch,
            "val_loss": 1.0 + (epoch - 5) ** 2,
            "val_top1": 10.0 * epoch,
        }
        for epoch in range(1, count + 1)
    ]


class CurvesTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.folder = pathlib.Path(folder)

    def test_the_picture_shows_the_rows(self):
        curves.write(self.folder, "a run", rows(9))
        self.assertEqual([p.name for p in self.folder.iterdir()],
                         ["curves.png"])  # fmt: skip
        pixels = np.asarray(Image.open(self.folder / "curves.png"), int)
        height, width = pixels.shape[:2]
        self.assertEqual((width, height), (1100, 704))
        # Validation's orange in the loss panel: high, low, high.
        panel = pixels[40 : height // 2, 60 : width // 2 - 60, :3]
        orange = np.abs(panel - (255, 127, 14)).sum(-1) < 30
        lowest = [
            np.flatnonzero(part.any(1)).max()
            for part in np.array_split(orange, 3, axis=1)
        ]
        self.assertGreater(lowest[1], lowest[0])
        self.assertGreater(lowest[1], lowest[2])

    def test_several_labels(self):
        missing = dict.fromkeys(("train_top1", "val_top1", "val_top5"))
        curves.write(
            self.folder,
            "a run",
            [
                {**row, **missing, "val_map": row["val_top1"], "val_f1": 1.0}
                for row in rows(9)
            ],
        )
        pixels = np.asarray(Image.open(self.folder / "curves.png"), int)
        height, width = pixels.shape[:2]
        # Validation's average precision rises; above it stands the legend.
        panel = pixels[40 : height // 2, width // 2 + 40 : -40, :3]
        blue = np.abs(panel - (31, 119, 180)).sum(-1) < 30
        lowest = [
            np.flatnonzero(part.any(1)).max()
            for part in np.array_split(blue, 3, axis=1)
        ]
        self.assertEqual(lowest, sorted(lowest, reverse=True))

    def test_one_epoch(self):
        curves.write(self.folder, "a run", rows(1))
        self.assertTrue((self.folder / "curves.png").is_file())

    def test_no_step_was_timed(self):
        row = {**rows(1)[0], "images_per_second": 0.0}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            curves.write(self.folder, "a run", [row])

    def test_without_matplotlib(self):
        with (
            mock.patch.dict(sys.modules, {"matplotlib": None}),
            self.assertLogs("absl", "INFO") as logs,
        ):
            curves.write(self.folder, "a run", rows(2))
        self.assertIn("pip install 'keras_regnet[design]'", logs.output[0])
        self.assertEmpty(list(self.folder.iterdir()))


if __name__ == "__main__":
    absltest.main()
