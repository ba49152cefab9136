"""Published networks are counted alike from model and configuration."""

from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from keras_regnet import variants
from keras_regnet.complexity import complexity


class ComplexityTest(parameterized.TestCase):
    @parameterized.parameters(
        # One of each structure; the unit test takes random numbers.
        "RegNetX-200MF",
        "RegNetX-8.0GF",
        "RegNetY-200MF",
        "RegNetZ-500MF",
        "RegNetZ-B16",
        "RegNetZ-D8",
        "RegNetV-4.0GF",
        "RegNetV-6.4GF",
        "ResNeXt-50",
    )
    def test_model_agrees_with_config(self, variant):
        config = variants.get_config(variant)
        model = keras_regnet.build(config)
        self.assertEqual(complexity(model), complexity(config))
        shape = (65, 97, 3)
        self.assertEqual(complexity(model, shape), complexity(config, shape))


if __name__ == "__main__":
    absltest.main()
