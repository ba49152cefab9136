"""Our networks compute what timm, torchvision and tf_keras compute.

The scripts in `oracles/` wrote the logits, with the same computed weights and
images; every block with groups, every stem and both roundings are covered.
"""

import dataclasses

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from tests.support import oracle_weights
from tests.support import paths

_DATA = paths.DATA
_TORCH = dict(np.load(_DATA / "torch_logits.npz"))
_TF_KERAS = dict(np.load(_DATA / "tf_keras_logits.npz"))


def _logits(config, images, **arguments):
    model = keras_regnet.build(
        config,
        input_shape=images.shape[1:],
        classifier_activation=None,
        **arguments,
    )
    oracle_weights.fill(model)
    # Compiled: one operation at a time, JAX would take minutes.
    return model.predict(images, verbose=0)


def _assert_equal_logits(got, expected):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(got / scale, expected / scale, atol=1e-5)


class ParityTest(parameterized.TestCase):
    @parameterized.parameters(*_TORCH)
    def test_torch(self, name):
        variant, *rounding = name.split()
        config = keras_regnet.get_config(variant)
        if rounding:
            config = dataclasses.replace(config, width_rounding=rounding[0])
        _assert_equal_logits(
            _logits(config, oracle_weights.images()), _TORCH[name]
        )

    @parameterized.parameters(*_TF_KERAS)
    def test_tf_keras(self, name):
        config = keras_regnet.get_config(name)
        got = _logits(
            dataclasses.replace(config, padding="same"),
            (oracle_weights.images() - 127) / 60,
            include_preprocessing=False,
        )
        _assert_equal_logits(got, _TF_KERAS[name])


if __name__ == "__main__":
    absltest.main()
