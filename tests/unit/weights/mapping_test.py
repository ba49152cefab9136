"""The maps of names, against what the projects themselves have."""

import dataclasses

import keras
from absl.testing import absltest
from absl.testing import parameterized
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

import keras_regnet
from keras_regnet import variants
from keras_regnet.weights import formats
from keras_regnet.weights import mapping

# Entries of the state dicts that timm 1.0.31 and torchvision 0.29.2 build,
# PyTorch's counters of batches included.
_ENTRIES = [
    ("timm", "RegNetX-200MF", 266),
    ("timm", "RegNetX-8.0GF", 446),
    ("timm", "RegNetY-3.2GF", 494),
    ("timm", "RegNetY-256GF-SEER", 626),
    ("timm", "RegNetZ-500MF", 476),
    ("timm", "RegNetZ-4.0GF-NoHeadConv", 624),
    ("timm", "RegNetZ-4.0GF", 630),
    ("timm", "RegNetV-4.0GF", 491),
    ("timm", "RegNetV-6.4GF", 557),
    ("torchvision", "RegNetX-3.2GF", 482),
    ("torchvision", "RegNetY-128GF", 626),
    ("timm", "RegNetY-4.0GF-GroupNorm", 303),
    ("byobnet", "RegNetZ-C16-EvoNorm", 340),
    ("byobnet", "RegNetZ-D8-EvoNorm", 378),
]

# One tensor of each kind, as the projects name them.
_NAMES = {
    "timm": (
        "stem.conv.weight",
        "s1.b1.conv1.bn.running_mean",
        "s2.b2.se.fc1.bias",
        "s2.b1.downsample.conv.weight",
        "head.fc.weight",
    ),
    "torchvision": (
        "stem.0.weight",
        "trunk_output.block1.block1-0.f.a.1.running_mean",
        "trunk_output.block2.block2-1.f.se.fc1.bias",
        "trunk_output.block2.block2-0.proj.0.weight",
        "fc.weight",
    ),
    "pycls": (
        "stem.conv.weight",
        "s1.b1.f.a_bn.running_mean",
        "s2.b2.f.se.f_ex.0.bias",
        "s2.b1.proj.weight",
        "head.fc.weight",
    ),
    "classy": (
        "_feature_blocks.conv1.stem.0.weight",
        "_feature_blocks.res2.block1-0.f.a.1.running_mean",
        "_feature_blocks.res3.block2-1.f.se.excitation.0.bias",
        "_feature_blocks.res3.block2-0.proj.weight",
        "0.clf.0.weight",
    ),
    "swag": (
        "stem.stem.0.weight",
        "trunk_output.block1.block1-0.f.a.1.running_mean",
        "trunk_output.block2.block2-1.f.se.excitation.0.bias",
        "trunk_output.block2.block2-0.proj.weight",
        "head.fc.weight",
    ),
    "transformers": (
        "regnet.embedder.embedder.convolution.weight",
        "regnet.encoder.stages.0.layers.0.layer.0.normalization.running_mean",
        "regnet.encoder.stages.1.layers.1.layer.2.attention.0.bias",
        "regnet.encoder.stages.1.layers.0.shortcut.convolution.weight",
        "classifier.1.weight",
    ),
    "keras_applications": (
        "stem_conv/kernel",
        "Stage_0_YBlock_0_conv_1x1_1_bn/moving_mean",
        "Stage_1_YBlock_1_squeeze_and_excite_squeeze/bias",
        "Stage_1_YBlock_0_skip_1x1/kernel",
        "head_dense/kernel",
    ),
}
_OURS = (
    "stem_conv/kernel",
    "stage1_block1_conv1_bn/moving_mean",
    "stage2_block2_se_reduce/bias",
    "stage2_block1_shortcut/kernel",
    "head_fc/kernel",
)


class NamesTest(parameterized.TestCase):
    @parameterized.product(
        file_format=list(formats.FORMATS), variant=variants.list_variants()
    )
    def test_no_two_variables_share_a_tensor(self, file_format, variant):
        config = variants.get_config(variant)
        try:
            mapped = mapping.of_format(config, file_format)
        except ValueError as error:
            self.assertRegex(str(error), "no names for a network with")
            return
        self.assertLen({source.name for source in mapped.values()}, len(mapped))
        body = mapping.of_format(config, file_format, include_top=False)
        self.assertEqual(
            mapped.keys() - body.keys(), {"head_fc/kernel", "head_fc/bias"}
        )

    @parameterized.parameters(
        ("timm", 12 + 18 + 3 + 2),
        ("byobnet", 8),
        ("torchvision", 12 + 17),
        ("keras_applications", 12 + 17),
        ("kecam", 12 + 17 + 8),
    )
    def test_published_networks_of_a_format(self, file_format, count):
        """RegNetX, RegNetY, RegNetZ and RegNetV, where it has them."""
        named = 0
        for variant in variants.list_variants():
            try:
                mapping.layout_of(variants.get_config(variant), file_format)
            except ValueError:
                continue
            named += 1
        self.assertEqual(named, count)

    @parameterized.parameters(*_ENTRIES)
    def test_as_many_tensors_as_the_project_has(
        self, file_format, variant, count
    ):
        mapped = mapping.of_format(variants.get_config(variant), file_format)
        counters = sum(path.endswith("/moving_variance") for path in mapped)
        self.assertEqual(len(mapped) + counters, count)

    @parameterized.parameters(
        dict(block="y", stem="resnet"),
        dict(block="z", stem="tiered", stem_width=8, head_width=24),
        dict(block="pre", projection="pool"),
        dict(block="basic"),
        dict(block="vr", stem="cifar"),
        dict(block="pre", norm="group"),
        dict(block="z", stem="deep", norm="evonorm_s0a", head_width=24),
        dict(bottleneck_ratios=0.25, group_widths=8, se_ratio=0.25),
    )
    def test_shapes_are_those_of_the_built_network(self, **fields):
        config = keras_regnet.AnyNetConfig((1, 2), (16, 32), **fields)
        model = keras_regnet.AnyNet(config, input_shape=(32, 32, 3), classes=3)
        built = {v.path: tuple(v.shape) for v in model.weights}
        self.assertEqual(mapping.shapes(config, classes=3), built)

    @parameterized.parameters(*_NAMES)
    def test_names(self, file_format):
        config = keras_regnet.AnyNetConfig((1, 2), (16, 32), block="y")
        mapped = mapping.of_format(config, file_format)
        self.assertEqual(
            tuple(mapped[path].name for path in _OURS), _NAMES[file_format]
        )

    def test_names_without_squeeze_and_excitation(self):
        config = keras_regnet.AnyNetConfig((1,), (16,))
        path = "stage1_block1_conv3/kernel"
        self.assertEqual(
            mapping.of_format(config, "transformers")[path].name,
            "regnet.encoder.stages.0.layers.0.layer.2.convolution.weight",
        )
        self.assertEqual(
            mapping.of_format(config, "keras_applications")[path].name,
            "Stage_0_XBlock_0_conv_1x1_2/kernel",
        )

    def test_only_the_stem_of_pycls_is_reversed(self):
        config = variants.get_config("RegNetY-400MF")
        for order, file_format, expected in (
            (None, "pycls", ["stem_conv/kernel"]),
            (None, "timm", []),
            ("BGR", "classy", ["stem_conv/kernel"]),
            ("RGB", "pycls", []),
        ):
            mapped = mapping.of_format(config, file_format, channel_order=order)
            reversed_ones = [
                path
                for path, source in mapped.items()
                if source.transform == "bgr_conv"
            ]
            self.assertEqual(reversed_ones, expected)

    @settings(max_examples=4, deadline=None)
    @given(
        depths=st.lists(st.integers(1, 2), min_size=1, max_size=2),
        block=st.sampled_from(("x", "y", "z", "pre", "v", "vr", "basic")),
        stem=st.sampled_from(("simple", "cifar", "resnet", "tiered")),
        head_width=st.sampled_from((0, 16)),
        include_top=st.booleans(),
    )
    def test_layers_are_the_model_s(
        self, depths, block, stem, head_width, include_top
    ):
        config = keras_regnet.AnyNetConfig(
            depths,
            [8 * (stage + 1) for stage in range(len(depths))],
            strides=[1] + [2] * (len(depths) - 1),
            block=block,
            stem=stem,
            stem_width=8,
            head_width=head_width,
        )
        model = keras_regnet.build(
            config, include_top=include_top, input_shape=(32, 32, 3)
        )
        self.assertCountEqual(
            [layer.name for layer in mapping.layers(config, include_top)],
            [layer.name for layer in model.layers if layer.weights],
        )
        keras.backend.clear_session()

    @parameterized.parameters(
        (dict(block="v"), "torchvision", "block='v'"),
        (dict(block="z", head_width=8), "torchvision", "head_width=8"),
        (dict(stem="resnet"), "timm", "stem='resnet'"),
        (dict(projection="pool"), "timm", "projection='pool'"),
        (dict(), "tim", "Unknown `file_format`. Did you mean 'timm'"),
    )
    def test_refuses(self, changes, file_format, message):
        config = dataclasses.replace(
            keras_regnet.AnyNetConfig((1,), (16,)), **changes
        )
        with self.assertRaisesRegex(ValueError, message):
            mapping.of_format(config, file_format)


if __name__ == "__main__":
    absltest.main()
