"""Filling a model: everything fits, or nothing is touched."""

import dataclasses
import functools
import pathlib
import re
from unittest import mock

import keras
import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from keras_regnet import variants
from keras_regnet.weights import assign
from keras_regnet.weights import detect
from keras_regnet.weights import formats
from keras_regnet.weights import mapping
from keras_regnet.weights import rules
from keras_regnet.weights import save
from keras_regnet.weights import transforms
from keras_regnet.weights.readers import nesting
from keras_regnet.weights.readers.tensors import Tensors
from tests.support import oracle_weights

_CONFIG = keras_regnet.AnyNetConfig(
    (1, 2), (16, 32), group_widths=8, block="y", stem_width=8
)
_NORM = "s2.b1.conv1.bn.weight"


def _tensors(arrays):
    shapes = {name: np.shape(array) for name, array in arrays.items()}
    return Tensors(shapes, lambda name: np.asarray(arrays[name]))


class FillTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = keras_regnet.build(
            _CONFIG, input_shape=(32, 32, 3), classes=4
        )
        cls.start = cls.model.get_weights()
        oracle_weights.fill(cls.model)
        cls.state = save.state_dict(cls.model, "timm")

    def setUp(self):
        super().setUp()
        self.model.set_weights(self.start)

    def fill(self, **changes):
        state = {**self.state, **changes}
        state = {name: v for name, v in state.items() if v is not None}
        assign.assign(self.model, state, mapping.of_format(_CONFIG, "timm"))

    def test_every_variable_gets_its_value(self):
        self.fill()
        for variable in self.model.weights:
            np.testing.assert_array_equal(
                variable, oracle_weights.weight(variable.path, variable.shape)
            )

    @parameterized.named_parameters(
        ("missing", {_NORM: None}, f"missing in the file: {_NORM}; .*: none"),
        (
            "renamed",
            {_NORM: None, "s2.b1.norm.weight": np.ones(32)},
            f"missing in the file: {_NORM}; left over in it: s2.b1.norm.weight",
        ),
        (
            "more",
            {f"extra{number}": np.ones(1) for number in range(5)},
            "missing .*: none; left over .*: extra0, extra1, extra2 and 2 more",
        ),
        (
            "of_another_shape",
            {_NORM: np.ones(31)},
            rf"'{_NORM}' has, .* shape \(31,\), where '.*' needs \(32,\)",
        ),
        (
            "of_other_axes",
            {"s1.b1.conv1.conv.weight": np.ones((16, 8))},
            r"kind 'conv' must have 4 axes. Received: shape=\(16, 8\)",
        ),
        (
            "nan",
            {_NORM: np.full(32, np.nan)},
            f"'{_NORM}' holds NaN or infinity",
        ),
        ("infinite", {"head.fc.bias": np.array([0, 0, 0, np.inf])}, "infinity"),
        (
            "whole_numbers",
            {"head.fc.bias": np.zeros(4, "int8")},
            "'head.fc.bias' holds numbers of type int8, not weights",
        ),
        (
            "complex",
            {"head.fc.bias": np.zeros(4, "complex64")},
            "numbers of type complex64, not weights",
        ),
        (
            "a_mean_for_a_variance",
            {"stem.bn.running_var": -np.ones(8)},
            "'stem.bn.running_var' holds negative variances",
        ),
    )
    def test_refuses_a_tensor_that_is(self, changes, message):
        with self.assertRaisesRegex(ValueError, message):
            self.fill(**changes)
        for variable, value in zip(self.model.weights, self.start, strict=True):
            np.testing.assert_array_equal(variable, value)

    def test_half_precision_does_not_overflow(self):
        self.addCleanup(keras.config.set_dtype_policy, "float32")
        keras.config.set_dtype_policy("float16")
        model = keras_regnet.build(_CONFIG, input_shape=(32, 32, 3), classes=4)
        state = {**self.state, _NORM: np.full(32, 1e5, "f4")}
        with self.assertRaisesRegex(ValueError, "beyond what float16 can"):
            assign.assign(model, state, mapping.of_format(_CONFIG, "timm"))

    def test_checks_the_stem_before_it_is_adapted(self):
        """A view of one number may be of any size, and a copy fill memory."""
        model = keras_regnet.build(_CONFIG, input_shape=(32, 32, 4), classes=4)
        huge = np.broadcast_to(np.float32(0), (10**12, 3, 3, 3))
        state = {**self.state, "stem.conv.weight": huge}
        with self.assertRaisesRegex(ValueError, r"shape \(3, 3, 3, 10000000"):
            assign.assign(
                model,
                state,
                mapping.of_format(_CONFIG, "timm"),
                stem="stem_conv/kernel",
            )

    def test_adapts_the_stem(self):
        kernel = np.arange(2 * 3, dtype="f4").reshape(1, 1, 3, 2)
        np.testing.assert_array_equal(
            assign.adapt_input_channels(kernel, 1), [[[[6, 9]]]]
        )
        np.testing.assert_array_equal(
            assign.adapt_input_channels(kernel, 2),
            [[[[0, 1.5], [3, 4.5]]]],
        )
        np.testing.assert_allclose(
            assign.adapt_input_channels(kernel, 4)[0, 0],
            np.array([[0, 1], [2, 3], [4, 5], [0, 1]]) * 0.75,
        )
        # The answer to a grey image stays the same.
        for channels in (1, 2, 4, 7):
            np.testing.assert_allclose(
                assign.adapt_input_channels(
                    np.ones((3, 3, 3, 2), "f4"), channels
                ).sum(axis=2),
                3,
                rtol=1e-6,
            )


class TransformsTest(parameterized.TestCase):
    @parameterized.parameters(
        ("same", (5,)), ("conv", (5, 3, 2, 1)), ("bgr_conv", (5, 3, 2, 1)),
        ("dense", (5, 3)), ("image", (1, 1, 1, 5)),
    )  # fmt: skip
    def test_goes_both_ways(self, name, shape):
        array = np.arange(np.prod(shape)).reshape(shape)
        there = transforms.to_keras(name, array)
        np.testing.assert_array_equal(transforms.from_keras(name, there), array)

    def test_layouts(self):
        array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
        conv = transforms.to_keras("conv", array)
        self.assertEqual(conv.shape, (4, 5, 3, 2))
        self.assertEqual(conv[3, 2, 1, 0], array[0, 1, 3, 2])
        bgr = transforms.to_keras("bgr_conv", array)
        self.assertEqual(bgr[3, 2, 0, 1], array[1, 2, 3, 2])


@functools.cache
def _shapes(config, file_format):
    """Returns the shapes of a network in a file, None if it has no names."""
    layout = formats.OURS
    if file_format != detect.OUR_FORMAT:
        try:
            layout = mapping.layout_of(config, file_format)
        except ValueError:
            return None
    shapes = mapping.shapes(config, classes=7)
    return {
        source.name: transforms.from_keras(
            source.transform, np.broadcast_to(np.float32(0), shapes[path])
        ).shape
        for path, source in mapping.of_layout(config, layout).items()
    }


class RecognitionTest(parameterized.TestCase):
    """No values are read: shapes are enough."""

    @parameterized.parameters(
        ("RegNetX-200MF", "timm"),
        ("RegNetX-200MF", "transformers"),
        ("RegNetY-200MF", "pycls"),
        ("RegNetY-400MF", "torchvision"),
        ("RegNetY-200MF", "classy"),
        ("RegNetY-200MF", "keras_applications"),
        ("RegNetZ-500MF", "timm"),
        ("RegNetZ-B16", "byobnet"),
        ("RegNetZ-C16", "byobnet"),
    )
    def test_names_format_and_variant(self, variant, file_format):
        shapes = _shapes(variants.get_config(variant), file_format)
        found = detect.detect(Tensors(shapes, None))
        self.assertEqual(found.format, file_format)
        self.assertEqual(found.variant(), variant)
        self.assertEqual(found.classes, 7)
        self.assertEqual(
            found.describe(), f"{variant} in the names of {file_format!r}"
        )

    @parameterized.parameters(*formats.FORMATS, "keras_regnet")
    def test_every_published_network(self, file_format):
        """No two have the same tensors, and each is told from its own."""
        told = 0
        for variant in variants.list_variants():
            config = variants.get_config(variant)
            for rounded in detect.with_each_rounding(config):
                shapes = _shapes(rounded, file_format)
                if shapes is None:
                    continue
                told += 1
                tensors = Tensors(shapes, None)
                if file_format == detect.OUR_FORMAT:
                    found = detect.detect_ours(tensors)
                else:
                    found = detect.detect(tensors)
                self.assertEqual(found.format, file_format)
                name, closest = found.closest()
                self.assertEqual(name, variant)
                self.assertEqual(_shapes(closest, file_format), shapes, variant)
        self.assertGreaterEqual(told, 5)

    def test_networks_that_differ_in_their_bottleneck_alone(self):
        b16, c16 = (
            variants.get_config(f"RegNetZ-{name}") for name in ("B16", "C16")
        )
        found = detect.detect(Tensors(_shapes(c16, "byobnet"), None))
        self.assertTrue(found.fits(c16))
        self.assertFalse(found.fits(b16))
        with self.assertRaisesRegex(
            ValueError, "holds RegNetZ-C16 .*, but RegNetZ-B16 was requested"
        ):
            rules.network(b16, found, pathlib.Path("c16.safetensors"))
        half = dataclasses.replace(
            c16, bottleneck_ratios=tuple(r / 2 for r in c16.bottleneck_ratios)
        )
        found = detect.detect(Tensors(_shapes(half, "byobnet"), None))
        self.assertIsNone(found.variant())

    def test_networks_of_the_same_tensors_are_both_named(self):
        shapes = _shapes(variants.get_config("RegNetX-200MF"), "timm")
        found = detect.detect(Tensors(shapes, None))
        twins = ("RegNetX-200MF", "twin")
        config = variants.get_config("RegNetX-200MF")
        with (
            mock.patch.object(variants, "list_variants", return_value=twins),
            mock.patch.object(variants, "get_config", return_value=config),
            self.assertRaisesRegex(ValueError, "of RegNetX-200MF as of twin"),
        ):
            found.variant()

    def test_a_file_that_holds_little_of_a_network(self):
        """It is refused before the network is built."""
        config = variants.get_config("RegNetY-10B-SEER")
        shapes = _shapes(config, "classy")
        parts = ("b.0", "se.excitation.0", "c")
        kernels = tuple(f"block1-0.f.{part}.weight" for part in parts)
        kernels += ("stem.0.weight",)
        few = {
            name: shape
            for name, shape in shapes.items()
            if len(shape) == 1 or name.endswith(kernels)
        }
        found = detect.detect(Tensors(few, None))
        with self.assertRaisesRegex(ValueError, "of the 9,3.* numbers that"):
            rules.network(None, found, pathlib.Path("10b.torch"))

    def test_one_odd_tensor_makes_no_other_network(self):
        config = variants.get_config("RegNetX-200MF")
        model = keras_regnet.build(config, input_shape=(32, 32, 3), classes=7)
        state = save.state_dict(model, "timm")
        shapes = {name: array.shape for name, array in state.items()}
        # The file counts batches, besides.
        self.assertEqual({**shapes, **_shapes(config, "timm")}, shapes)
        found = detect.detect(Tensors({**shapes, "extra": (3,)}, None))
        self.assertEqual(found.variant(), "RegNetX-200MF")

    def test_stages_that_vissl_cut_in_parts(self):
        config = variants.get_config("RegNetY-10B-SEER")
        shapes = {
            re.sub(r"(res\d)\.", r"\1.block0-part1.", source.name): (1,) * 4
            for source in mapping.of_format(config, "classy", False).values()
        }
        self.assertIn(
            "_feature_blocks.res4.block0-part1.block3-16.f.c.weight", shapes
        )
        found = detect.detect(Tensors(shapes, None))
        self.assertEqual(found.format, "classy")
        self.assertEqual([s.depth for s in found.stages], [2, 7, 17, 1])
        self.assertIn(
            "_feature_blocks.res4.block3-16.f.c.weight", found.tensors
        )

    def test_a_body_of_transformers(self):
        shapes = {
            source.name.removeprefix("regnet."): (1,) * 4
            for source in mapping.of_format(
                _CONFIG, "transformers", False
            ).values()
        }
        found = detect.detect(Tensors(shapes, None))
        self.assertEqual(found.format, "transformers")
        self.assertEqual(found.classes, 0)
        self.assertIsNone(found.variant())
        self.assertIn("a network of depths 1-2", found.describe())

    def test_other_networks(self):
        shapes = {
            "conv1.weight": (64, 3, 7, 7),
            "layer1.0.conv1.weight": (64, 64, 1, 1),
            "layer1.0.conv2.weight": (64, 64, 3, 3),
            "fc.weight": (1000, 2048),
        }
        with self.assertRaisesRegex(
            ValueError, "not named as a RegNet's .* first are 'conv1.weight'"
        ):
            detect.detect(Tensors(shapes, None))


class NestingTest(parameterized.TestCase):
    def test_wrappers(self):
        state = {"a.weight": np.ones(1), "b.bias": np.ones(2)}
        for checkpoint in (
            state,
            {"model_state": state, "optimizer_state": {}, "epoch": 99},
            {"state_dict": state, "arch": "regnety_032"},
            {"model": state},
            {"state_dict": {f"module.{k}": v for k, v in state.items()}},
            {
                "classy_state_dict": {
                    "base_model": {
                        "model": {
                            "trunk": {"a.weight": state["a.weight"]},
                            "heads": {"b.bias": state["b.bias"]},
                        }
                    }
                },
                "loss": None,
            },
        ):
            self.assertEqual(nesting.state_dict(checkpoint), state)

    @parameterized.parameters("ema_state", "state_dict_ema", "model_ema")
    def test_mentions_averages_that_it_leaves(self, key):
        state = {"a.weight": np.ones(1)}
        checkpoint = {"state_dict": state, key: {"a.weight": np.zeros(1)}}
        with self.assertWarnsRegex(UserWarning, f"averaged .* '{key}'"):
            self.assertEqual(nesting.state_dict(checkpoint), state)

    @parameterized.parameters(
        ([1, 2], "Found: list"),
        ({}, "Found: nothing"),
        ({"epoch": 3, "weights": {"a": 1}}, "Found: 'epoch', 'weights'"),
        ({"classy_state_dict": 5}, "'classy_state_dict'"),
        ({0: np.ones(1)}, "Found: 0"),
        ({"a": np.ones(1), 7: np.ones(1)}, "Found: 'a', 7"),
        (
            {"classy_state_dict": {"base_model": {"model": np.ones(1)}}},
            "'classy_state_dict'",
        ),
        ({"trunk": {"a": np.ones(1)}, "heads": 5}, "Found: 'trunk', 'heads'"),
    )
    def test_refuses(self, checkpoint, message):
        with self.assertRaisesRegex(ValueError, f"no state dict.*{message}"):
            nesting.state_dict(checkpoint)

    def test_two_names_of_one_tensor(self):
        with self.assertRaisesRegex(ValueError, "'a' and 'A' are one tensor"):
            _tensors({"a": 1, "A": 2}).renamed(str.lower)


if __name__ == "__main__":
    absltest.main()
