"""Runs of whole recipes, on the digits and a tiny network."""

import csv
import dataclasses
import math
import os
import pathlib
import tempfile
from typing import Any

import keras
import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

from tests.support import training_testing
from training.config import network as network_lib
from training.config import recipes
from training.trainer import train
from training.workdir import checkpoint

# What makes a recipe small; all else is as it comes.
_SMALL = {
    "strategy": "one_device",
    "dataset": "digits",
    "image_size": "32x40",
    "epochs": 1,
    "global_batch_size": 256,
    "warmup_epochs": 0.5,
}
_HEAD = network_lib.HEAD


class RecipeRunsTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.temp = self.enterContext(tempfile.TemporaryDirectory())
        self.hooks = training_testing.NoExport()

    def train(self, recipe: str, **fields: Any) -> pathlib.Path:
        config = dataclasses.replace(
            recipes.get(recipe),
            variant=training_testing.write_network(self.temp),
            workdir=os.path.join(self.temp, recipe),
            **{**_SMALL, **fields},
        )
        return train.train_and_evaluate(config, self.hooks).folder

    def arrays(self, folder, step):
        return checkpoint.of_step(folder / "checkpoints", step).arrays

    @parameterized.parameters(
        ("modern", {"eval_image_size": 40}), ("mobile", {})
    )
    def test_from_scratch(self, recipe, fields):
        folder = self.train(recipe, **fields)
        with (folder / "metrics.csv").open() as file:
            (row,) = csv.DictReader(file)
        self.assertEqual(row["step"], "5")
        # Labels are smoothed: what a network without any idea gets is ln 10.
        self.assertAlmostEqual(float(row["train_loss"]), math.log(10), delta=1)
        self.assertLess(float(row["val_loss"]), 1.5 * math.log(10))
        arrays = self.arrays(folder, 5)
        self.assertTrue(any(name.startswith("ema/") for name in arrays))
        # What is exported is the average, not the last weights.
        (weights,) = self.hooks.exports
        kernel = arrays[f"model/{_HEAD}/0_kernel"]
        self.assertTrue((weights[_HEAD][0] != kernel).any())

    def test_finetune(self):
        """First the head, then what is not frozen; from other classes."""
        config = training_testing.tiny_config(self.temp)
        donor = network_lib.build(config, training_testing.TINY, 7)
        path = os.path.join(self.temp, "donor.keras")
        donor.save(path)
        folder = self.train(
            "finetune",
            weights=path,
            epochs=2,
            frozen_stages=1,
            class_weights="balanced",
            early_stopping_epochs=1,
        )
        start = {
            f"model/{layer.name}/{index}_{v.name}": keras.ops.convert_to_numpy(
                v
            )
            for layer in donor.layers
            for index, v in enumerate(layer.variables)
            if layer.name != _HEAD and "moving" not in v.name
        }
        self.assertGreater(len(start), 10)
        head, whole = self.arrays(folder, 5), self.arrays(folder, 10)
        for name, values in start.items():
            np.testing.assert_array_equal(head[name], values, name)
            early = name.startswith(("model/stem", "model/stage1"))
            self.assertEqual((whole[name] == values).all(), early, name)
        kernel = f"model/{_HEAD}/0_kernel"
        self.assertEqual(head[kernel].shape[-1], 10)
        self.assertTrue((head[kernel] != whole[kernel]).all())


if __name__ == "__main__":
    absltest.main()
