import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import design_space
from keras_regnet import plan
from keras_regnet import variants
from keras_regnet.config import AnyNetConfig
from keras_regnet.design_space import fit
from tests.support import published

_PUBLISHED = [
    row
    for row in published.rows("published")
    if row["variant"].startswith(("RegNetX", "RegNetY")) and row["widths"]
]


def _e_fit(config, w_0, w_a, w_m):
    """Equations 2 to 4 one block at a time, against the blocks built."""
    observed = [
        width
        for width, depth in zip(config.widths, config.depths, strict=True)
        for _ in range(depth)
    ]
    total = 0.0
    for j, width in enumerate(observed):
        exponent = round(np.log((w_0 + w_a * j) / w_0) / np.log(w_m))
        total += abs(np.log(w_0 * w_m**exponent / width))
    return total / len(observed)


class FitTest(parameterized.TestCase):
    @parameterized.parameters(*_PUBLISHED)
    def test_recovers_published_generator(self, variant, **row):
        """From the stages of the published table alone."""
        generator = variants.get_config(variant)
        built = AnyNetConfig(
            row["depths"],
            row["widths"],
            group_widths=row["group_widths"],
            se_ratio=generator.se_ratio,
        )
        found = fit.fit_regnet(built)
        self.assertTrue(found.exact)
        self.assertEqual(plan.stages(found.config), plan.stages(generator))
        self.assertEqual(found.config.group_width, generator.group_width)
        # Other parameters build the same stages: near is all one can be.
        self.assertAlmostEqual(found.config.w_m / generator.w_m, 1, delta=0.08)
        self.assertAlmostEqual(found.config.w_a / generator.w_a, 1, delta=0.06)
        self.assertAlmostEqual(
            found.config.w_0, generator.w_0, delta=0.25 * generator.w_0
        )
        line = (generator.w_0, generator.w_a, generator.w_m)
        self.assertLessEqual(found.error, _e_fit(built, *line) + 1e-9)

    def test_recovers_samples(self):
        space = design_space.space("RegNetX")
        sample = space.sample(np.random.default_rng(0), n=5, flops=(2e8, 2e9))
        for config in sample:
            found = fit.fit_regnet(plan.anynet_config(config))
            self.assertEqual(plan.stages(found.config), plan.stages(config))

    @parameterized.parameters(
        # Paper, figure 8 top right.
        ((2, 4, 5, 5), (64, 128, 272, 704), 4, 2, (80, 30, 1.9)),
        ((1, 1, 3, 5), (32, 144, 256, 448), 16, 1, (48, 61, 2.2)),
    )
    def test_figure_8(self, depths, widths, group_width, ratio, line):
        config = AnyNetConfig(depths, widths, 2, ratio, group_width)
        found = fit.fit_regnet(config)
        self.assertFalse(found.exact)
        own = (found.config.w_0, found.config.w_a, found.config.w_m)
        self.assertAlmostEqual(found.error, _e_fit(config, *own), places=9)
        self.assertLessEqual(found.error, _e_fit(config, *line) + 1e-3)
        # The best of the paper's networks have an e_fit of 0.05 to 0.3.
        self.assertBetween(found.error, 0.05, 0.3)

    def test_falling_widths_fit_badly(self):
        config = AnyNetConfig((4, 3, 2, 1), (512, 256, 128, 64))
        found = fit.fit_regnet(config)
        self.assertGreater(found.error, 0.3)
        self.assertFalse(found.exact)

    def test_template_is_kept(self):
        generator = variants.get_config("RegNetZ-500MF")
        found = fit.fit_regnet(generator)
        self.assertEqual(plan.stages(found.config), plan.stages(generator))
        for name in ("block", "se_ratio", "activation", "head_width"):
            self.assertEqual(
                getattr(found.config, name), getattr(generator, name)
            )

    def test_e_fit(self):
        predicted = np.array([[8, 16], [16, 32]])
        np.testing.assert_allclose(
            design_space.e_fit(predicted, np.array([8, 32])),
            [np.log(2) / 2, np.log(2) / 2],
        )


class PopulationTest(absltest.TestCase):
    def test_worked_example(self):
        configs, errors = design_space.imagenet_population()
        self.assertLen(configs, 32)
        self.assertLen(errors, 32)
        self.assertNotEmpty([c for c in configs if c.w_0 % 8])
        stages = {len(plan.stages(config)) for config in configs}
        self.assertEqual(stages, {3, 4, 5})
        # Top-1 58.93 % is the least in the file, 65.02 % the most.
        self.assertAlmostEqual(errors.max(), 41.068, places=3)
        self.assertAlmostEqual(errors.min(), 34.984, places=3)


if __name__ == "__main__":
    absltest.main()
