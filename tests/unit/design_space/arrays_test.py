import itertools
from fractions import Fraction

import hypothesis
import numpy as np
from absl.testing import absltest
from absl.testing import parameterized
from hypothesis import strategies

from keras_regnet import plan
from keras_regnet import variants
from keras_regnet import widths as widths_lib
from keras_regnet.complexity import complexity
from keras_regnet.config import AnyNetConfig
from keras_regnet.design_space import arrays
from tests.support import published


@strategies.composite
def configs(draw):
    """Networks of every block, stem and number of stages."""
    block = draw(
        strategies.sampled_from(["x", "y", "z", "r", "v", "vr", "pre", "basic"])
    )
    stages = draw(strategies.integers(1, 5))

    def per_stage(values):
        return draw(strategies.lists(values, min_size=stages, max_size=stages))

    grouped = block in ("x", "y", "z", "pre")
    ratios = [1 / 8, 0.25, 0.5, 1, 2, 4] if grouped or block == "r" else [1]
    return AnyNetConfig(
        depths=per_stage(strategies.integers(1, 16)),
        widths=[32 * width for width in per_stage(strategies.integers(1, 40))],
        strides=per_stage(strategies.integers(1, 3)),
        bottleneck_ratios=per_stage(strategies.sampled_from(ratios)),
        group_widths=per_stage(
            strategies.sampled_from([1, 2, 4, 8] if grouped else [None])
        ),
        block=block,
        stem=draw(
            strategies.sampled_from(
                ["simple", "cifar", "resnet", "tiered", "deep"]
            )
        ),
        stem_width=draw(strategies.integers(1, 70)),
        head_width=draw(strategies.sampled_from([0, 640])),
        norm=draw(strategies.sampled_from(["batch", "group", "evonorm_s0a"])),
        se_from=draw(strategies.sampled_from(["input", "inner"])),
        projection=draw(
            strategies.sampled_from(
                ["conv"] if block in ("v", "z") else ["conv", "pool"]
            )
        ),
        se_ratio=draw(strategies.sampled_from([0, 0.25, 0.1]))
        if grouped
        else 0,
    )


def _networks(all_configs):
    """The stages that `plan` derives, as arrays."""
    names = ("depth", "width", "inner_width", "group_width")
    columns = {
        name: np.array(
            [
                [getattr(stage, name) for stage in plan.stages(config)]
                for config in all_configs
            ]
        ).T
        for name in names
    }
    return arrays.Networks(*columns.values())


class ComplexityTest(parameterized.TestCase):
    @hypothesis.given(
        config=configs(),
        size=strategies.tuples(
            strategies.integers(1, 300), strategies.integers(1, 300)
        ),
        channels=strategies.integers(1, 4),
        classes=strategies.integers(1, 2000),
    )
    def test_equals_the_count_of_one_network(
        self, config, size, channels, classes
    ):
        counted = arrays.complexity(
            _networks([config, config]),
            config,
            config.strides,
            size,
            channels,
            classes,
        )
        expected = complexity(config, (*size, channels), classes=classes)
        for array, name in zip(
            counted, ("flops", "params", "activations"), strict=True
        ):
            self.assertEqual(array.tolist(), [getattr(expected, name)] * 2)

    @parameterized.parameters("RegNetX", "RegNetY")
    def test_published_together(self, family):
        names = variants.list_variants(family)
        tables = {row["variant"]: row for row in published.rows("published")}
        names = [name for name in names if name in tables]
        self.assertLen(names, 12)
        configs = [variants.get_config(name) for name in names]
        counted = arrays.complexity(
            _networks(configs), configs[0], (2, 2, 2, 2), (224, 224)
        )
        for column, key in zip(
            counted, ("flops", "params", "activations"), strict=True
        ):
            self.assertEqual(
                column.tolist(), [tables[name][key] for name in names]
            )

    def test_one_resolution_for_each(self):
        config = variants.get_config("RegNetX-200MF")
        sides = np.array([32, 33, 224])
        counted = arrays.complexity(
            _networks([config] * 3), config, (2, 2, 2, 2), (sides, sides)
        )
        flops = [complexity(config, (s, s, 3)).flops for s in sides.tolist()]
        self.assertEqual(counted[0].tolist(), flops)


class CompatibleTest(parameterized.TestCase):
    @parameterized.parameters(1 / 8, 0.25, 1 / 3, 0.4, 0.5, 1, 1.5, 2, 2.5, 4)
    def test_equals_plan(self, ratio):
        pairs = itertools.product(range(1, 90), (1, 2, 3, 6, 8, 16, 24, 120))
        widths, groups = np.array(list(pairs)).T[:, None]
        ratios = widths_lib.as_fractions(np.full((1, 1), ratio))
        built = arrays.Networks.fitted(widths, widths, ratios, groups)
        expected = [
            widths_lib.compatible_width(width, ratio, group)
            for width, group in zip(
                *map(np.ravel, (widths, groups)), strict=True
            )
        ]
        found = np.vstack([built.widths, built.group_widths]).T
        self.assertEqual([*map(tuple, found.tolist())], expected)
        self.assertTrue((built.inner_widths % built.group_widths == 0).all())


class QuantizedLinearTest(parameterized.TestCase):
    def test_published(self):
        rows = [
            row
            for row in published.rows("published")
            if row["variant"].startswith(("RegNetX", "RegNetY"))
            and row["widths"]
        ]
        configs = [variants.get_config(row["variant"]) for row in rows]
        self.assertLen(rows, 24)
        line = np.array([(c.depth, c.w_0, c.w_a, c.w_m) for c in configs]).T
        kept, depths, widths = arrays.quantized_linear(
            line[0].astype(int), *line[1:], stages=4
        )
        self.assertEqual(kept.tolist(), list(range(24)))
        groups = np.array([[c.group_width for c in configs]])
        built = arrays.Networks.fitted(depths, widths, Fraction(1), groups)
        for key, built_values in (
            ("depths", built.depths),
            ("widths", built.widths),
            ("group_widths", built.group_widths),
        ):
            self.assertEqual(
                [*map(tuple, built_values.T.tolist())],
                [row[key] for row in rows],
            )

    @parameterized.parameters(1, 3, 4, 5)
    def test_keeps_those_with_as_many_stages(self, stages):
        rng = np.random.default_rng(stages)
        depth = rng.integers(1, 40, 800)
        w_0, w_a = 8 * rng.integers(1, 30, 800), rng.uniform(0, 90, 800)
        w_m = rng.uniform(1.5, 3, 800)
        kept, depths, widths = arrays.quantized_linear(
            depth, w_0, w_a, w_m, stages
        )
        found = {
            index: (depths[:, place], widths[:, place])
            for place, index in enumerate(kept.tolist())
        }
        self.assertNotEmpty(found)
        for index in range(800):
            line = [x[index].item() for x in (depth, w_0, w_a, w_m)]
            blocks = widths_lib.block_widths(*line)
            levels = sorted(set(blocks))
            if index in found:
                self.assertEqual(found[index][1].tolist(), levels)
                counts = [blocks.count(level) for level in levels]
                self.assertEqual(found[index][0].tolist(), counts)
            elif len(levels) == stages:
                # A level without a block, or two rounded to one width.
                top = line[1] * line[3] ** (stages - 0.5)
                self.assertGreater(line[1] + line[2] * (line[0] - 1), top)


if __name__ == "__main__":
    absltest.main()
