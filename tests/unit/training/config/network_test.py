"""Tests of the network of a run and of what it starts from."""

import os
import tempfile

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from tests.support import training_testing
from training.config import network as network_lib

_TINY = training_testing.TINY


class WeightsWithoutClassifierTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.config = training_testing.tiny_config(folder)
        self.path = os.path.join(folder, "body")
        self.body = keras_regnet.RegNet(
            _TINY, include_top=False, input_shape=(32, 32, 3)
        )

    def save(self, suffix):
        path = self.path + suffix
        if suffix == ".safetensors":
            keras_regnet.weights.export(self.body, path, family="pycls")
        elif suffix == ".keras":
            self.body.save(path)
        else:
            self.body.save_weights(path)
        return path

    @parameterized.parameters(".keras", ".weights.h5", ".safetensors")
    def test_the_classifier_stays_fresh(self, suffix):
        path = self.save(suffix)
        with self.assertLogs("absl", "WARNING") as logs:
            resolved = network_lib.resolve(path, _TINY, "abc")
        self.assertIn("has no classifier", "".join(logs.output))
        model = network_lib.build(self.config, resolved.config, 3, resolved)
        self.assertEqual(model.output_shape, (None, 3))
        *ours, kernel, bias = model.weights
        for one, other in zip(ours, self.body.weights, strict=True):
            np.testing.assert_array_equal(one, other, one.path)
        self.assertEqual((kernel.shape, bias.shape), ((16, 3), (3,)))
        self.assertGreater(np.abs(kernel).max(), 0)

    def test_without_classes_there_is_nothing_to_start(self):
        with self.assertRaisesRegex(ValueError, "has no classifier"):
            network_lib.resolve(self.save(".keras"), _TINY)


if __name__ == "__main__":
    absltest.main()
