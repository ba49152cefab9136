import dataclasses
import math

import hypothesis
import keras
from absl.testing import absltest
from absl.testing import parameterized
from hypothesis import strategies

import keras_regnet
from keras_regnet import plan
from keras_regnet import variants
from keras_regnet.complexity import complexity
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from tests.support import published

BLOCKS = strategies.sampled_from(
    ["x", "y", "z", "pre", "r", "v", "vr", "basic"]
)


@strategies.composite
def anynet_configs(draw):
    """Small networks of every block, stem and number of stages."""
    block = draw(BLOCKS)
    stages = draw(strategies.integers(1, 3))

    def per_stage(values):
        return draw(strategies.lists(values, min_size=stages, max_size=stages))

    grouped = block in ("x", "y", "z", "pre")
    bottleneck = grouped or block == "r"
    return AnyNetConfig(
        depths=per_stage(strategies.integers(1, 2)),
        widths=[8 * width for width in per_stage(strategies.integers(1, 4))],
        strides=per_stage(strategies.integers(1, 3)),
        bottleneck_ratios=per_stage(
            strategies.sampled_from([0.25, 0.5, 1, 2] if bottleneck else [1])
        ),
        group_widths=per_stage(
            strategies.sampled_from([1, 2, 4] if grouped else [None])
        ),
        block=block,
        se_ratio=draw(strategies.sampled_from([0, 0.25] if grouped else [0])),
        se_from=draw(strategies.sampled_from(["input", "inner"])),
        expand_from=draw(
            strategies.sampled_from(
                ["input", "output"] if bottleneck else ["output"]
            )
        ),
        projection=draw(
            strategies.sampled_from(
                ["conv"] if block in ("v", "z") else ["conv", "pool"]
            )
        ),
        stem=draw(
            strategies.sampled_from(
                ["simple", "cifar", "resnet", "tiered", "deep"]
            )
        ),
        stem_width=8 * draw(strategies.integers(1, 3)),
        head_width=draw(strategies.sampled_from([0, 12])),
        padding=draw(strategies.sampled_from(["symmetric", "same"])),
        **draw(
            strategies.sampled_from(
                [
                    {"norm": "batch"},
                    {"norm": "group"},
                    {"norm": "evonorm_s0a", "norm_group_width": 4},
                ]
            )
        ),
    )


class ComplexityTest(parameterized.TestCase):
    @parameterized.parameters(*published.rows("published"))
    def test_published(self, variant, flops, params, activations, **_):
        counted = complexity(variants.get_config(variant))
        self.assertEqual(counted.flops, flops)
        self.assertEqual(counted.params, params)
        self.assertEqual(counted.activations, activations)

    @parameterized.parameters(
        # ClassyVision's definitions: 64.07 GF, 281.4 M, 42.5 M ...
        ("RegNetY-64GF", 64.07, 281.4, 42.5),
        ("RegNetY-128GF", 127.52, 644.8, 71.6),
        ("RegNetY-256GF", 256.90, 826.1, 87.5),
    )
    def test_large(self, variant, gigaflops, params, activations):
        counted = complexity(variants.get_config(variant))
        self.assertAlmostEqual(counted.flops / 1e9, gigaflops, delta=0.006)
        self.assertAlmostEqual(counted.params / 1e6, params, delta=0.06)
        self.assertAlmostEqual(
            counted.activations / 1e6, activations, delta=0.06
        )

    @parameterized.parameters(*published.rows("timm"))
    def test_params_of_timm(self, variant, params, depths, widths):
        config = variants.get_config(variant.removesuffix("_tv"))
        if variant.endswith("_tv"):
            config = dataclasses.replace(config, width_rounding="torchvision")
        stages = plan.stages(config)
        self.assertEqual(tuple(stage.depth for stage in stages), depths)
        self.assertEqual(tuple(stage.width for stage in stages), widths)
        self.assertEqual(complexity(config).params, params)

    def test_stages_of_the_largest(self):
        """As transformers lists them for regnet-y-10b-seer."""
        stages = plan.stages(variants.get_config("RegNetY-10B-SEER"))
        self.assertEqual([s.depth for s in stages], [2, 7, 17, 1])
        self.assertEqual([s.width for s in stages], [2020, 4040, 11110, 28280])
        self.assertEqual({s.group_width for s in stages}, {1010})

    def test_params_of_torchvision(self):
        counted = complexity(variants.get_config("RegNetY-128GF"))
        self.assertEqual(counted.params, 644812894)

    @hypothesis.settings(max_examples=10, deadline=None)
    @hypothesis.given(config=anynet_configs())
    def test_model_agrees_with_config_on_random_networks(self, config):
        model = keras_regnet.build(
            config, input_shape=(None, None, 2), classes=7
        )
        shape = (45, 32, 2)
        self.assertEqual(
            complexity(model, shape), complexity(config, shape, classes=7)
        )
        trainable = sum(math.prod(w.shape) for w in model.trainable_weights)
        self.assertEqual(complexity(model, shape).params, trainable)

    def test_frozen_layers_count(self):
        config = RegNetConfig(2, 16, 8, 2, 8)
        model = keras_regnet.build(config, input_shape=(32, 32, 3))
        before = complexity(model)
        model.trainable = False
        self.assertEqual(complexity(model), before)

    def test_without_top(self):
        config = RegNetConfig(2, 16, 8, 2, 8)
        model = keras_regnet.build(config, include_top=False)
        self.assertEqual(
            complexity(model), complexity(config, include_top=False)
        )

    def test_foreign_model(self):
        # 3x3 depthwise and 1x1 pointwise over 8 channels at 4x4.
        inputs = keras.Input((4, 4, 8))
        x = keras.layers.DepthwiseConv2D(3, padding="same")(inputs)
        x = keras.layers.Conv2D(16, 1, use_bias=False)(x)
        model = keras.Model(inputs, x)
        counted = complexity(model, (4, 4, 8))
        self.assertEqual(counted.flops, (72 + 8) * 16 + 128 * 16)
        self.assertEqual(counted.params, 72 + 8 + 128)
        self.assertEqual(counted.activations, 8 * 16 + 16 * 16)

    def test_operations_that_are_no_layers(self):
        # Multiply-adds and parameters as published: arXiv 1905.02244, table 3.
        model = keras.applications.MobileNetV3Small(weights=None)
        counted = complexity(model)
        # 56 M there, rounded down.
        self.assertAlmostEqual(counted.flops / 1e6, 56, delta=1)
        self.assertEqual(round(counted.params / 1e5), 25)
        trainable = sum(math.prod(w.shape) for w in model.trainable_weights)
        self.assertEqual(counted.params, trainable)

    def test_operations_with_other_shapes(self):
        inputs = keras.Input((8, 8, 3))
        one, two = keras.ops.split(inputs + 1, [1], axis=-1)
        joined = keras.ops.concatenate([two, one], axis=-1)
        outputs = keras.layers.Conv2D(4, 1, use_bias=False)(joined)
        counted = complexity(keras.Model(inputs, outputs), (16, 8, 3))
        self.assertEqual(counted.flops, 3 * 4 * 16 * 8)

    def test_channels_first(self):
        config = RegNetConfig(2, 16, 8, 2, 8, block="y")
        keras.config.set_image_data_format("channels_first")
        self.addCleanup(keras.config.set_image_data_format, "channels_last")
        model = keras_regnet.build(config, input_shape=(3, None, None))
        self.assertEqual(complexity(model), complexity(config))

    @parameterized.parameters(
        ((224, 224), r"must be \(height, width, channels\)"),
        ((224, 224, 0), r"Received: input_shape=\(224, 224, 0\)"),
        ((None, 224, 3), "three integers above 0"),
    )
    def test_refuses_shapes(self, shape, message):
        with self.assertRaisesRegex(ValueError, message):
            complexity(variants.get_config("RegNetX-200MF"), shape)

    @parameterized.parameters(None, "RegNetX-200MF", 3)
    def test_refuses_what_is_no_network(self, network):
        with self.assertRaisesRegex(ValueError, "`config_or_model` must be"):
            complexity(network)

    def test_refuses_classes(self):
        with self.assertRaisesRegex(ValueError, "`classes` must be"):
            complexity(variants.get_config("RegNetX-200MF"), classes=-3)

    def test_refuses_what_it_would_count_wrongly(self):
        inputs = keras.Input((32, 32, 3))
        inner = keras.Sequential([keras.layers.Conv2D(4, 1)])
        nested = keras.Model(inputs, inner(inputs))
        with self.assertRaisesRegex(ValueError, "inside a model"):
            complexity(nested, (32, 32, 3))
        transposed = keras.layers.Conv2DTranspose(4, 3)(inputs)
        with self.assertRaisesRegex(ValueError, "Transposed and separable"):
            complexity(keras.Model(inputs, transposed), (32, 32, 3))
        product = keras.ops.matmul(inputs, keras.ops.ones((3, 5)))
        with self.assertRaisesRegex(ValueError, "of type Matmul"):
            complexity(keras.Model(inputs, product), (32, 32, 3))

    def test_refuses_other_channels(self):
        config = RegNetConfig(2, 16, 8, 2, 8)
        model = keras_regnet.build(config, input_shape=(32, 32, 1))
        with self.assertRaisesRegex(ValueError, "as many channels"):
            complexity(model)


if __name__ == "__main__":
    absltest.main()
