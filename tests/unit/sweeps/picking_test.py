"""Picks of sweeps in which nothing is trained: a pool that makes records."""

import contextlib
import dataclasses
import io
import pathlib
import shlex
import tempfile
from unittest import mock

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import config as config_lib
from keras_regnet.design_space import records
from tests.support import design_space_testing as testing
from tests.support import paths
from tests.support import sweep_folders
from tests.support import sweep_testing as sweeps
from training.config import config as train_config
from training.config import network as network_lib
from training.config import recipes
from training.sweeps import arrays
from training.sweeps import commands
from training.sweeps import driver
from training.sweeps import files
from training.sweeps import picking
from training.sweeps import regimes
from training.sweeps import spec as spec_lib
from training.sweeps.options import Options

_HELD_OUT = dataclasses.replace(
    sweeps.SPEC, regime=regimes.changed(sweeps.SPEC.regime, val_fraction=0.5)
)
_TEST_ERROR = 77.0


class _Pool:
    """Ends each job at once, with the error that a network is said to have."""

    def __init__(self, errors, failing=()):
        self._errors, self._failing = errors, failing
        self.jobs, self.idle = [], 1

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        pass

    def submit(self, job):
        self.jobs.append(job)
        self.idle = 0

    def wait(self, *unused):
        job, self.idle = self.jobs[-1], 1
        index = job.trial.index
        if index in self._failing:
            lost = dict(status="failed", error=None, reason="loss is nan")
            return [testing.record_of(job.trial, attempt=job.attempt, **lost)]
        error = self._errors[index] + job.trial.seed % 2 / 10
        if job.test:
            error = _TEST_ERROR
        return [testing.record_of(job.trial, error=error)]


class PickTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.out = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )

    def _sweep(self, errors, spec=sweeps.SPEC):
        """A sweep whose trials ended with some errors; None failed."""
        spec = dataclasses.replace(spec, n=len(errors))
        self.trials = spec_lib.sample(spec, self.out)
        log = records.Log(self.out / files.RECORDS)
        for trial, error in zip(self.trials, errors, strict=True):
            failed = error is None
            changes = {"error": error}
            if failed:
                changes |= {"status": "failed", "reason": "loss is nan"}
            log.append(testing.record_of(trial, **changes))
        log.close()

    def _pick(self, pool, top=None, repeats=2, **options):
        said = io.StringIO()
        with (
            mock.patch.object(driver, "start_pool", return_value=pool),
            contextlib.redirect_stdout(said),
        ):
            picking.pick(self.out, top, repeats, Options(**options))
        return said.getvalue()

    def _best(self):
        text = (self.out / files.BEST).read_text()
        return config_lib.from_json(text)

    def test_luck_in_the_sweep_does_not_choose(self):
        self._sweep([20.0, 21.0, 22.0, 50.0])
        pool = _Pool([30.0, 24.0, 24.1, 10.0])
        said = self._pick(pool, top=3)
        self.assertEqual(self._best(), self.trials[1].network)
        # The last one was not among the best three.
        self.assertEqual(
            [job.trial.index for job in pool.jobs], [0, 1, 2, 0, 1, 2]
        )
        rows = [x for x in said.splitlines() if x.startswith("RegNetX #")]
        self.assertRegex(rows[0], r"RegNetX #1 .*chosen$")
        self.assertRegex(rows[1], r"RegNetX #2 .*within noise$")
        self.assertRegex(rows[2], r"RegNetX #0 +20.00 +30\.\d+.*\d$")
        seeds = [job.trial.seed for job in pool.jobs]
        used = {trial.seed for trial in self.trials}
        self.assertLen(used.union(seeds), 4 + 6)
        self.assertIn("holds out no validation part", said)
        self.assertFalse((self.out / files.TESTS).exists())

    def test_resumes_and_grows(self):
        self._sweep([20.0, 21.0, 22.0])
        errors = [24.0, 25.0, 26.0]
        self._pick(_Pool(errors), top=2)
        before = records.read(self.out / files.PICKS)
        for top, repeats, more in ((2, 2, 0), (2, 3, 2), (3, 3, 3)):
            pool = _Pool(errors)
            self._pick(pool, top=top, repeats=repeats)
            self.assertLen(pool.jobs, more)
        after = records.read(self.out / files.PICKS)
        self.assertEqual(after[:4], before)
        self.assertLen({r.trial_id for r in after}, 9)
        swept = records.read(self.out / files.RECORDS)
        self.assertLen(swept, 3)

    def test_tested_once_and_last(self):
        self._sweep([20.0, 21.0], _HELD_OUT)
        pool = _Pool([25.0, 24.0])
        said = self._pick(pool)
        self.assertEqual([job.test for job in pool.jobs], [False] * 4 + [True])
        self.assertEqual(pool.jobs[-1].trial.config, self.trials[1].config)
        self.assertIn(f"fresh seed: {_TEST_ERROR:.2f} %", said)
        (tested,) = records.read(self.out / files.TESTS)
        self.assertEqual(tested.error, _TEST_ERROR)
        again = _Pool([25.0, 24.0])
        self.assertEqual(
            self._pick(again).splitlines()[-2:], said.splitlines()[-2:]
        )
        self.assertEmpty(again.jobs)

    def test_network_that_fails_is_not_chosen(self):
        self._sweep([20.0, 21.0, None])
        said = self._pick(_Pool([20.0, 30.0], failing=[0]), retries=1)
        self.assertEqual(self._best(), self.trials[1].network)
        self.assertRegex(said, r"RegNetX #0 +FAILED: loss is nan")

    def test_commands(self):
        """Flags that there are, and a network that the trainer reads."""
        self._sweep([20.0, 21.0])
        said = self._pick(_Pool([20.0, 30.0]))
        train, export = map(shlex.split, said.splitlines()[-2:])
        self.assertEqual(train[:2], ["python", "training/main.py"])
        given = dict(
            flag.removeprefix("--").partition("=")[::2] for flag in train[2:]
        )
        names = {
            field.name for field in dataclasses.fields(train_config.TrainConfig)
        }
        flip = given.pop("flip", given.pop("noflip", None))
        self.assertEqual(flip, "")
        self.assertContainsSubset(given, names)
        config = dataclasses.replace(
            recipes.get("quickstart"), variant=given["variant"]
        )
        self.assertEqual(
            network_lib.network_config(config), self.trials[0].network
        )
        # 0.05 for batches of 8.
        self.assertEqual(given["base_learning_rate"], "0.8")
        self.assertEqual(given["epochs"], "20")
        self.assertEqual(export[3], given["workdir"])

    @parameterized.parameters(
        ((), True), (("train",), True), (("train", "val"), False)
    )
    def test_commands_for_a_folder(self, parts, held_out):
        """The trainer evaluates on what the sweep has tested on."""
        sweep_folders.write(self.out, *(parts or ("",)))
        regime = sweep_folders.regime(
            self.out, warmup_epochs=1.5, momentum=0.8, val_fraction=0.25
        )
        best = pathlib.Path("best.json")
        train, export = commands.after(regime, best, "", held_out)
        self.assertIn("--warmup_epochs=1.5 --momentum=0.8", train)
        self.assertEqual("--val_fraction=0.25" in train, held_out)
        images = self.out / "train" if parts else self.out
        self.assertIn(f"--representative={images} ", export)
        compared = f"--images={self.out / 'val'} "
        self.assertEqual(compared in export, not held_out)

    def test_commands_on_the_page(self):
        """docs/method_on_photos.md has what `pick` prints."""
        self.enterContext(contextlib.chdir(self.out))
        sweep_folders.write(pathlib.Path("flowers"), "train", "val")
        regime = regimes.of_data("folder:flowers", classes=5, crop="area")
        best = pathlib.Path("runs/flowers/best.json")
        page = (paths.ROOT / "docs/method_on_photos.md").read_text()
        for command in commands.after(regime, best, "", False):
            self.assertIn(f"\n{command}\n", page)

    def test_arrays_without_parts_of_their_own(self):
        """That the test part was held out is known from the sweep's arrays."""
        self._sweep([20.0, 21.0], _HELD_OUT)
        data = arrays.load(_HELD_OUT.regime, self.out)
        for held_out in (False, True):
            known = dataclasses.replace(data, test_held_out=np.array(held_out))
            with mock.patch.object(arrays, "load", return_value=known):
                said = self._pick(_Pool([25.0, 24.0]))
            self.assertEqual(" --val_fraction=0.5 " in said, held_out)

    @parameterized.parameters(
        ([20.0, 21.0], {"top": 3}, "`top` must be at most .*, 2. Rec.*top=3"),
        ([20.0, 21.0], {"repeats": 1}, "`repeats` must be 2 at least"),
        ([None, None], {}, "all 2 trials failed, the last one by 'loss is"),
    )
    def test_refused(self, errors, arguments, message):
        self._sweep(errors)
        self._assert_refused(message, **arguments)

    def _assert_refused(self, message, pool=None, **arguments):
        before = sorted(self.out.iterdir())
        with self.assertRaisesRegex(ValueError, message):
            self._pick(pool or _Pool([]), **arguments)
        if pool is None:
            self.assertEqual(sorted(self.out.iterdir()), before)
        self.assertFalse((self.out / files.BEST).exists())

    def test_unfinished(self):
        spec_lib.sample(sweeps.SPEC, self.out)
        self._assert_refused("3 of 3 trials are not trained yet")

    def test_all_fail_the_second_time(self):
        self._sweep([20.0, 21.0])
        pool = _Pool([20.0, 21.0], failing=[0, 1])
        self._assert_refused("trained again.*of 2 each failed", pool)

    def test_network_of_another_version(self):
        path = self.out / files.BEST
        path.write_text('{"type": "RegNetConfig", "depht": 3}')
        config = dataclasses.replace(
            recipes.get("quickstart"), variant=str(path)
        )
        with self.assertRaisesRegex(ValueError, "this version.*best.json"):
            network_lib.network_config(config)


if __name__ == "__main__":
    absltest.main()
