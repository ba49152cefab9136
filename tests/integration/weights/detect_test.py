"""A large network is detected from the names and shapes of a file."""

from absl.testing import absltest

import keras_regnet
from keras_regnet.weights import detect
from keras_regnet.weights import save
from keras_regnet.weights.readers.tensors import Tensors


class DetectTest(absltest.TestCase):
    def test_pre_activated_network(self):
        model = keras_regnet.RegNetV("4GF", input_shape=(32, 32, 3), classes=7)
        state = save.state_dict(model, "timm")
        shapes = {name: array.shape for name, array in state.items()}
        found = detect.detect(Tensors(shapes, None))
        self.assertEqual(found.variant(), "RegNetV-4.0GF")
        self.assertEqual(found.classes, 7)
        self.assertEqual(
            found.describe(), "RegNetV-4.0GF in the names of 'timm'"
        )


if __name__ == "__main__":
    absltest.main()
