"""The rows of layers, against the figures of the paper and built models."""

from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from keras_regnet import plan
from keras_regnet import rows
from keras_regnet import variants
from keras_regnet.config import AnyNetConfig


class RowsTest(parameterized.TestCase):
    def test_rows_of_a_block(self):
        config = variants.get_config("RegNetY-400MF")
        found = [
            (
                row.part,
                row.kernel,
                row.inputs,
                row.outputs,
                row.groups,
                row.stride,
                row.reduction,
            )
            for row in rows.layers(config)
            if (row.stage, row.block) == (2, 1) and row.kind != "norm"
        ]
        self.assertEqual(
            found,
            [
                ("conv1", 1, 48, 104, 1, 1, 4),
                ("conv2", 3, 104, 104, 13, 2, 8),
                ("se_reduce", 1, 104, 12, 1, 1, 0),
                ("se_expand", 1, 12, 104, 1, 1, 0),
                ("conv3", 1, 104, 104, 1, 1, 8),
                ("shortcut", 1, 48, 104, 1, 2, 8),
            ],
        )

    def test_a_pool_takes_the_stride_of_a_projection(self):
        config = AnyNetConfig((1,), (16,), projection="pool")
        *_, pool, conv, norm, head = rows.layers(config)
        self.assertEqual(
            [row.name for row in (pool, conv, norm, head)],
            [
                "stage1_block1_shortcut_pool",
                "stage1_block1_shortcut",
                "stage1_block1_shortcut_bn",
                "head_fc",
            ],
        )
        self.assertEqual((pool.stride, conv.stride), (2, 1))

    @parameterized.parameters(
        ("simple", 2), ("cifar", 1), ("resnet", 4), ("tiered", 4), ("deep", 4)
    )
    def test_stem_stride(self, stem, stride):
        config = AnyNetConfig((1,), (16,), stem=stem)
        self.assertEqual(rows.stem_stride(config), stride)

    def test_norms_of_single_images(self):
        """In groups of a common divisor; EvoNorm where it is the activation."""
        config = AnyNetConfig(
            (1,),
            (24,),
            norm="evonorm_s0a",
            stem_width=8,
            norm_group_width=16,
            head_width=32,
        )
        norms = {
            row.name: (row.kind, row.group_width, row.groups)
            for row in rows.layers(config)
            if row.norm_parameters
        }
        self.assertEqual(
            norms,
            {
                "stem_conv_bn": ("evonorm_act", 8, 1),
                "stage1_block1_conv1_bn": ("evonorm_act", 8, 3),
                "stage1_block1_conv2_bn": ("evonorm_act", 8, 3),
                "stage1_block1_conv3_bn": ("evonorm", 8, 3),
                "stage1_block1_shortcut_bn": ("evonorm", 8, 3),
                "head_conv_bn": ("evonorm_act", 16, 2),
            },
        )

    @parameterized.product(
        block=["x", "y", "z", "pre", "v", "vr", "basic"],
        output_stride=[None, 4],
    )
    def test_each_row_is_a_layer_of_the_model(self, block, output_stride):
        config = AnyNetConfig(
            (2, 1, 2), (16, 32, 32), block=block, stem_width=8, head_width=24
        )
        model = keras_regnet.build(
            config,
            classes=3,
            input_shape=(32, 32, 3),
            output_stride=output_stride,
        )
        stages = plan.stages(config)
        if output_stride:
            stages = plan.dilate(stages, 2, output_stride)
        for row in rows.layers(config, stages, classes=3):
            layer = model.get_layer(row.name)
            self.assertEqual(layer.output.shape[-1], row.outputs)
            if row.reduction:
                self.assertEqual(layer.output.shape[1], 32 // row.reduction)
            if row.kind in ("conv", "gate"):
                window = (row.kernel, row.kernel)
                self.assertEqual(
                    tuple(layer.kernel.shape),
                    (*window, row.group_width, row.outputs),
                )
                self.assertEqual(layer.dilation_rate[0], row.dilation)
                self.assertEqual(layer.use_bias, row.has_bias)


if __name__ == "__main__":
    absltest.main()
