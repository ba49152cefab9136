"""Exports are TensorFlow's."""

from unittest import mock

import keras
from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import export


class BackendTest(parameterized.TestCase):
    @parameterized.parameters("litert", "onnx", "saved_model")
    def test_another_is_refused(self, form):
        with (
            mock.patch.object(keras.backend, "backend", return_value="jax"),
            self.assertRaisesRegex(ValueError, "Received: KERAS_BACKEND=jax"),
        ):
            getattr(export, form).save(None, "model")


if __name__ == "__main__":
    absltest.main()
