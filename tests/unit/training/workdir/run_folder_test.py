"""Tests of what a run folder says about itself."""

import dataclasses
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from tests.support import training_testing
from training.workdir import checkpoint
from training.workdir import files


class RunFolderTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.config = training_testing.tiny_config(folder.name, epochs=3)
        self.network = keras_regnet.RegNetConfig(2, 16, 8, 2, 8)

    def test_models_of_fewer_epochs_do_not_finish_a_run(self):
        position = checkpoint.Position(epoch=3, step=9)
        arguments = (self.folder, self.config, position)
        self.assertFalse(files.is_finished(*arguments))
        files.mark_exported(self.folder, 3)
        self.assertFalse(files.is_finished(*arguments))
        files.mark_exported(self.folder, 9)
        self.assertTrue(files.is_finished(*arguments))

    def test_more_epochs_are_the_same_run(self):
        files.write_config(
            self.folder,
            self.config,
            keras_regnet.weights.resolve(None, self.network),
        )
        longer = dataclasses.replace(self.config, epochs=4)
        files.check(self.folder, longer, self.network)
        shorter = dataclasses.replace(self.config, epochs=2)
        with self.assertRaisesRegex(ValueError, "only more is possible"):
            files.check(self.folder, shorter, self.network)

    @parameterized.parameters(
        "[]",
        "{",
        '{"config": 5, "network": 1}',
        '{"config": {}, "network": {}}',
        '{"config": {"epochs": 3}}',
        '{"config": {"epochs": 1e999}, "network": {}}',
    )
    def test_a_damaged_config(self, text):
        (self.folder / "config.json").write_text(text)
        with self.assertRaisesRegex(ValueError, "Not a config.json of a run"):
            files.check(self.folder, self.config, self.network)


if __name__ == "__main__":
    absltest.main()
