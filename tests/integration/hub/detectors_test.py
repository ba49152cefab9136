"""Detectors and segmentation networks of KerasHub on our backbone."""

import os
import tempfile

import keras_hub
import numpy as np
import pytest
from absl.testing import absltest

import keras_regnet
from keras_regnet import hub

_CONFIG = keras_regnet.AnyNetConfig(
    (1, 1, 1, 1), (8, 16, 24, 32), group_widths=8
)

# KerasHub calls a model of a list of inputs with the one input.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The structure of `inputs` doesn't match"
)


def _images():
    rng = np.random.default_rng(0)
    return rng.uniform(0, 255, (2, 64, 64, 3)).astype("float32")


class DetectorsTest(absltest.TestCase):
    def preset(self, model):
        """Returns a model that was saved and loaded."""
        folder = self.enterContext(tempfile.TemporaryDirectory())
        folder = os.path.join(folder, "preset")
        model.save_to_preset(folder)
        return type(model).from_preset(folder)

    def test_feature_pyramid_of_retinanet(self):
        model = keras_hub.models.RetinaNetBackbone(
            image_encoder=hub.RegNetBackbone(_CONFIG),
            min_level=3,
            max_level=7,
            use_p5=True,
        )
        features = model(_images())
        self.assertEqual(
            {level: tuple(x.shape[1:3]) for level, x in features.items()},
            {f"P{level}": (2 ** (6 - level),) * 2 for level in (3, 4, 5, 6)}
            | {"P7": (1, 1)},
        )
        again = self.preset(model)
        self.assertIsInstance(again.image_encoder, hub.RegNetBackbone)
        for level, tensor in again(_images()).items():
            np.testing.assert_array_equal(tensor, features[level])

    def test_deeplab(self):
        model = keras_hub.models.DeepLabV3Backbone(
            image_encoder=hub.RegNetBackbone(_CONFIG),
            spatial_pyramid_pooling_key="P5",
            low_level_feature_key="P2",
            upsampling_size=8,
            dilation_rates=[2, 4],
            image_shape=(64, 64, 3),
        )
        features = model(_images())
        self.assertEqual(features.shape, (2, 64, 64, 256))
        np.testing.assert_array_equal(self.preset(model)(_images()), features)


if __name__ == "__main__":
    absltest.main()
