import dataclasses
import json
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from keras_regnet import plan
from training.sweeps import files
from training.sweeps import latencies
from training.sweeps import regimes
from training.sweeps import spec as spec_lib

_SPEC = spec_lib.Spec(
    regime=regimes.get("digits"),
    spaces=("RegNetX", "AnyNetX_C widths=falling"),
    n=3,
)


class SpecTest(parameterized.TestCase):
    @parameterized.named_parameters(
        ("no space", {"spaces": ()}, "`space` must be given"),
        ("twice", {"spaces": ("RegNetX", "RegNetX")}, "twice: RegNetX"),
        ("name", {"spaces": ("RegNetQ",)}, "Unknown `name`.*RegNetX"),
        ("n", {"n": 0}, "`n` must be above 0"),
        ("trials", {"trials": 0}, "`trials` must be above 0"),
        ("seed", {"seed": -1}, "`seed` must not be negative"),
        (
            "twice in other words",
            {
                "spaces": (
                    "RegNetX w_m=2 depth=12..28",
                    "RegNetX  depth=12..28.0 w_m=2.0",
                    "RegNetX depth=12..28",
                )
            },
            "twice: RegNetX  depth=12..28.0 w_m=2.0, RegNetX w_m=2 depth=12",
        ),
        ("word", {"spaces": ("RegNetX w_m",)}, "restrictions such as w_m=2"),
        ("empty", {"spaces": ("",)}, "Unknown `name`"),
        ("again", {"spaces": ("RegNetX w_m=2 w_m=3",)}, "twice: w_m in"),
        ("range", {"spaces": ("RegNetX depth=1.2.3..4",)}, "`depth`.*1.2.3"),
        ("order", {"spaces": ("RegNetX depth=28..12",)}, "`depth`"),
        ("list", {"spaces": ("RegNetX w_q=1,2",)}, "Unknown `change`.*w_q"),
        ("block", {"spaces": ("RegNetX block=y",)}, "Unknown `restriction"),
        ("stem", {"spaces": ("RegNetX stem_width=8",)}, "Unknown `restriction"),
        (
            "contradiction",
            {"spaces": ("AnyNetX_D widths=falling",)},
            "contradict",
        ),
    )
    def test_refuses(self, change, message):
        with self.assertRaisesRegex(ValueError, message):
            dataclasses.replace(_SPEC, **change)

    @parameterized.parameters(
        ("RegNetX w_m=2", "w_m = 2"),
        ("RegNetX depth=12..28 w_0=w_a", r"depth in \[12, 28\], w_0 = w_a"),
        ("AnyNetX_C widths=falling", "widths falling"),
        (
            "RegNetX_constrained bottleneck_ratio=0.25,0.5,1 group_width=1",
            r"constrained, group_width = 1, bottleneck_ratio .*0.25, 0.5, 1",
        ),
        ("RegNetY activation=silu", "activation silu"),
        ("RegNetX resolution=32,48", "resolution the values 32, 48"),
    )
    def test_parse_space(self, text, expected):
        self.assertRegex(repr(spec_lib.parse_space(text)), expected)


class SampleTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )

    def test_trials(self):
        trials = spec_lib.sample(_SPEC, self.folder)
        self.assertEqual([t.index for t in trials], [0, 0, 1, 1, 2, 2])
        self.assertEqual({t.space for t in trials[:2]}, set(_SPEC.spaces))
        self.assertLen({t.trial_id for t in trials}, 6)
        self.assertLen({t.seed for t in trials}, 6)
        for trial in trials:
            network = keras_regnet.config.from_json(trial.config)
            counted = keras_regnet.complexity(network, (32, 32, 3), classes=10)
            self.assertEqual(trial.flops, counted.flops)
            self.assertEqual(trial.params, counted.params)
            self.assertBetween(trial.flops, 0.5e6, 1e6)
            self.assertEqual((network.stem, network.stem_width), ("cifar", 16))
            stages = plan.stages(network)
            self.assertEqual(trial.depth, sum(s.depth for s in stages))
            widths = [stage.width for stage in stages]
            falling = trial.space.endswith("falling")
            self.assertEqual(widths, sorted(widths, reverse=falling))

    def test_resolutions(self):
        """Counted at its own side, which is part of what a trial is."""
        spec = spec_lib.Spec(
            regime=regimes.get("cifar10_long"),
            spaces=("RegNetX resolution=32,48",),
            n=8,
        )
        trials = spec_lib.sample(spec, self.folder)
        self.assertEqual({t.resolution for t in trials}, {32, 48})
        for trial in trials:
            shape = (trial.resolution, trial.resolution, 3)
            counted = keras_regnet.complexity(trial.network, shape, classes=10)
            self.assertEqual(trial.flops, counted.flops)
            other = spec_lib.identify(trial.config, trial.seed, spec.regime)
            self.assertNotEqual(trial.trial_id, other)
        self.assertEqual(spec_lib.load(self.folder), (spec, trials))
        fast = regimes.changed(spec.regime, latency_ms=(0, 1))
        with self.assertRaisesRegex(ValueError, "`latency_ms` must be left"):
            spec_lib.sample(
                dataclasses.replace(spec, regime=fast), self.folder / "fast"
            )

    def test_budgets_together(self):
        regime = regimes.changed(
            _SPEC.regime, params=(0, 80e3), activations=(0, 60e3)
        )
        spec = dataclasses.replace(_SPEC, regime=regime)
        for trial in spec_lib.sample(spec, self.folder):
            self.assertBetween(trial.flops, 0.5e6, 1e6)
            self.assertLessEqual(trial.params, 80e3)
            self.assertLessEqual(trial.activations, 60e3)

    def test_budget_of_latency(self):
        """It grows by the same networks: what was measured is stored."""
        milliseconds = {}

        def measure(unused, config):
            self.assertNotIn(config, milliseconds)
            milliseconds[config] = 1.0 + len(milliseconds) % 3
            return milliseconds[config]

        regime = regimes.changed(_SPEC.regime, latency_ms=(1.5, 2.5))
        spec = dataclasses.replace(_SPEC, regime=regime)
        with mock.patch.object(latencies.Latencies, "_measure", measure):
            first = spec_lib.sample(spec, self.folder)
            larger = dataclasses.replace(spec, n=5)
            grown = spec_lib.sample(larger, self.folder)
        for trial in grown:
            self.assertEqual(milliseconds[trial.config], 2.0)
        self.assertEqual(
            sorted(t.index for t in grown), sorted([0, 1, 2, 3, 4] * 2)
        )
        self.assertLess(
            {t.trial_id for t in first}, {t.trial_id for t in grown}
        )

    def test_stages_after_it(self):
        spec_lib.sample(_SPEC, self.folder)
        spec_lib.check_sampled(self.folder, {"n": 3}, {"epochs": 3})
        with self.assertRaisesRegex(ValueError, "sweep: spaces, epochs differ"):
            spec_lib.check_sampled(
                self.folder, {"n": 3, "spaces": ("RegNetX",)}, {"epochs": 9}
            )

    def test_latencies_without_a_sweep(self):
        """A crash left them: maybe of networks for another image size."""
        path = self.folder / files.LATENCIES
        path.write_text('{"x": 1.0}')
        self.assertEmpty(
            latencies.Latencies(self.folder, _SPEC.regime).measured
        )
        (self.folder / files.SPEC).touch()
        self.assertLen(
            latencies.Latencies(self.folder, _SPEC.regime).measured, 1
        )

    def test_latency_that_none_has(self):
        regime = regimes.changed(_SPEC.regime, latency_ms=(0, 1))
        spec = dataclasses.replace(_SPEC, regime=regime)
        with (
            mock.patch.object(
                latencies.Latencies, "_measure", side_effect=[3.5, *[4.0] * 99]
            ),
            self.assertRaisesRegex(
                ValueError, "0 among 30.*of 3.5 to 4 ms.*admits one is 3.5 ms"
            ),
        ):
            spec_lib.sample(spec, self.folder / "new")
        self.assertFalse((self.folder / "new").exists())

    def test_impossible_sample_leaves_nothing(self):
        folder = self.folder / "new"
        error = ValueError("too few networks")
        with (
            mock.patch.object(spec_lib, "_trials", side_effect=error),
            self.assertRaisesRegex(ValueError, "too few networks"),
        ):
            spec_lib.sample(_SPEC, folder)
        self.assertFalse(folder.exists())

    def test_load(self):
        trials = spec_lib.sample(_SPEC, self.folder)
        self.assertEqual(spec_lib.load(self.folder), (_SPEC, trials))

    def test_larger_sample_holds_the_smaller(self):
        first = spec_lib.sample(_SPEC, self.folder)
        larger = dataclasses.replace(_SPEC, n=5, trials=2)
        grown = spec_lib.sample(larger, self.folder)
        self.assertLen(grown, 20)
        self.assertLess(
            {t.trial_id for t in first}, {t.trial_id for t in grown}
        )

    def test_growth_that_was_interrupted(self):
        """Trials are written first: there may be more than is said."""
        spec_lib.sample(_SPEC, self.folder)
        said = (self.folder / files.SPEC).read_text()
        larger = dataclasses.replace(_SPEC, n=5)
        grown = spec_lib.sample(larger, self.folder)
        (self.folder / files.SPEC).write_text(said)
        self.assertEqual(spec_lib.sample(larger, self.folder), grown)

    def test_sampler_that_changed_since(self):
        """What was sampled is trained, whatever would be sampled today."""
        first = spec_lib.sample(_SPEC, self.folder)
        path = self.folder / files.TRIALS
        older = [
            dataclasses.replace(t, trial_id=f"old {t.index}") for t in first
        ]
        path.write_text("".join(t.to_json() + "\n" for t in older))
        self.assertEqual(spec_lib.sample(_SPEC, self.folder), older)
        with self.assertRaisesRegex(ValueError, "none can be added"):
            larger = dataclasses.replace(_SPEC, n=4)
            spec_lib.sample(larger, self.folder)

    def test_other_sweep_in_the_folder(self):
        spec_lib.sample(_SPEC, self.folder)
        for change, name in (
            ({"seed": 1}, "seed"),
            ({"n": 2}, "fewer"),
            ({"spaces": ("RegNetX",)}, "some are gone"),
            ({"regime": regimes.get("synthetic")}, "batch_size, classes"),
            ({"regime": regimes.changed(_SPEC.regime, epochs=9)}, "epochs"),
        ):
            other = dataclasses.replace(_SPEC, **change)
            with self.assertRaisesRegex(ValueError, f"another sweep.*{name}"):
                spec_lib.sample(other, self.folder)

    def test_regime_that_changed_since(self):
        spec_lib.sample(_SPEC, self.folder)
        """It is as it was when it was sampled, and so are the ids."""
        changed = dataclasses.replace(regimes.get("digits"), epochs=99)
        with mock.patch.object(regimes, "get", return_value=changed):
            spec, trials = spec_lib.load(self.folder)
            self.assertEqual(spec, _SPEC)
            larger = dataclasses.replace(spec, n=4)
            grown = spec_lib.sample(larger, self.folder)
        self.assertLess(
            {t.trial_id for t in trials}, {t.trial_id for t in grown}
        )

    def test_regime_of_an_older_version(self):
        """Fields that it did not have yet are at their defaults."""
        stored = _SPEC.to_dict()
        for name in ("val_fraction", "crop", "params", "data_digest"):
            del stored["regime_fields"][name]
        (self.folder / files.SPEC).write_text(json.dumps(stored))
        self.assertEqual(spec_lib.load_spec(self.folder), _SPEC)

    def test_other_images(self):
        """Where they lie does not matter."""
        regime = regimes.of_data("folder:a", classes=3, data_digest="1")
        spec = dataclasses.replace(_SPEC, regime=regime, spaces=("RegNetX",))
        first = spec_lib.sample(spec, self.folder)
        moved = dataclasses.replace(regime, dataset="folder:b")
        moved = dataclasses.replace(spec, regime=moved)
        self.assertEqual(spec_lib.sample(moved, self.folder), first)
        other = dataclasses.replace(regime, data_digest="2")
        other = dataclasses.replace(spec, regime=other)
        with self.assertRaisesRegex(ValueError, "folder:a has other images"):
            spec_lib.sample(other, self.folder)

    def test_nothing_sampled(self):
        with self.assertRaisesRegex(ValueError, "run `sample` first"):
            spec_lib.load(self.folder)

    def test_damaged(self):
        path = self.folder / files.SPEC
        path.write_text("{")
        with self.assertRaisesRegex(ValueError, "is not JSON"):
            spec_lib.load(self.folder)
        path.write_text(json.dumps({"regime": "digits"}))
        with self.assertRaisesRegex(ValueError, "unknown: n, regime_fields"):
            spec_lib.load(self.folder)
        path.write_text("[]")
        with self.assertRaisesRegex(ValueError, "must be a JSON object"):
            spec_lib.load(self.folder)
        path.write_text(json.dumps({**_SPEC.to_dict(), "n": "8"}))
        with self.assertRaisesRegex(ValueError, "`n` must be of type int.*'8'"):
            spec_lib.load(self.folder)
        path.write_text(json.dumps({**_SPEC.to_dict(), "spaces": [1, 2]}))
        with self.assertRaisesRegex(
            ValueError, r"`spaces` must be names.*1, 2"
        ):
            spec_lib.load(self.folder)
        fields = {**_SPEC.to_dict()["regime_fields"], "epochs": 0}
        path.write_text(
            json.dumps({**_SPEC.to_dict(), "regime_fields": fields})
        )
        with self.assertRaisesRegex(ValueError, "`epochs` must be.*epochs=0"):
            spec_lib.load(self.folder)
        path.unlink()
        spec_lib.sample(_SPEC, self.folder)
        path = self.folder / files.TRIALS
        whole = path.read_text()
        for damage in (
            "",
            whole[:-9],
            whole.partition("\n")[2],
            whole.replace('"depth"', '"deep"'),
            whole.replace('"index": 1', '"index": "1"'),
        ):
            path.write_text(damage)
            with self.assertRaisesRegex(ValueError, "trials.jsonl is damaged"):
                spec_lib.load(self.folder)


if __name__ == "__main__":
    absltest.main()
