"""Export and load back: every bit, for networks at random."""

import dataclasses
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
from keras_regnet.weights import save
from tests.support import oracle_weights

_SHAPE = (32, 32, 3)
_SMALL = keras_regnet.AnyNetConfig((1, 1), (8, 16), group_widths=4, block="y")


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
        cls.model = keras_regnet.build(_SMALL, input_shape=_SHAPE, classes=3)
        oracle_weights.fill(cls.model)

    @settings(max_examples=12, deadline=None)
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

    @parameterized.parameters("torchvision", "pycls")
    def test_other_families_load_back(self, family):
        path = self.folder / f"{family}.safetensors"
        keras_regnet.weights.export(self.model, path, family)
        again = keras_regnet.build(
            _SMALL, weights=path, input_shape=_SHAPE, classes=3
        )
        for left, right in zip(self.model.weights, again.weights, strict=True):
            np.testing.assert_array_equal(left, right)

    def test_layout_of_pytorch(self):
        state = save.state_dict(self.model, "torchvision")
        ours = {v.path: np.asarray(v) for v in self.model.weights}
        kernel = state["trunk_output.block1.block1-0.f.b.0.weight"]
        self.assertEqual(kernel.shape, (8, 4, 3, 3))
        self.assertEqual(
            kernel[5, 3, 0, 2], ours["stage1_block1_conv2/kernel"][0, 2, 3, 5]
        )
        np.testing.assert_array_equal(
            state["fc.weight"], ours["head_fc/kernel"].T
        )
        counters = [
            name for name in state if name.endswith("num_batches_tracked")
        ]
        norms = [path for path in ours if path.endswith("/gamma")]
        self.assertLen(counters, len(norms))
        self.assertEqual(state[counters[0]].dtype, "int64")

    def test_pycls_takes_blue_first(self):
        pycls = save.state_dict(self.model, "pycls")["stem.conv.weight"]
        timm = save.state_dict(self.model, "timm")["stem.conv.weight"]
        np.testing.assert_array_equal(pycls, timm[:, ::-1])

    def test_file_says_that_it_is_pytorch_s(self):
        path = self.folder / "meta.safetensors"
        keras_regnet.weights.export(self.model, path)
        with safetensors.safe_open(path, framework="numpy") as file:
            self.assertEqual(file.metadata(), {"format": "pt"})
        self.assertEmpty(list(self.folder.glob(".*")))

    @parameterized.parameters(
        (dict(family="tim"), "Unknown `family`. Did you mean 'timm'"),
        (
            dict(path="a.onnx"),
            "Unknown `path`.*Allowed: '.safetensors', '.pth'",
        ),
        (dict(model=keras.Sequential()), "that keras_regnet's builders made"),
    )
    def test_refuses(self, arguments, message):
        arguments = {"model": self.model, "path": "a.safetensors", **arguments}
        with self.assertRaisesRegex(ValueError, message):
            keras_regnet.weights.export(**arguments)

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

    def test_refuses_widths_that_torchvision_does_not_have(self):
        path = self.folder / "y8.safetensors"
        for rounding, fits in (("pycls", False), ("torchvision", True)):
            config = dataclasses.replace(
                keras_regnet.get_config("RegNetY-800MF"),
                width_rounding=rounding,
            )
            model = keras_regnet.build(config, input_shape=_SHAPE, classes=3)
            if fits:
                keras_regnet.weights.export(model, path, "torchvision")
                continue
            with self.assertRaisesRegex(ValueError, "which rounds them other"):
                keras_regnet.weights.export(model, path, "torchvision")

    def test_refuses_padding_that_pytorch_does_not_have(self):
        config = keras_regnet.AnyNetConfig((1,), (8,), padding="same")
        model = keras_regnet.build(config, input_shape=_SHAPE, classes=3)
        path = self.folder / "same.safetensors"
        with self.assertRaisesRegex(ValueError, "must have symmetric padding"):
            keras_regnet.weights.export(model, path)
        self.assertFalse(path.exists())


if __name__ == "__main__":
    absltest.main()
