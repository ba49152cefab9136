import dataclasses
import json
from unittest import mock

import keras
import numpy as np
from absl.testing import absltest

from keras_regnet.config import AnyNetConfig
from training.sweeps import regimes
from training.sweeps import spec
from training.sweeps import trial

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
            spec.identify(config, 0, "synthetic"),
            spec.identify(config, 1, "synthetic"),
            spec.identify(config, 0, "digits"),
            spec.identify(
                dataclasses.replace(_NETWORK, se_ratio=0.25).to_json(),
                0,
                "synthetic",
            ),
        }
        self.assertLen(identities, 4)

    def test_identity_outlives_new_fields(self):
        """Records of a version without a field are those of its default."""
        config = _NETWORK.to_json()
        values = json.loads(config)
        self.assertEqual(values.pop("padding"), "symmetric")
        self.assertEqual(
            spec.identify(json.dumps(values), 0, "synthetic"),
            spec.identify(config, 0, "synthetic"),
        )


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


class RegimesTest(absltest.TestCase):
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
