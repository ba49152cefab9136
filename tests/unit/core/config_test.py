import dataclasses
import json

import hypothesis
import numpy as np
from absl.testing import absltest
from absl.testing import parameterized
from hypothesis import strategies

from keras_regnet import config as config_lib
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig

REGNET = dict(depth=13, w_0=24, w_a=36.44, w_m=2.49, group_width=8)
ANYNET = dict(depths=(1, 2), widths=(32, 64), group_widths=16)


class ConfigTest(parameterized.TestCase):
    @parameterized.parameters(
        (dict(depth=0), "`depth` must be an integer above 0. Received"),
        (dict(depth=2.5), "`depth` must be an integer above 0"),
        (dict(depth=True), "`depth` must be an integer above 0"),
        (dict(w_0=0), "`w_0` must be a finite number above 0"),
        (dict(w_0=float("nan")), "`w_0` must be a finite number above 0"),
        (dict(w_a=-1), "`w_a` must be a finite number above 0"),
        (dict(w_m=1), "`w_m` must be a finite number above 1"),
        (dict(group_width=0), "`group_width` must be an integer above 0"),
        (dict(bottleneck_ratio=0), "`bottleneck_ratio` must be a finite"),
        (dict(bottleneck_ratio=1e-9), "must be within 1/64 and 64"),
        (dict(se_ratio=1e9), "`se_ratio` must be within 1/64 and 64"),
        (dict(strides=0), "`strides` must be an integer above 0"),
        (dict(strides=(2, 0)), "`strides` must be an integer above 0"),
        (dict(strides="2"), "`strides` must be an integer above 0"),
        (dict(stem_width=0), "`stem_width` must be an integer above 0"),
        (dict(head_width=-1), "`head_width` must be an integer above -1"),
        (dict(se_ratio=-0.25), "`se_ratio` must be a finite number above 0"),
        (dict(activation=""), "`activation` must be the name"),
        (dict(block="xx"), "Unknown `block`.* Allowed: 'x', 'y', 'r'"),
        (dict(block=None), "Unknown `block`"),
        (dict(stem="cifr"), "Did you mean 'cifar'"),
        (dict(padding="valid"), "Unknown `padding`. Allowed: 'symmetric'"),
        (dict(width_rounding="up"), "Unknown `width_rounding`"),
        (dict(norm="evonorm_s0"), "Did you mean 'evonorm_s0a'"),
        (
            dict(norm="group", norm_group_width=0),
            "`norm_group_width` must be an integer above 0",
        ),
        (
            dict(norm_group_width=8),
            "`norm_group_width` must be 16 with norm='batch'.*=8",
        ),
        (dict(block="v"), "`group_width` must be None with block='v'"),
        (dict(block="r"), "`group_width` must be None with block='r'"),
        (
            dict(block="vr", group_width=None, bottleneck_ratio=2),
            "`bottleneck_ratio` must be 1 with block='vr'",
        ),
        (
            dict(block="basic", group_width=None, se_ratio=0.25),
            "`se_ratio` must be 0 with block='basic'",
        ),
    )
    def test_regnet_refuses(self, change, message):
        with self.assertRaisesRegex(ValueError, message):
            RegNetConfig(**{**REGNET, **change})

    @parameterized.parameters(
        (dict(depths=()), "`depths` must be a sequence with at least one"),
        (dict(depths=3), "`depths` must be a sequence"),
        (dict(depths=(1, 0)), "`depths` must be an integer above 0"),
        (dict(widths=(32, 64, 128)), "`widths` must have one value per stage"),
        (dict(widths=(32, -8)), "`widths` must be an integer above 0"),
        (dict(strides=(2, 1, 1)), "`strides` must have one value per stage"),
        (dict(bottleneck_ratios=-1), "`bottleneck_ratios` must be a finite"),
        (
            dict(group_widths=(16, 24)),
            "`group_widths` must divide the inner width .* Received: stage 2 "
            "with width=64, bottleneck_ratio=1.0, inner width=64, "
            "group_width=24",
        ),
        (
            dict(group_widths=24, widths=(24, 48), expand_from="input"),
            "Received: stage 1 with width=32",
        ),
        (dict(projection="max"), "Unknown `projection`. Allowed: 'conv'"),
        (dict(block="z", projection="pool"), "`projection` must be 'conv'"),
        (dict(expand_from="inputs"), "Did you mean 'input'"),
        (
            dict(block="vr", group_widths=None, expand_from="input"),
            "`expand_from` must be 'output' with block='vr'",
        ),
        (dict(se_from="outer"), "Unknown `se_from`. Allowed: 'input', 'inner'"),
        (dict(se_activation=""), "`se_activation` must be the name"),
    )
    def test_anynet_refuses(self, change, message):
        with self.assertRaisesRegex(ValueError, message):
            AnyNetConfig(**{**ANYNET, **change})

    def test_is_frozen(self):
        with self.assertRaises(dataclasses.FrozenInstanceError):
            RegNetConfig(**REGNET).depth = 3

    def test_single_values_serve_all_stages(self):
        config = AnyNetConfig((1, 1, 1), (8, 16, 32), 2, 1, 8)
        self.assertEqual(config.strides, (2, 2, 2))
        self.assertEqual(config.bottleneck_ratios, (1, 1, 1))
        self.assertEqual(config.group_widths, (8, 8, 8))

    def test_blocks_y_and_r_are_block_x(self):
        self.assertEqual(
            RegNetConfig(**REGNET, block="y"),
            RegNetConfig(**REGNET, block="x", se_ratio=0.25),
        )
        ungrouped = {**REGNET, "group_width": None}
        self.assertEqual(
            RegNetConfig(**ungrouped, block="r"), RegNetConfig(**ungrouped)
        )

    def test_activation_of_the_gate_has_one_spelling(self):
        self.assertEqual(
            RegNetConfig(**REGNET, block="y", se_activation="relu"),
            RegNetConfig(**REGNET, block="y"),
        )

    def test_json_of_batch_norm_is_as_before_there_were_others(self):
        """Records and saved models hold it, and older versions read it."""
        before = (
            '{"type": "AnyNetConfig", "block": "x", "se_ratio": 0.0, '
            '"se_from": "input", "se_activation": null, "expand_from": '
            '"output", "projection": "conv", "stem": "simple", "stem_width": '
            '32, "head_width": 0, "activation": "relu", "padding": '
            '"symmetric", "depths": [1, 2], "widths": [32, 64], "strides": '
            '[2, 2], "bottleneck_ratios": [1.0, 1.0], "group_widths": [16, 16]}'
        )
        self.assertEqual(AnyNetConfig(**ANYNET).to_json(), before)
        self.assertEqual(config_lib.from_json(before), AnyNetConfig(**ANYNET))

    @parameterized.parameters(*config_lib.NORMS)
    def test_norms_survive_json(self, norm):
        width = 16 if norm == "batch" else 8
        config = RegNetConfig(**REGNET, norm=norm, norm_group_width=width)
        self.assertEqual(config_lib.from_json(config.to_json()), config)

    def test_numpy_values_become_plain(self):
        config = AnyNetConfig(np.array([1, 2]), np.array([32, 64]))
        self.assertEqual(config, AnyNetConfig((1, 2), (32, 64)))
        self.assertIs(type(config.depths[0]), int)
        regnet = RegNetConfig(np.int64(4), np.float32(16), 8, np.float64(2), 8)
        self.assertEqual(config_lib.from_json(regnet.to_json()), regnet)

    @hypothesis.given(
        depth=strategies.integers(1, 64),
        w_0=strategies.floats(1, 512),
        w_a=strategies.floats(0, 256),
        w_m=strategies.floats(1.01, 4),
        group_width=strategies.none() | strategies.integers(1, 64),
        strides=strategies.integers(1, 2),
        stem=strategies.sampled_from(config_lib.STEMS),
    )
    def test_json_round_trip(self, **values):
        config = RegNetConfig(**values)
        again = config_lib.from_json(config.to_json())
        self.assertEqual(again, config)
        self.assertEqual(hash(again), hash(config))

    def test_json_round_trip_of_anynet(self):
        config = AnyNetConfig((1, 2), (32, 64), (1, 2), (1, 2), (None, 16))
        self.assertEqual(config_lib.from_json(config.to_json()), config)

    @parameterized.parameters(
        ("{", "must be a JSON object"),
        ("[]", "must be a JSON object"),
        ("{}", "Unknown `type`. Allowed: 'RegNetConfig', 'AnyNetConfig'"),
        ('{"type": "RegNetConfig"}', "needs the fields .'depth', 'w_0'"),
        (
            json.dumps({"type": "RegNetConfig", **REGNET, "dept": 1}),
            "Unknown `field`. Did you mean 'depth'",
        ),
    )
    def test_from_json_refuses(self, text, message):
        with self.assertRaisesRegex(ValueError, message):
            config_lib.from_json(text)


if __name__ == "__main__":
    absltest.main()
