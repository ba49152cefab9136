"""Tests of what a run may do beside: its length, a profile, what it exports."""

import csv
import dataclasses
import json
import math
import pathlib
import tempfile
from unittest import mock

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from tests.support import training_testing
from training.config import config as train_config
from training.trainer import train
from training.workdir import checkpoint


class RunOptionsTest(parameterized.TestCase):
    """On the digits there are five steps of 256 images in an epoch."""

    def setUp(self):
        super().setUp()
        self.temp = self.enterContext(tempfile.TemporaryDirectory())
        self.hooks = training_testing.NoExport()

    def train(self, **fields):
        self.config = training_testing.tiny_config(
            self.temp, warmup_epochs=0.0, **fields
        )
        return train.train_and_evaluate(self.config, self.hooks).folder

    def rows(self, folder):
        with open(folder / "metrics.csv", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    @parameterized.parameters(
        {"total_steps": 7},
        {"total_examples": 6 * 256 + 1, "precise_bn_images": 1024},
    )
    def test_length(self, **length):
        results = pathlib.Path(self.temp, "results", "all.csv")
        length["results"] = str(results)
        folder = self.train(**length)
        found = self.rows(folder)
        self.assertEqual([row["step"] for row in found], ["5", "7"])
        # Half a cosine over all seven steps; the last begins at six.
        rate = 0.05 * 256 / 128 * (1 + math.cos(math.pi * 6 / 7)) / 2
        self.assertAlmostEqual(float(found[-1]["learning_rate"]), rate, 6)
        # Two of the five batches.
        position = checkpoint.newest(folder / "checkpoints").position
        self.assertEqual((position.step, position.epoch), (7, 2))
        self.assertEqual((folder / "exported_step.txt").read_text(), "7\n")
        with self.assertLogs("absl", "INFO") as logs:
            self.train(**length)
        with results.open() as file:
            (row,) = csv.DictReader(file)
        self.assertEqual((row["source"], row["weights"]), ("train", "epoch 2"))
        self.assertEqual(row["model"], str(folder))
        for name in ("top1", "top5", "loss"):
            self.assertEqual(row[name], found[-1][f"val_{name}"])
        name = next(iter(length))
        self.assertIn(f"a larger --{name} continues it", logs.output[-1])

    def test_longer_goes_on_within_the_epoch(self):
        self.train(total_steps=7)
        folder = self.train(total_steps=12)
        found = self.rows(folder)
        self.assertEqual([row["step"] for row in found], ["5", "10", "12"])
        self.assertEqual([row["epoch"] for row in found], ["1", "2", "3"])
        self.assertLen(self.hooks.exports, 2)
        for fields, message in (
            (
                {"total_steps": 11},
                "total_steps: 12 in the folder, 11 requested",
            ),
            (
                {"total_examples": 9999},
                "length: total_steps=12 in the folder, total_examples=9999",
            ),
            ({"epochs": 9}, "the unit must stay"),
            ({"results": self.config.variant}, "`results` must be a file"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                self.train(**fields)

    def test_profile(self):
        folder = self.train(profile=True)
        (path,) = (folder / "events" / "plugins" / "profile").rglob("*.pb")
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
        names, steps = set(), set()
        for plane in space.planes:
            for event in (
                event for line in plane.lines for event in line.events
            ):
                names.add(plane.event_metadata[event.metadata_id].name)
                steps |= {
                    stat.int64_value or stat.uint64_value
                    for stat in event.stats
                    if plane.stat_metadata[stat.metadata_id].name == "step_num"
                }
        self.assertIn("FusedBatchNormGradV3", str(names))
        # Not those that trace and are timed; ten, had there been as many.
        self.assertEqual(steps, set(range(2, 10)))
        config = json.loads((folder / "config.json").read_text())["config"]
        plain = dataclasses.replace(self.config, profile=False)
        self.assertEmpty(train_config.differences(plain, config))

    def test_export_of_the_best_epoch(self):
        with mock.patch.object(
            checkpoint.Position, "best_steps", return_value=[5]
        ):
            folder = self.train(export_best=True, ema_decay=0.9)
        stored = checkpoint.of_step(folder / "checkpoints", 5).arrays
        shape = stored["model/head_fc/0_kernel"].shape
        (name,) = [
            name
            for name, array in stored.items()
            if name.startswith("ema/") and array.shape == shape
        ]
        (weights,) = self.hooks.exports
        np.testing.assert_array_equal(weights["head_fc"][0], stored[name])
        last = checkpoint.newest(folder / "checkpoints")
        self.assertEqual(last.position.step, 10)
        self.assertTrue((last.arrays[name] != stored[name]).any())

    def test_what_does_not_fit_together(self):
        for fields, message in (
            ({"total_steps": 1, "total_examples": 1}, "must be given once"),
            (
                {"export_best": True, "best_checkpoints_to_keep": 0},
                "needs `best_checkpoints_to_keep`",
            ),
        ):
            with self.assertRaisesRegex(ValueError, message):
                training_testing.tiny_config(self.temp, **fields)


if __name__ == "__main__":
    absltest.main()
