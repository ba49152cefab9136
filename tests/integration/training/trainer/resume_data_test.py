"""Tests of runs that resume with other data, or with the same elsewhere."""

import csv
import dataclasses
import json
import pathlib
import shutil
import tempfile
from unittest import mock

from absl.testing import absltest

from keras_regnet import locks
from tests.support import training_testing
from training.trainer import dry_run
from training.trainer import train
from training.workdir import checkpoint

_NAMES = ("ant", "bee", "cat")


class ResumeDataTest(absltest.TestCase):
    """A run of two epochs of three steps: 12 images, 4 in a batch."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        temp = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.first = pathlib.Path(temp) / "first"
        cls.first.mkdir()
        training_testing.write_folder(cls.first / "set", 4, _NAMES)
        train.train_and_evaluate(
            cls.config_in(cls.first), training_testing.NoExport()
        )

    @staticmethod
    def config_in(folder, **fields):
        fields = {"dataset": f"folder:{folder / 'set'}", **fields}
        return training_testing.tiny_config(
            str(folder), global_batch_size=4, augmentation="auto", **fields
        )

    def setUp(self):
        super().setUp()
        temp = self.enterContext(tempfile.TemporaryDirectory())
        self.folder = pathlib.Path(temp) / "copy"
        shutil.copytree(self.first, self.folder)
        # As if the run had begun here.
        path = self.folder / "run" / "config.json"
        path.write_text(
            path.read_text().replace(str(self.first), str(self.folder))
        )

    def resume(self, **fields):
        """Resumes a copy of the run; returns what was logged."""
        config = self.config_in(self.folder, **{"epochs": 3, **fields})
        with self.assertLogs("absl", "INFO") as logs:
            train.train_and_evaluate(config, training_testing.NoExport())
        return "\n".join(logs.output)

    def rows(self):
        with (self.folder / "run" / "metrics.csv").open() as file:
            found = csv.DictReader(file)
            return [(int(row["epoch"]), int(row["step"])) for row in found]

    def copy_images(self, name, count):
        for part in ("train", "val"):
            folder = self.folder / "set" / part / name
            for number in range(count):
                shutil.copy(folder / "0.jpg", folder / f"new{number}.jpg")

    def test_two_runs_in_one_folder(self):
        with (
            locks.sole_user(self.folder / "run", ""),
            self.assertRaisesRegex(ValueError, "`workdir`.*no other process"),
        ):
            train.train_and_evaluate(self.config_in(self.folder, epochs=3))

    def test_what_is_stored(self):
        stored = json.loads((self.first / "run" / "data.json").read_text())
        self.assertEqual(stored["class_names"], list(_NAMES))
        self.assertEqual(stored["train"]["images"], 12)
        self.assertEqual(stored["val"]["per_class"], [4, 4, 4])

    def test_other_classes_are_refused(self):
        for part in ("train", "val"):
            root = self.folder / "set" / part
            (root / "ant").rename(root / "zebra")
            (root / "bee").rename(root / "Bee")
        message = (
            "other classes.*--workdir=NEW.* new: 'zebra'; missing: 'ant'; in "
            "another case: 'Bee' was 'bee'"
        )
        for entry in (self.resume, self.dry):
            with self.assertRaisesRegex(ValueError, message):
                entry()

    def dry(self, **fields):
        config = self.config_in(self.folder, **{"epochs": 3, **fields})
        return dry_run.report(config)

    def test_more_images(self):
        """Six steps are then one epoch of five, and one step."""
        self.copy_images("ant", 8)
        said = (
            "training images: 12 before, 20 now; training images by class: "
            "'ant' 4 -> 12; "
        )
        self.assertIn(said, self.dry())
        logged = self.resume()
        self.assertIn(said, logged)
        self.assertIn("an epoch has 5 steps, 3 before", logged)
        self.assertIn("1 epochs are finished at step 6, and not 2", logged)
        self.assertEqual(self.rows(), [(1, 3), (2, 10), (3, 15)])
        stored = json.loads((self.folder / "run" / "data.json").read_text())
        self.assertEqual(stored["train"]["images"], 20)
        self.assertNotIn("the data of the run", self.resume(epochs=4))

    def test_fewer_images(self):
        """Six steps are then three epochs of two."""
        for name in _NAMES[:2]:
            for number in range(2):
                path = self.folder / "set" / "train" / name / f"{number}.jpg"
                path.unlink()
        logged = self.resume(epochs=4)
        self.assertIn("an epoch has 2 steps, 3 before", logged)
        self.assertEqual(self.rows(), [(1, 3), (3, 6), (4, 8)])

    def test_elsewhere_and_what_changes_no_weight(self):
        moved = self.folder / "moved"
        (self.folder / "set").rename(moved)
        logged = self.resume(
            dataset=f"folder:{moved}",
            log_seconds=1.0,
            checkpoint_steps=1,
            checkpoints_to_keep=3,
        )
        self.assertIn("from step 6 ", logged)
        self.assertNotIn("warning", logged.lower())
        self.assertEqual(self.rows(), [(1, 3), (2, 6), (3, 9)])

    def test_other_files_elsewhere_are_refused(self):
        moved = self.folder / "moved"
        (self.folder / "set").rename(moved)
        for name in _NAMES:
            folder = moved / "train" / name
            (folder / "0.jpg").rename(folder / "other.jpg")
        with self.assertRaisesRegex(
            ValueError, "another data set.*dataset: .*/set' in the folder.*of "
            "other files"
        ):  # fmt: skip
            self.resume(dataset=f"folder:{moved}")

    def test_an_older_run(self):
        """It has stored nothing of its data: it resumes, and gets it."""
        (self.folder / "run" / "data.json").unlink()
        moved = self.folder / "moved"
        shutil.copytree(self.folder / "set", moved)
        with self.assertRaisesRegex(ValueError, "dataset: .*in the folder"):
            self.resume(dataset=f"folder:{moved}")
        self.copy_images("ant", 8)
        logged = self.resume()
        self.assertNotIn("the data of the run", logged)
        self.assertIn("1 epochs are finished at step 6, and not 2", logged)
        self.assertTrue((self.folder / "run" / "data.json").is_file())
        self.assertEqual(self.rows()[0], (1, 3))

    def test_another_export_of_a_finished_run(self):
        run = self.folder / "run"
        config = self.config_in(self.folder)
        marker = run / "exported_step.txt"
        newest = checkpoint.newest(run / "checkpoints")
        self.assertEqual(marker.read_text(), f"{newest.position.step}\n")
        hooks = training_testing.NoExport()
        train.train_and_evaluate(config, hooks)
        self.assertEmpty(hooks.exports)
        # The first epoch's weights are not there any more.
        for path in (run / "checkpoints").glob("*03.npz"):
            path.unlink()
        results = self.folder / "results.csv"
        config = dataclasses.replace(
            config, export_best=True, results=str(results)
        )
        with mock.patch.object(
            checkpoint.Position, "best_steps", return_value=[3]
        ):
            train.train_and_evaluate(config, hooks)
        self.assertLen(hooks.exports, 1)
        with results.open() as file:
            (row,) = csv.DictReader(file)
        self.assertEqual(row["weights"], "epoch 2")


if __name__ == "__main__":
    absltest.main()
