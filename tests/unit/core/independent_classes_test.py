"""Models whose classes do not exclude each other know so."""

import dataclasses

import keras
import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from keras_regnet import ModelRecord
from keras_regnet.export import verification

_VARIANT = "RegNetX-200MF"


class ThresholdTest(parameterized.TestCase):
    @parameterized.parameters(("sigmoid", 0.5), ("softmax", None), (None, None))
    def test_of_a_new_head(self, activation, threshold):
        model = keras_regnet.build(_VARIANT, input_shape=(32, 32, 3))
        self.assertIsNone(model.record.threshold)
        found = keras_regnet.replace_head(model, 2, activation)
        self.assertEqual(found.record.threshold, threshold)
        # The old one's is kept where it means the same.
        found.set_record(dataclasses.replace(found.record, threshold=0.3))
        kept = keras_regnet.replace_head(found, 2, "sigmoid")
        self.assertEqual(kept.record.threshold, 0.3)
        gone = keras_regnet.replace_head(found, 2)
        self.assertIsNone(gone.record.threshold)

    def test_of_a_builder(self):
        model = keras_regnet.build(
            _VARIANT,
            input_shape=(32, 32, 3),
            classes=3,
            classifier_activation=keras.activations.sigmoid,
        )
        self.assertEqual(model.record.threshold, 0.5)

    def test_json(self):
        record = ModelRecord(threshold=0.0)
        self.assertEqual(ModelRecord.from_json(record.to_json()), record)
        self.assertIsNone(ModelRecord.from_json("{}").threshold)
        with self.assertRaisesRegex(ValueError, "within 0 and 1.*threshold=7"):
            ModelRecord.from_json('{"threshold": 7}')


class DistanceTest(parameterized.TestCase):
    @parameterized.parameters(
        # Of three labels that an image has, one is lost; one too many is there.
        ([1, 1, 1, 0], [1, 1, 0, 0], 0.25),
        ([0, 0, 0, 0], [1, 0, 0, 0], 0.5),
        ([1, 1, 1, 1], [0, 0, 0, 0], 2.0),
        # A little of each of many classes is a little.
        ([0.9] * 100, [0.91] * 100, 1 / 180),
    )
    def test_relative_to_the_labels(self, expected, outputs, distance):
        found = verification._total_variation(
            np.float64([expected]), np.float64([outputs])
        )
        self.assertAlmostEqual(found, distance)


if __name__ == "__main__":
    absltest.main()
