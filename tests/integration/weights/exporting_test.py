"""Export and load back: every bit, for networks at random."""

import pathlib
import tempfile

import keras
import numpy as np
import safetensors.numpy
from absl.testing import absltest
from absl.testing import parameterized
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

import keras_regnet
from tests.support import oracle_weights

_SHAPE = (32, 32, 3)


@st.composite
def _configs(draw):
    """Networks that timm's names are for: X, Y, Z and V."""
    block = draw(st.sampled_from(("x", "z", "pre")))
    stages = draw(st.integers(1, 3))
    group_width = draw(st.sampled_from((1, 2, 4)))
    projections = ("conv", "pool") if block == "pre" else ("conv",)
    return keras_regnet.AnyNetConfig(
        [draw(st.integers(1, 2)) for _ in range(stages)],
        [4 * draw(st.integers(1, 4)) for _ in range(stages)],
        bottleneck_ratios=draw(st.sampled_from((0.5, 1))),
        group_widths=group_width,
        block=block,
        se_ratio=draw(st.sampled_from((0, 0.25))),
        stem_width=draw(st.integers(1, 8)),
        head_width=draw(st.sampled_from((0, 8))) if block != "pre" else 0,
        projection=draw(st.sampled_from(projections)),
    )


class ExportingTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)

    @settings(max_examples=5, deadline=None)
    @given(config=_configs(), include_top=st.booleans())
    def test_loads_back_bit_by_bit(self, config, include_top):
        options = {
            "include_top": include_top,
            "input_shape": _SHAPE,
            "classes": 3,
        }
        model = keras_regnet.build(config, **options)
        oracle_weights.fill(model)
        path = self.folder / "network.safetensors"
        keras_regnet.weights.export(model, path, "timm")
        again = keras_regnet.build(config, weights=path, **options)
        self.assertEqual(again.network, config)
        for left, right in zip(model.weights, again.weights, strict=True):
            self.assertEqual(left.path, right.path)
            np.testing.assert_array_equal(left, right)
        keras.backend.clear_session()

    def test_timm_has_two_kinds_of_regnetz(self):
        """B16 to E8 are of its byobnet, with the names that it has there."""
        model = keras_regnet.RegNetZ("B16", classes=3, input_shape=_SHAPE)
        path = self.folder / "b16.safetensors"
        keras_regnet.weights.export(model, path, "timm")
        with safetensors.safe_open(path, framework="numpy") as file:
            names = set(file.keys())
        self.assertIn("stages.0.0.conv2_kxk.conv.weight", names)
        self.assertIn("stages.3.1.attn.fc1.bias", names)
        self.assertIn("final_conv.bn.running_var", names)


if __name__ == "__main__":
    absltest.main()
