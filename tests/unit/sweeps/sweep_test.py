"""Stages of a sweep in which nothing is trained."""

import contextlib
import dataclasses
import io
import json
import pathlib
import tempfile
from unittest import mock

import numpy as np
from absl.testing import absltest

from keras_regnet import design_space
from keras_regnet import locks
from keras_regnet.design_space import records
from tests.support import design_space_testing as testing
from tests.support import sweep_folders
from tests.support import sweep_testing as sweeps
from training.sweeps import analysis
from training.sweeps import arrays
from training.sweeps import driver
from training.sweeps import files
from training.sweeps import spec as spec_lib
from training.sweeps.options import Options


class StagesTest(absltest.TestCase):
    def test_nothing_to_report(self):
        out = self.enterContext(tempfile.TemporaryDirectory())
        for stage in (analysis.collect, analysis.analyze, analysis.report):
            with self.assertRaisesRegex(ValueError, "the sweep is empty"):
                stage(out)

    def test_unfinished_sweep(self):
        out = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        trials = spec_lib.sample(sweeps.SPEC, out)
        log = records.Log(out / files.RECORDS)
        log.append(testing.record_of(trials[0]))
        log.close()
        for stage in (analysis.collect, analysis.analyze, analysis.report):
            stage(out)
        summary = json.loads((out / files.SUMMARY).read_text())
        (space,) = summary["spaces"]
        self.assertEqual((space["n"], space["missing"]), (1, 2))
        page = (out / files.REPORT).read_text()
        self.assertIn("2 not run", page)
        flags = testing.page_data(page)["training"]
        self.assertStartsWith(flags, "--dataset=synthetic --image_size=")

    def test_page_of_a_set_without_parts(self):
        """Its command holds out what the sweep did."""
        out = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        regime = sweep_folders.regime(out, val_fraction=0.25)
        spec = dataclasses.replace(sweeps.SPEC, regime=regime, n=1)
        (trial,) = spec_lib.sample(spec, out)
        records.write_packed(out / files.PACKED, [testing.record_of(trial)])
        stored = arrays.path(regime, out)
        stored.parent.mkdir()
        made = dict.fromkeys(arrays.NAMES[:4], np.zeros(1))
        np.savez(stored, **made, test_held_out=True)
        analysis.report(out)
        page = (out / files.REPORT).read_text()
        self.assertIn(
            " --val_fraction=0.25 ", testing.page_data(page)["training"]
        )

    def test_nothing_but_packed_records(self):
        """As of networks that were trained elsewhere."""
        out = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        population = testing.population("RegNetX", 9, 40)
        records.write_packed(out / files.PACKED, population)
        for stage in (analysis.analyze, analysis.report):
            stage(out)
        page = (out / files.REPORT).read_text()
        self.assertIn("9 networks trained, 0 failed for good, 0 not", page)
        self.assertEqual(
            testing.page_data(page)["training"], "--dataset=folder:PHOTOS"
        )

    def test_plan(self):
        out = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        pilots = [
            *testing.population("RegNetX", 9, 40),
            *testing.population("RegNetY", 9, 50),
        ]
        records.write_packed(out / files.PACKED, pilots)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            analysis.plan(out, effect=3, chance=0.8)
        spread = np.std([record.error for record in pilots[:9]], ddof=1)
        needed = design_space.networks_needed(3, spread)
        self.assertIn(f"spread {spread:.2f} points", printed.getvalue())
        self.assertIn(f"; {needed} networks of each, at", printed.getvalue())

    def test_plan_needs_a_spread(self):
        out = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        records.write_packed(
            out / files.PACKED, testing.population("RegNetX", 1, 40)
        )
        with self.assertRaisesRegex(ValueError, "two trained networks"):
            analysis.plan(out, effect=3, chance=0.8)

    def test_packed_records_are_not_trained_again(self):
        out = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        past = [
            testing.record_of(trial)
            for trial in spec_lib.sample(sweeps.SPEC, out)
        ]
        records.write_packed(out / files.PACKED, past)
        with mock.patch.object(driver, "start_pool") as start:
            driver.train(out, Options())
        start.assert_not_called()
        analysis.collect(out)
        self.assertEqual(records.read(out / files.PACKED), past)

    def test_two_drivers(self):
        out = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        spec_lib.sample(sweeps.SPEC, out)
        with (
            locks.sole_user(out, ""),
            self.assertRaisesRegex(ValueError, "no other process"),
        ):
            driver.train(out, Options())

    def test_train_before_sample(self):
        with self.assertRaisesRegex(ValueError, "run `sample` first"):
            driver.train(
                self.enterContext(tempfile.TemporaryDirectory()), Options()
            )


if __name__ == "__main__":
    absltest.main()
