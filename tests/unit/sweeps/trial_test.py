import dataclasses
import json
from unittest import mock

import keras
import numpy as np
from absl.testing import absltest

from keras_regnet.config import AnyNetConfig
from keras_regnet.design_space import records
from tests.support import paths
from training.sweeps import files
from training.sweeps import regimes
from training.sweeps import spec
from training.sweeps import trial
from training.trainer import schedules

_SYNTHETIC = regimes.get("synthetic")
_NETWORK = AnyNetConfig(
    (1, 1), (8, 16), strides=4, group_widths=8, stem="cifar", stem_width=8
)


class StepsTest(absltest.TestCase):
    def test_unknown_backend(self):
        with (
            mock.patch.object(keras.backend, "backend", return_value="jaxx"),
            self.assertRaisesRegex(ValueError, "Did you mean 'jax'"),
        ):
            trial.steps_module()


class IdentityTest(absltest.TestCase):
    def test_identity_depends_on_everything(self):
        config = _NETWORK.to_json()
        identities = {
            spec.identify(config, 0, _SYNTHETIC),
            spec.identify(config, 1, _SYNTHETIC),
            spec.identify(config, 0, regimes.get("digits")),
            spec.identify(config, 0, regimes.changed(_SYNTHETIC, epochs=3)),
            spec.identify(
                dataclasses.replace(_NETWORK, se_ratio=0.25).to_json(),
                0,
                _SYNTHETIC,
            ),
        }
        self.assertLen(identities, 5)

    def test_identity_outlives_new_fields(self):
        """Records of a version without a field are those of its default."""
        config = _NETWORK.to_json()
        values = json.loads(config)
        self.assertEqual(values.pop("padding"), "symmetric")
        self.assertEqual(
            spec.identify(json.dumps(values), 0, _SYNTHETIC),
            spec.identify(config, 0, _SYNTHETIC),
        )

    def test_published_records_keep_their_ids(self):
        found = records.read(paths.ROOT / "experiments/cifar10" / files.PACKED)
        first = {record.space: record for record in found}.values()
        regime = regimes.get("cifar10")
        for record in first:
            found_id = spec.identify(record.config, record.seed, regime)
            self.assertEqual(found_id, record.trial_id)


class RatesTest(absltest.TestCase):
    def test_cosine_per_step(self):
        regime = dataclasses.replace(regimes.get("synthetic"), epochs=2)
        rates = trial.learning_rates(regime, 2)
        half = regime.learning_rate / 2
        root = 2**-0.5
        expected = [[2, 1 + root], [1, 1 - root]]
        np.testing.assert_allclose(rates, half * np.array(expected), rtol=1e-6)

    def test_cosine_per_epoch(self):
        """The paper's values at epochs 0, 5 and 9 of 10."""
        rates = trial.learning_rates(regimes.get("imagenet"), 3)
        self.assertEqual(rates.shape, (10, 3))
        np.testing.assert_allclose(rates[0], 0.05)
        np.testing.assert_allclose(rates[5], 0.025, rtol=1e-6)
        np.testing.assert_allclose(rates[9], 0.0012235871, rtol=1e-5)

    def test_warmup_is_the_trainer_s(self):
        regime = dataclasses.replace(
            regimes.get("synthetic"), epochs=4, warmup_epochs=1.5
        )
        schedule = schedules.EpochSchedule(
            regime.learning_rate,
            "cosine",
            epochs=4,
            steps_per_epoch=3,
            warmup_epochs=1.5,
            warmup_factor=0.1,
        )
        expected = [float(schedule(step)) for step in range(12)]
        rates = trial.learning_rates(regime, 3)
        np.testing.assert_allclose(rates.ravel(), expected, rtol=1e-5)


class RegimesTest(absltest.TestCase):
    def test_changed_has_a_name_of_its_own(self):
        regime = regimes.get("cifar10")
        longer = regimes.changed(regime, epochs=20)
        self.assertRegex(longer.name, r"^cifar10-[0-9a-f]{8}$")
        self.assertEqual(regimes.changed(longer, epochs=2), regime)
        self.assertIs(regimes.changed(regime, epochs=2), regime)

    def test_data_set(self):
        here, there = (
            regimes.of_data(f"folder:{place}", classes=5, data_digest="ab")
            for place in ("/a", "/b")
        )
        self.assertRegex(here.name, r"^folder-[0-9a-f]{8}$")
        self.assertEqual(here.name, there.name)
        other = regimes.of_data("folder:/a", classes=5, data_digest="cd")
        self.assertNotEqual(other.name, here.name)

    def test_another_budget_stands_in_place_of_flops(self):
        regime = regimes.of_data("x", classes=2, params=(1e5, 2e5))
        self.assertIsNone(regime.flops)
        fast = regimes.of_data("x", classes=2, latency_ms=(0, 1))
        self.assertEqual(fast.flops, (4e6, 6e6))
        with self.assertRaisesRegex(ValueError, "A budget must be given"):
            dataclasses.replace(regime, params=None)

    def test_round_trip(self):
        for regime in (
            *map(regimes.get, regimes.NAMES),
            regimes.of_data("x", classes=2, latency_ms=(0, 2.5)),
        ):
            stored = json.loads(json.dumps(regime.to_dict()))
            found = regimes.Regime.from_dict(regime.name, stored)
            self.assertEqual(found, regime)

    def test_parse(self):
        self.assertEqual(regimes.parse("flops", "4e6..6MF"), (4e6, 6e6))
        self.assertEqual(regimes.parse("latency_ms", "..2.5"), (0, 2.5))
        self.assertEqual(regimes.parse("strides", "1,2,2"), (1, 2, 2))
        for name, value in (
            ("flops", "4e6"),
            ("flops", "4e6.."),
            ("flops", "a..b"),
            ("params", "2M..1M"),
            ("strides", "1,x"),
        ):
            with self.assertRaisesRegex(ValueError, f"`{name}` must be"):
                regimes.parse(name, value)

    def test_unknown(self):
        with self.assertRaisesRegex(ValueError, "Did you mean 'cifar10'"):
            regimes.get("cifar-10")

    def test_papers(self):
        """Sections 3.1 and 3.2 of the paper."""
        regime = regimes.get("imagenet")
        self.assertEqual(regime.flops, (360e6, 400e6))
        self.assertEqual((regime.epochs, regime.batch_size), (10, 128))
        self.assertEqual(regime.learning_rate, 0.05)
        self.assertEqual(regime.weight_decay, 5e-5)


if __name__ == "__main__":
    absltest.main()
