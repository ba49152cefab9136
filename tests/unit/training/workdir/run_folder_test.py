"""Tests of what a run folder says about itself."""

import dataclasses
import json
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from tests.support import training_testing
from training.workdir import checkpoint
from training.workdir import files
from training.workdir import outcome


class RunFolderTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.config = training_testing.tiny_config(folder.name, epochs=3)
        self.network = keras_regnet.RegNetConfig(2, 16, 8, 2, 8)

    @parameterized.parameters("run[lr=0.1]", "run*", "what?")
    def test_a_path_that_tensorflow_takes_for_a_pattern(self, name):
        config = dataclasses.replace(self.config, workdir=f"runs/{name}")
        with self.assertRaisesRegex(ValueError, "`workdir` must have none of"):
            files.run_folder(config)

    def test_models_of_fewer_epochs_do_not_finish_a_run(self):
        position = checkpoint.Position(epoch=3, step=9)
        arguments = (self.folder, self.config, position)
        self.assertFalse(files.is_finished(*arguments))
        files.mark_exported(self.folder, 3)
        self.assertFalse(files.is_finished(*arguments))
        files.mark_exported(self.folder, 9)
        self.assertTrue(files.is_finished(*arguments))

    def test_a_run_that_stops_early_is_finished(self):
        rows = tuple({"step": 3 * e, "val_top1": 1.0 / e} for e in (1, 2))
        position = checkpoint.Position(2, 6, rows)
        files.mark_exported(self.folder, 6)
        for patience, finished in ((0, False), (1, True), (2, False)):
            config = dataclasses.replace(
                self.config, early_stopping_epochs=patience
            )
            self.assertEqual(
                files.is_finished(self.folder, config, position), finished
            )

    def test_outcome(self):
        rows = tuple(
            {"step": 3 * e, "val_top1": top1, "epoch": e}
            for e, top1 in enumerate((1.0, 5.0, 5.0, 4.0), 1)
        )
        config = dataclasses.replace(self.config, early_stopping_epochs=2)
        position = checkpoint.Position(4, 12, rows)
        # It was the last epoch anyway.
        found = outcome.of(position, 12, config, num_steps=12)
        self.assertFalse(found.stopped_early)
        found = outcome.of(position, 12, config, num_steps=15)
        self.assertTrue(found.stopped_early)
        self.assertEqual((found.best, found.exported), (rows[1], rows[3]))
        outcome.write(self.folder, found)
        stored = json.loads((self.folder / "outcome.json").read_text())
        self.assertEqual(stored, dataclasses.asdict(found))
        # It is not that of the run that goes on.
        files.mark_not_exported(self.folder)
        self.assertFalse((self.folder / "outcome.json").exists())

    def test_class_weights_of_a_file_that_changed(self):
        config = dataclasses.replace(self.config, class_weights="a.csv")
        old, new = {"ant": 1.0, "bee": 2.0}, {"ant": 1.5, "bee": 2.0}
        files.write_config(
            self.folder,
            config,
            keras_regnet.weights.resolve(None, self.network),
            old,
        )
        stored = files.stored_class_weights(self.folder)
        self.assertEqual(stored, old)
        files.check_class_weights(self.folder, config, stored, dict(old))
        with self.assertRaisesRegex(
            ValueError, "other class weights.*Different: .*'ant' 1.0 -> 1.5"
        ):
            files.check_class_weights(self.folder, config, stored, new)
        # Balanced ones go with the images.
        config = dataclasses.replace(config, class_weights="balanced")
        files.check_class_weights(self.folder, config, stored, new)

    def test_what_a_run_computes_in_stands_beside_what_was_asked_for(self):
        """bfloat16 on a processor without it: see `precision.policy`."""
        config = dataclasses.replace(self.config, precision="mixed_bfloat16")
        weights = keras_regnet.weights.resolve(None, self.network)
        files.write_config(self.folder, config, weights)
        stored = json.loads((self.folder / "config.json").read_text())
        self.assertEqual(stored["config"]["precision"], "mixed_bfloat16")
        self.assertEqual(stored["dtype_policy"], "float32")

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

    def test_a_run_that_resumes_knows_where_its_weights_are_from(self):
        weights = dataclasses.replace(
            keras_regnet.weights.resolve(None, self.network),
            record=keras_regnet.weights.find("RegNetX-200MF", "imagenet"),
        )
        files.write_config(self.folder, self.config, weights)
        stored = files.stored_architecture(self.folder)
        resumed = files.architecture_of(stored).model_record(10)
        self.assertEqual(resumed.weights, weights.record)
        # Its classes are those of its data.
        self.assertIsNone(resumed.class_names)
        # Older runs did not note it.
        del stored["record"]
        self.assertIsNone(
            files.architecture_of(stored).model_record(10).weights
        )

    def write(self, **fields):
        files.write_config(
            self.folder,
            dataclasses.replace(self.config, **fields),
            keras_regnet.weights.resolve(None, self.network),
        )

    def test_the_network_may_go_by_another_name(self):
        self.write()
        for variant in ("elsewhere.json", "tiny"):
            config = dataclasses.replace(self.config, variant=variant)
            files.check(self.folder, config, self.network)
        other = dataclasses.replace(self.network, depth=3)
        with self.assertRaisesRegex(ValueError, "variant: '.*' requested$"):
            files.check(self.folder, config, other)
        with self.assertRaisesRegex(ValueError, "variant: what '.*' means$"):
            files.check(self.folder, self.config, other)

    def test_what_is_refused_says_what_to_do(self):
        self.write()
        config = dataclasses.replace(self.config, flip=True)
        way = f"--weights={self.folder} --workdir=NEW starts another .*"
        with self.assertRaisesRegex(ValueError, way + "once it is finished"):
            files.check(self.folder, config, self.network)
        (self.folder / "model.keras").write_text("")
        with self.assertRaisesRegex(ValueError, "from its weights, --workdir"):
            files.check(self.folder, config, self.network)

    def test_another_export_does_not_finish_a_run(self):
        self.write()
        files.mark_exported(self.folder, 9)
        position = checkpoint.Position(epoch=3, step=9)
        for fields, finished in (
            ({}, True),
            ({"export_best": True}, False),
            ({"portable_export": False}, False),
            ({"log_seconds": 1.0}, True),
        ):
            config = dataclasses.replace(self.config, **fields)
            found = files.is_finished(self.folder, config, position)
            self.assertEqual(found, finished)
        files.mark_not_exported(self.folder)
        self.assertFalse(files.is_finished(self.folder, self.config, position))

    def test_damaged_data(self):
        self.assertIsNone(files.stored_data(self.folder))
        (self.folder / "data.json").write_text('{"class_names": ["a"]}')
        with self.assertRaisesRegex(ValueError, "Not a data.json of a run"):
            files.stored_data(self.folder)

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


class MetricsTest(absltest.TestCase):
    def test_columns_of_one_label_and_of_several(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        row = {**dict.fromkeys(files.COLUMNS, 0.5), "epoch": 1, "step": 3}
        files.write_metrics(folder, [row])
        text = (folder / "metrics.csv").read_text()
        self.assertEqual(text.splitlines()[0], ",".join(files.COLUMNS))
        row |= dict.fromkeys(("train_top1", "val_top1", "val_top5"))
        row |= dict.fromkeys(files.MULTILABEL_COLUMNS, 0.25)
        files.write_metrics(folder, [row])
        header, line = (folder / "metrics.csv").read_text().splitlines()
        found = dict(zip(header.split(","), line.split(","), strict=True))
        # The promised columns first.
        self.assertTrue(header.startswith(",".join(files.COLUMNS)))
        self.assertEqual(found["val_map"], "0.25")
        self.assertEqual(found["val_top1"], "")
        self.assertEqual(found["val_loss"], "0.5")


if __name__ == "__main__":
    absltest.main()
