"""The example without TensorFlow scales images as the package does."""

import json
import pathlib
import sys
import tempfile
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import images
from keras_regnet.center_crop import CenterCrop
from keras_regnet.model_record import ModelRecord
from tests.support import export_testing

_CLIENT = export_testing.client()


class CenterTest(parameterized.TestCase):
    @parameterized.product(
        shape=[(160, 213), (300, 200), (40, 60), (73, 73), (1000, 33)],
        scaling=[
            ("bilinear", False),
            ("bilinear", True),
            ("bicubic", False),
            ("bicubic", True),
            ("area", False),
        ],
        rounding=["up", "down", "even"],
    )
    def test_scales_and_crops(self, shape, scaling, rounding):
        rng = np.random.default_rng(0)
        image = rng.integers(0, 256, (*shape, 3), np.uint8)
        crop = CenterCrop(0.875, *scaling, rounding)
        for size in ((64, 64), (48, 80)):
            expected = images.center_crop(tf.constant(image), size, crop)
            found = _CLIENT._center(image, size, **vars(crop))
            # TensorFlow has a table of 1024 steps for bicubic weights.
            is_table = scaling == ("bicubic", False)
            np.testing.assert_allclose(
                found, expected, atol=0.3 if is_table else 0.03
            )

    def test_whole_numbers(self):
        image = np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)
        crop = CenterCrop(0.9, "bilinear", True, "even", True)
        found = _CLIENT._center(image, (48, 48), **vars(crop))
        np.testing.assert_array_equal(found, np.rint(found))


class RecordTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.file = pathlib.Path(folder) / "model.tflite"
        self.record = self.file.with_suffix(".record.json")

    def test_of_the_package(self):
        """The way of a file without a record is the package's, too."""
        crop = vars(ModelRecord().crop)
        self.assertEqual(_CLIENT._CROP, crop)
        self.record.write_text(ModelRecord().to_json())
        self.assertEqual(_CLIENT._record(self.file)["crop"], crop)

    def test_refused(self):
        normalized = json.dumps({"normalizes": False})
        for text, message in (
            ("[]", "cannot be used"),
            ("{", "cannot be used"),
            (normalized, "takes normalized pixels"),
        ):
            self.record.write_text(text)
            with self.assertRaisesRegex(ValueError, message):
                _CLIENT._record(self.file)

    def test_a_reader_that_has_had_enough(self):
        """Such as `head`: not an error of each image that follows."""
        with (
            mock.patch.object(_CLIENT, "Classifier"),
            mock.patch.object(
                _CLIENT, "_print_classes", side_effect=BrokenPipeError
            ) as printed,
            mock.patch.object(sys, "argv", ["classify.py", "m", "1", "2"]),
            mock.patch.object(sys, "stdout"),
            mock.patch.object(_CLIENT.os, "dup2") as closed,
        ):
            self.assertEqual(_CLIENT.main(), 0)
        printed.assert_called_once()
        closed.assert_called_once()


if __name__ == "__main__":
    absltest.main()
