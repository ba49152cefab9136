"""Compound scaling, beside what pycls's scaler makes of the same networks."""

import math

from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import design_space
from keras_regnet import plan
from keras_regnet import variants
from keras_regnet.complexity import complexity
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from tests.support import published

# What pycls calls these strategies, which leave group widths alone without "g".
_STRATEGIES = {
    "d1_w8_g8_r1": {},
    "w1_g1": {"alpha": 1},
    "d1_w1_g1_r1": {"alpha": 1 / 3},
    "dr": {"alpha": 0},
    "dwr": {"alpha": 1 / 3, "scale_groups": False},
    "d": {"proportions": (1, 0, 0)},
    "r": {"proportions": (0, 0, 1)},
    "d1_w2_g2_r0": {"proportions": (1, 2, 0)},
}


class OracleTest(parameterized.TestCase):
    @parameterized.parameters(*_STRATEGIES)
    def test_equals_pycls(self, strategy):
        rows = [
            row
            for row in published.rows("scaled")
            if row["strategy"] == strategy
        ]
        self.assertNotEmpty(rows)
        for row in rows:
            scaled = design_space.scale(
                row["variant"], row["factor"], **_STRATEGIES[strategy]
            )
            stages = plan.stages(scaled.config)
            size = scaled.image_size
            counted = complexity(scaled.config, (size, size, 3))
            self.assertEqual(
                {
                    "depths": tuple(stage.depth for stage in stages),
                    "widths": tuple(stage.width for stage in stages),
                    "group_widths": tuple(s.group_width for s in stages),
                    "image_size": size,
                    "flops": counted.flops,
                    "params": counted.params,
                    "activations": counted.activations,
                },
                {k: row[k] for k in list(row)[3:]},
                row,
            )


class ScaleTest(parameterized.TestCase):
    @parameterized.parameters(*variants.list_variants())
    def test_every_network(self, name):
        """Multiply-adds come near; what does not scale stays."""
        config = variants.get_config(name)
        before = complexity(config).flops
        for factor in (0.3, 2, 6):
            scaled, size = design_space.scale(name, factor)
            after = complexity(scaled, (size, size, 3)).flops
            self.assertBetween(after / before / factor, 0.6, 1.5, factor)
            for field in ("stem_width", "head_width", "block", "norm"):
                self.assertEqual(getattr(scaled, field), getattr(config, field))

    def test_convolutions_without_groups_stay_so(self):
        for block in ("r", "v", "basic"):
            config = AnyNetConfig((1, 2), (24, 56), block=block)
            scaled, _ = design_space.scale(config, 3)
            self.assertEqual(scaled.group_widths, (None, None))
            self.assertEqual(scaled.block, config.block)

    def test_groups_that_stay_leave_those_without_groups(self):
        """Their widths are not multiples of what they were."""
        config = AnyNetConfig((1, 2), (64, 128), block="x")
        scaled, _ = design_space.scale(config, 2, alpha=1, scale_groups=False)
        self.assertEqual(scaled.widths, (88, 184))
        self.assertEqual(scaled.group_widths, (None, None))

    def test_a_regnet_is_scaled_by_its_stages(self):
        config = RegNetConfig(13, 24, 36.44, 2.49, group_width=8)
        self.assertEqual(
            design_space.scale(config, 2, image_size=64),
            design_space.scale(plan.anynet_config(config), 2, image_size=64),
        )

    @parameterized.parameters(
        ({"factor": 0}, "factor"),
        ({"factor": math.nan}, "factor"),
        ({"factor": "2"}, "factor"),
        ({"factor": 2000}, "factor"),
        ({"alpha": 1.5}, "alpha"),
        ({"alpha": 0.8, "proportions": (1, 8, 1)}, "alpha"),
        ({"proportions": (1, 8)}, "proportions"),
        ({"proportions": (1, -1, 1)}, "proportions"),
        ({"image_size": 224.5}, "image_size"),
        ({"config": "RegNetY-4.1GF"}, "variant"),
        ({"config": 4}, "config"),
    )
    def test_refuses(self, changed, name):
        arguments = {"config": "RegNetY-4.0GF", "factor": 2} | changed
        with self.assertRaisesRegex(ValueError, f"`{name}`.*Received: "):
            design_space.scale(**arguments)


if __name__ == "__main__":
    absltest.main()
