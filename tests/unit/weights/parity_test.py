"""Files of every family compute here what they compute in their own project.

`oracles/make_weight_fixtures.py` made the files and the outputs, with random
weights and batch-norm statistics. `benchmarks/weight_parity.py` does the same
for the published networks at their full size.
"""

import functools

import keras
import numpy as np
import pytest
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from tests.support import oracle_weights
from tests.support import weight_fixtures as fixtures

pytestmark = pytest.mark.versions


def _config(name):
    """Returns the configuration of one of the stored networks."""
    family, changes = fixtures.NETWORKS[name]
    line = dict(fixtures.LINE)
    if family != "byobnet":
        return keras_regnet.RegNetConfig(
            **line, **changes, stem_width=fixtures.STEM_WIDTH
        )
    depths, widths, strides = zip(*fixtures.BYOBNET, strict=True)
    return keras_regnet.AnyNetConfig(
        depths,
        widths,
        strides,
        bottleneck_ratios=0.25,
        group_widths=4,
        stem_width=2 * fixtures.STEM_WIDTH,
        **changes,
    )


@functools.cache
def _model(name):
    """Returns the loaded network with its stages' features and its logits."""
    model = keras_regnet.build(
        _config(name),
        weights=str(fixtures.FOLDER / f"{name}.safetensors"),
        input_shape=(None, None, 3),
        classes=fixtures.CLASSES,
        classifier_activation=None,
    )
    stages = list(model.pyramid_outputs.values())[-4:]
    return keras.Model(model.input, [*stages, model.output])


class WeightsParityTest(parameterized.TestCase):
    @parameterized.product(name=[*fixtures.NETWORKS], size=fixtures.SIZES)
    def test_computes_the_same(self, name, size):
        stored = np.load(fixtures.FOLDER / f"{name}.npz")
        expected = {
            key.split("/")[1]: stored[key]
            for key in stored
            if key.startswith(f"{size}/")
        }
        got = _model(name)(oracle_weights.photos(size))
        self.assertLen(got, len(expected))
        for (key, wanted), value in zip(expected.items(), got, strict=True):
            scale = np.abs(wanted).max()
            np.testing.assert_allclose(
                np.asarray(value) / scale,
                wanted / scale,
                rtol=0,
                atol=1e-5,
                err_msg=key,
            )


if __name__ == "__main__":
    absltest.main()
