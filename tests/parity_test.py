"""Our networks compute what timm's and torchvision's compute.

`oracles/make_torch_logits.py` wrote the logits, with the same computed weights
and images; every block, stem and rounding is covered.
"""

import dataclasses
import pathlib

import numpy as np
import oracle_weights
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet

_LOGITS = np.load(pathlib.Path(__file__).parent / "data" / "torch_logits.npz")


class ParityTest(parameterized.TestCase):
    @parameterized.parameters(*_LOGITS.files)
    def test_logits(self, name):
        variant, *rounding = name.split()
        config = keras_regnet.get_config(variant)
        if rounding:
            config = dataclasses.replace(config, width_rounding=rounding[0])
        model = keras_regnet.build(
            config,
            input_shape=oracle_weights.IMAGE_SHAPE[1:],
            classifier_activation=None,
        )
        oracle_weights.fill(model)
        expected = _LOGITS[name]
        # Compiled: one operation at a time, JAX would take minutes.
        got = model.predict(oracle_weights.images(), verbose=0)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(got / scale, expected / scale, atol=1e-5)


if __name__ == "__main__":
    absltest.main()
