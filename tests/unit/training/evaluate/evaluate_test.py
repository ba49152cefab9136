"""Tests of what decides how a classifier is evaluated."""

from absl.testing import absltest

from keras_regnet import open_model
from training.evaluate import evaluate


class SettingsTest(absltest.TestCase):
    def test_a_run_from_before_fields_were_renamed(self):
        stored = {"val_share": 0.25, "eval_crop_share": 0.8, "image_size": 64}
        predictor = open_model.OpenedModel(
            "run", lambda images: images, (None, None), settings=stored
        )
        self.assertEqual(
            evaluate.settings(predictor, {"image_size": None}),
            {
                "val_fraction": 0.25,
                "eval_crop_fraction": 0.8,
                "image_size": 64,
            },
        )


if __name__ == "__main__":
    absltest.main()
