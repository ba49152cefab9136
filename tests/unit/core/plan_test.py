import dataclasses
import math
from fractions import Fraction

import hypothesis
from absl.testing import absltest
from absl.testing import parameterized
from hypothesis import strategies

from keras_regnet import plan
from keras_regnet import variants
from keras_regnet import widths as widths_lib
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from tests.support import published


def _columns(stages, *names):
    return tuple(
        tuple(getattr(stage, name) for stage in stages) for name in names
    )


def _block_widths_in_fractions(depth, w_0, w_a, w_m):
    """Equations 2 to 4 one block at a time, without NumPy."""
    widths = []
    for j in range(depth):
        exponent = round(math.log((w_0 + w_a * j) / w_0) / math.log(w_m))
        width = w_0 * w_m**exponent
        widths.append(max(8, 8 * round(Fraction(width) / 8)))
    return tuple(widths)


class PlanTest(parameterized.TestCase):
    @parameterized.parameters(
        *(row for row in published.rows("published") if row["widths"])
    )
    def test_published_stages(self, **row):
        stages = plan.stages(variants.get_config(row["variant"]))
        self.assertEqual(
            _columns(stages, "depth", "width", "group_width"),
            (row["depths"], row["widths"], row["group_widths"]),
        )

    @parameterized.parameters(*published.rows("torchvision"))
    def test_torchvision_stages(self, **row):
        config = variants.get_config(row["variant"])
        stages = plan.stages(
            dataclasses.replace(config, width_rounding="torchvision")
        )
        self.assertEqual(
            _columns(stages, "depth", "width", "group_width"),
            (row["depths"], row["widths"], row["group_widths"]),
        )

    def test_torchvision_rounds_three_variants_differently(self):
        different = [
            row["variant"]
            for row in published.rows("torchvision")
            if row["widths"]
            != _columns(
                plan.stages(variants.get_config(row["variant"])), "width"
            )[0]
        ]
        self.assertCountEqual(
            different, ["regnet_x_400mf", "regnet_y_800mf", "regnet_y_8gf"]
        )

    @hypothesis.given(
        depth=strategies.integers(1, 64),
        w_0=strategies.floats(1, 512),
        w_a=strategies.floats(0, 256),
        w_m=strategies.floats(1.2, 4),
    )
    def test_block_widths_follow_the_equations(self, depth, w_0, w_a, w_m):
        widths = widths_lib.block_widths(depth, w_0, w_a, w_m)
        self.assertEqual(
            widths, _block_widths_in_fractions(depth, w_0, w_a, w_m)
        )
        self.assertSequenceEqual(widths, sorted(widths))

    @hypothesis.given(
        depth=strategies.integers(1, 64),
        w_0=strategies.floats(1, 512),
        w_a=strategies.floats(0, 256),
        w_m=strategies.floats(1.2, 4),
        group_width=strategies.none() | strategies.integers(1, 256),
        bottleneck_ratio=strategies.sampled_from(
            [0.125, 0.25, 1 / 3, 0.4, 0.5, 1.0, 1.5, 2.0, 4.0]
        ),
        width_rounding=strategies.sampled_from(["pycls", "torchvision"]),
    )
    def test_every_generated_plan_fits_its_groups(self, depth, **parameters):
        stages = plan.stages(RegNetConfig(depth, **parameters))
        self.assertEqual(sum(stage.depth for stage in stages), depth)
        for stage in stages:
            self.assertEqual(stage.inner_width % stage.group_width, 0)
            self.assertEqual(
                stage.groups * stage.group_width, stage.inner_width
            )
            if parameters["group_width"] is None:
                self.assertEqual(stage.groups, 1)
            else:
                self.assertLessEqual(
                    stage.group_width, parameters["group_width"]
                )

    @parameterized.parameters(
        # width, ratio, group width -> width, group width
        (392, 1, 16, 384, 16),  # 24.5 groups: halves to even
        (80, 1, 120, 80, 80),  # no group wider than the stage
        (64, 4, 8, 64, 8),  # 16 inner channels
        (48, 4, 8, 64, 8),  # 12 inner channels: 1.5 groups, to even
        (24, 0.25, 12, 24, 12),  # lcm(12, 4) = 12 divides 96
        (25, 0.25, 3, 24, 3),  # lcm(3, 4) = 12: 100 -> 96
        (10, 0.25, 6, 9, 6),  # lcm(6, 4) = 12: 40 -> 36
    )
    def test_compatible_width(self, width, ratio, group_width, fitted, groups):
        self.assertEqual(
            widths_lib.compatible_width(width, ratio, group_width),
            (fitted, groups),
        )

    def test_any_number_of_stages_and_any_w_0(self):
        five = RegNetConfig(depth=20, w_0=21, w_a=30, w_m=2, group_width=4)
        self.assertGreater(len(plan.stages(five)), 4)
        one = RegNetConfig(depth=3, w_0=13.5, w_a=0, w_m=2, group_width=4)
        self.assertEqual(
            _columns(plan.stages(one), "depth", "width"), ((3,), (16,))
        )

    def test_strides_must_match_the_stages(self):
        config = RegNetConfig(3, 16, 0, 2, 8, strides=(2, 1))
        with self.assertRaisesRegex(ValueError, "`strides` must have one"):
            plan.stages(config)

    def test_anynet_config_has_the_same_stages(self):
        for name in ("RegNetZ-500MF", "RegNetZ-4GF", "RegNetV-6.4GF"):
            config = variants.get_config(name)
            anynet = plan.anynet_config(config)
            self.assertIsInstance(anynet, AnyNetConfig)
            self.assertEqual(plan.stages(anynet), plan.stages(config))
            self.assertEqual(anynet.head_width, config.head_width)
            self.assertEqual(anynet.projection, config.projection)

    def test_expansion_of_the_input(self):
        """The figures are those of timm's regnetz_b16."""
        first, second, *_ = plan.stages(variants.get_config("RegNetZ-B16"))
        for stage, first_inner, inner in (
            (first, (96, 16), (144, 16)),
            (second, (144, 16), (288, 16)),
        ):
            self.assertEqual(
                (stage.first.inner, stage.first.group_width), first_inner
            )
            self.assertEqual((stage.rest.inner, stage.rest.group_width), inner)
            self.assertEqual(stage.groups, inner[0] // 16)

    def test_expansion_without_groups(self):
        config = AnyNetConfig((2,), (24,), expand_from="input", stem_width=48)
        (stage,) = plan.stages(config)
        self.assertEqual((stage.first.inner, stage.first.group_width), (48, 48))
        self.assertEqual((stage.rest.inner, stage.rest.group_width), (24, 24))

    @parameterized.parameters(
        (8, (2, 2, 1, 1), (1, 1, 2, 4), (1, 1, 1, 2)),
        (16, (2, 2, 2, 1), (1, 1, 1, 2), (1, 1, 1, 1)),
        (32, (2, 2, 2, 2), (1, 1, 1, 1), (1, 1, 1, 1)),
    )
    def test_dilate(self, output_stride, strides, dilations, firsts):
        stages = plan.stages(variants.get_config("RegNetX-200MF"))
        dilated = plan.dilate(stages, 2, output_stride)
        self.assertEqual(
            (
                _columns(dilated, "stride"),
                tuple(stage.rest.dilation for stage in dilated),
                tuple(stage.first.dilation for stage in dilated),
            ),
            ((strides,), dilations, firsts),
        )

    def test_dilate_refuses(self):
        stages = plan.stages(variants.get_config("RegNetX-200MF"))
        with self.assertRaisesRegex(ValueError, r"one of \[2, 4, 8, 16, 32\]"):
            plan.dilate(stages, 2, 64)

    def test_halves_round_to_even(self):
        # 80 * 2.25 / 8 = 22.5: RegNetX-1.6GF's second level.
        self.assertEqual(
            set(widths_lib.block_widths(18, 80, 34.01, 2.25)),
            {80, 176, 408, 912},
        )


if __name__ == "__main__":
    absltest.main()
