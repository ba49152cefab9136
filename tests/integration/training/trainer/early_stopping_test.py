"""Runs that stop early, with weights of classes and images not square."""

import csv
import dataclasses
import json
import os
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest

from keras_regnet import digits
from tests.support import training_testing
from training.config import network as network_lib
from training.trainer import dry_run
from training.trainer import train
from training.workdir import checkpoint

_TIMES = ("images_per_second", "data_wait", "train_seconds", "eval_seconds")


class _NoBetter(training_testing.StopAt):
    """Makes all epochs equally good: one class is predicted for all images."""

    def __init__(self, call=1000, hook="before_steps"):
        super().__init__(hook, call)

    def before_evaluation(self, state):
        head = state.model.get_layer(network_lib.HEAD)
        head.kernel.assign(np.zeros(head.kernel.shape))
        head.bias.assign(np.arange(10))
        super().before_evaluation(state)


class EarlyStoppingTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.temp = self.enterContext(tempfile.TemporaryDirectory())
        self.weights = pathlib.Path(self.temp) / "weights.json"
        self.write_weights(0.5)

    def write_weights(self, first):
        weights = dict.fromkeys(digits.CLASS_NAMES, 1.0)
        weights[digits.CLASS_NAMES[0]] = first
        self.weights.write_text(json.dumps(weights))

    def config(self, name, **fields):
        defaults = {
            "workdir": os.path.join(self.temp, name),
            "strategy": "mirrored",
            "num_cpu_devices": 2,
            "class_weights": str(self.weights),
            "image_size": "32x40",
            "val_fraction": 0.2,
            "augmentation": "pad_crop",
            "epochs": 6,
            "early_stopping_epochs": 2,
            "log_seconds": 0.0,
        }
        return training_testing.tiny_config(self.temp, **{**defaults, **fields})

    def assert_equal_runs(self, one, other):
        found, expected = (
            checkpoint.newest(pathlib.Path(config.workdir) / "checkpoints")
            for config in (one, other)
        )
        for name, array in expected.arrays.items():
            np.testing.assert_array_equal(found.arrays[name], array, name)
        self.assertEqual(self.rows(one), self.rows(other))

    def rows(self, config):
        path = pathlib.Path(config.workdir) / "metrics.csv"
        with path.open() as file:
            return [
                {k: v for k, v in row.items() if k not in _TIMES}
                for row in csv.DictReader(file)
            ]

    def outcome(self, config):
        path = pathlib.Path(config.workdir) / "outcome.json"
        return json.loads(path.read_text())

    def test_a_killed_run_stops_at_the_same_epoch(self):
        whole = self.config("whole")
        with self.assertLogs("absl", "INFO") as logs:
            train.train_and_evaluate(whole, _NoBetter())
        logged = "\n".join(logs.output)
        self.assertIn("class weights", logged)
        self.assertIn("stopped early, after epoch 3: by validation", logged)
        self.assertIn(
            "--export_best exports the best: those of epoch 1", logged
        )
        self.assertLen(self.rows(whole), 3)
        outcome = self.outcome(whole)
        self.assertTrue(outcome["stopped_early"])
        self.assertEqual(outcome["exported"]["epoch"], 3)
        self.assertEqual(outcome["best"]["epoch"], 1)
        killed = self.config("killed", checkpoint_steps=2)
        # Before a step of the second epoch, and in the third's evaluation.
        for hooks in (_NoBetter(7), _NoBetter(2, "before_evaluation")):
            with self.assertRaises(training_testing.Killed):
                train.train_and_evaluate(killed, hooks)
        train.train_and_evaluate(killed, _NoBetter())
        self.assert_equal_runs(whole, killed)
        with self.assertLogs("absl", "INFO") as logs:
            train.train_and_evaluate(killed, _NoBetter())
        self.assertRegex(
            "\n".join(logs.output),
            "is finished: 3 epochs.*a larger --early_stopping_epochs",
        )
        # More patience: as if it had been given at first.
        patient = dataclasses.replace(whole, early_stopping_epochs=3)
        train.train_and_evaluate(patient, _NoBetter())
        self.assertLen(self.rows(patient), 4)
        # Other weights are another run's, where a run goes on.
        self.write_weights(0.25)
        further = dataclasses.replace(whole, early_stopping_epochs=4)
        for resume in (train.train_and_evaluate, dry_run.report):
            with self.assertRaisesRegex(
                ValueError, "other class weights.*'0' 0.5 -> 0.25"
            ):
                resume(further)


if __name__ == "__main__":
    absltest.main()
