"""Networks of a file in place of a sample."""

import dataclasses
import json
import pathlib
import tempfile

from absl.testing import absltest

import keras_regnet
from training.sweeps import given
from training.sweeps import regimes
from training.sweeps import spec as spec_lib

_SMALL = keras_regnet.AnyNetConfig((1, 1), (8, 16), group_widths=8)
_WIDE = keras_regnet.AnyNetConfig((1, 2), (8, 24), group_widths=8)


class GivenTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.folder = pathlib.Path(folder)
        self.file = self.folder / "networks.jsonl"
        self.file.write_text(f"{_SMALL.to_json()}\n{_WIDE.to_json()}\n")
        self.space = f"networks:{self.file}"
        self.regime = regimes.changed(
            regimes.get("synthetic"), flops=(1e4, 1e7)
        )

    def _refuses(self, words, n=2, **changes):
        regime = dataclasses.replace(self.regime, **changes)
        with self.assertRaisesRegex(ValueError, words):
            given.read(self.space, n, regime)

    def test_networks_and_what_they_cost(self):
        found = given.read(self.space, 2, self.regime)
        self.assertEqual(found.configs, (_SMALL, _WIDE))
        for number, network in enumerate((_SMALL, _WIDE)):
            cost = keras_regnet.complexity(network, (32, 32, 3), classes=4)
            self.assertEqual(
                [found.flops[number], found.params[number]],
                [cost.flops, cost.params],
            )

    def test_every_seed_of_every_network_is_a_trial(self):
        spec = spec_lib.Spec(
            regime=self.regime, spaces=(self.space,), n=2, trials=3
        )
        trials = spec_lib.sample(spec, self.folder / "sweep")
        self.assertEqual(
            [trial.network for trial in trials], 3 * [_SMALL, _WIDE]
        )
        self.assertLen({trial.seed for trial in trials}, 6)
        self.assertLen({trial.trial_id for trial in trials}, 6)
        loaded, again = spec_lib.load(self.folder / "sweep")
        self.assertEqual((loaded, again), (spec, trials))

    def test_fewer_networks(self):
        self._refuses("`n` must be at most .* has 2. Received: n=3", n=3)

    def test_the_same_network_twice(self):
        self.file.write_text(2 * f"{_SMALL.to_json()}\n")
        self._refuses("must have each network once; .* line 1")

    def test_a_file_as_other_programs_write_it(self):
        text = f"{_SMALL.to_json()}\r\n\r\n{_WIDE.to_json()}"
        self.file.write_bytes(text.encode("utf-8-sig"))
        found = given.read(self.space, 2, self.regime)
        self.assertEqual(found.configs, (_SMALL, _WIDE))

    def test_a_file_that_changed_since(self):
        spec = spec_lib.Spec(regime=self.regime, spaces=(self.space,), n=1)
        folder = self.folder / "sweep"
        trials = spec_lib.sample(spec, folder)
        self.assertEqual(spec_lib.sample(spec, folder), trials)
        self.file.write_text(f"{_WIDE.to_json()}\n")
        with self.assertRaisesRegex(ValueError, "a file of other networks"):
            spec_lib.sample(spec, folder)

    def test_no_file(self):
        self.file.unlink()
        self._refuses("there is no such file")

    def test_a_line_that_is_no_network(self):
        self.file.write_text(f"{_SMALL.to_json()}\n{json.dumps([1])}\n")
        self._refuses("networks.jsonl, line 2: ")

    def test_outside_the_budget(self):
        cost = keras_regnet.complexity(_SMALL, (32, 32, 3), classes=4)
        self._refuses(
            "`flops` must admit .*line 2 has", flops=(1.0, float(cost.flops))
        )

    def test_a_budget_of_latency(self):
        self._refuses("`latency_ms` must be left out", latency_ms=(0.0, 2.0))


if __name__ == "__main__":
    absltest.main()
