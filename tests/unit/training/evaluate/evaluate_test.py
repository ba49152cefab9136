"""Tests of what decides how a classifier is evaluated."""

import csv
import dataclasses
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import open_model
from keras_regnet import preprocessing
from keras_regnet.center_crop import CenterCrop
from keras_regnet.model_record import ModelRecord
from keras_regnet.weights import records
from training.config import config as train_config
from training.data import dataset
from training.evaluate import evaluate

_CLASSES = ("ant", "bee", "cat", "dog")


def _model(class_names, outputs):
    """Returns a classifier that tells the shades of `_data`, and is right."""

    def predict(pixels):
        shade = np.rint(np.asarray(pixels)[:, 16, 16, 0] / 50).astype(int)
        own = [_CLASSES.index(name) for name in outputs]
        return np.float32(shade[:, None] == np.array(own)[None])

    return open_model.OpenedModel(
        "fake",
        predict,
        (None, None),
        ModelRecord(class_names=class_names),
        classes=len(outputs),
    )


def _data(class_names, shades=None):
    """Returns five images a class, of the shades of the classes' names."""
    shades = [_CLASSES.index(name) for name in shades or class_names]
    labels = np.repeat(np.arange(len(class_names)), 5)
    pixels = np.zeros((len(labels), 32, 32, 3), np.uint8)
    pixels += (np.array(shades)[labels] * 50)[:, None, None, None].astype("u1")
    split = dataset.in_memory(pixels, labels, "shades")
    return dataset.DataSet(split, split, tuple(class_names), small_images=True)


class ClassesTest(parameterized.TestCase):
    def evaluate(self, model, data):
        config = train_config.TrainConfig(
            dataset="arrays:shades", image_size=32, global_batch_size=4
        )
        return evaluate.evaluate(model, data, config)

    @parameterized.parameters(
        (("ant", "cat"), [5, 0, 5]),
        (("cat", "ant", "bee"), [5, 5, 5]),
        (("bee",), [0, 5, 0]),
    )
    def test_by_name(self, names, images):
        known = _CLASSES[:3]
        result = self.evaluate(_model(known, known), _data(names))
        self.assertEqual(result.metrics.top1, 100)
        self.assertLess(result.metrics.loss, 1e-6)
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        evaluate.write_details(folder, result)
        with (folder / "per_class.csv").open() as file:
            rows = list(csv.DictReader(file))
        self.assertEqual([row["class"] for row in rows], list(known))
        self.assertEqual([int(row["images"]) for row in rows], images)
        top1 = ["100" if count else "" for count in images]
        self.assertEqual([row["top1"] for row in rows], top1)

    def test_unknown_names_are_refused(self):
        known = _CLASSES[:3]
        for names, message in (
            (("ant", "cat", "dog"), "Unknown: 'dog'. The model's: 'ant', .*"),
            (("ant", "Cat", "dog"), "'Cat' .did you mean 'cat'.*fake"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                self.evaluate(
                    _model(known, known), _data(names, ("ant", "cat", "dog"))
                )

    def test_without_names_it_goes_by_index_and_says_so(self):
        known = _CLASSES[:3]
        for names, data in (
            (None, _data(known)),
            (known, _data(("0", "1", "2"), known)),
            (("0", "1", "2"), _data(known)),
        ):
            with self.assertLogs("absl", "WARNING") as logs:
                result = self.evaluate(_model(names, known), data)
            self.assertIn("go by index", logs.output[0])
            self.assertEqual(result.metrics.top1, 100)
            self.assertEqual(result.class_names, known)
        with self.assertRaisesRegex(ValueError, "3 classes .* for 2"):
            self.evaluate(_model(None, known), _data(known[:2]))


class SeveralLabelsTest(absltest.TestCase):
    def data(self, names=("dog", "ant")):
        """Returns images of four shades, of which two classes have two each."""
        split = _data(_CLASSES).val
        shade = split.labels
        labels = np.stack([shade >= 2, shade % 2 == 0], 1)
        split = dataset.in_memory(
            np.stack(list(split.sources().as_numpy_iterator())), labels, "some"
        )
        return dataset.DataSet(split, split, names, True, multilabel=True)

    def model(self, names):
        """Returns a classifier that knows "dog", and is wrong about "ant"."""

        def predict(pixels):
            shade = np.rint(np.asarray(pixels)[:, 16, 16, 0] / 50)
            scores = {"dog": 0.2 * shade, "ant": shade % 2}
            return np.float32([scores.get(name, 0 * shade) for name in names]).T

        return open_model.OpenedModel(
            "fake",
            predict,
            (None, None),
            ModelRecord(class_names=names, threshold=0.3),
            classes=len(names),
        )

    def evaluate(self, model, **fields):
        config = train_config.TrainConfig(
            dataset="arrays:some", image_size=32, global_batch_size=8, **fields
        )
        return evaluate.evaluate(model, self.data(), config)

    def test_by_name(self):
        result = self.evaluate(self.model(("ant", "bee", "dog")), threshold=0.4)
        self.assertEqual(result.class_names, ("dog", "ant"))
        metrics = result.metrics
        self.assertEqual(metrics.images, 20)
        np.testing.assert_allclose(metrics.class_ap, [100, 50])
        np.testing.assert_allclose(metrics.class_f1, [100, 0])
        row = result.row
        self.assertEqual((row["map"], row["threshold"]), (75, 0.4))
        self.assertIsNone(row["top1"])
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        evaluate.write_details(folder, result)
        self.assertEqual([p.name for p in folder.iterdir()], ["per_class.csv"])
        with (folder / "per_class.csv").open() as file:
            rows = list(csv.DictReader(file))
        self.assertEqual([row["class"] for row in rows], ["dog", "ant"])
        self.assertEqual([row["ap"] for row in rows], ["100", "50"])
        self.assertEqual([row["images"] for row in rows], ["10", "10"])

    def test_unknown_names_are_refused(self):
        with self.assertRaisesRegex(ValueError, "Unknown: 'dog'"):
            self.evaluate(self.model(("ant", "bee")))

    def test_the_threshold_is_that_of_the_model(self):
        model = self.model(("ant", "dog"))
        self.assertEqual(evaluate.settings(model, {})["threshold"], 0.3)
        given = {"threshold": 0.7}
        self.assertEqual(evaluate.settings(model, given)["threshold"], 0.7)

    def test_a_model_of_the_other_kind_is_said(self):
        with self.assertLogs("absl", "WARNING") as logs:
            evaluate.evaluate(
                self.model(_CLASSES),
                _data(_CLASSES),
                train_config.TrainConfig(image_size=32, global_batch_size=8),
            )
        self.assertIn("each class by itself", logs.output[0])
        model = self.model(("ant", "dog"))
        model = dataclasses.replace(
            model,
            record=ModelRecord(class_names=("ant", "dog"), threshold=None),
        )
        with self.assertLogs("absl", "WARNING") as logs:
            self.evaluate(model)
        self.assertIn("does not say that its classes", logs.output[0])


class CropTest(absltest.TestCase):
    def opened(self, **fields):
        return open_model.OpenedModel("m", None, (None, None), **fields)

    def test_of_a_run(self):
        settings = {
            "image_size": 176,
            "eval_image_size": 224,
            "eval_crop_fraction": 0.9,
            "interpolation": "area",
            "antialias": True,
        }
        found = open_model.record_of_run(settings)
        self.assertEqual(found.image_size, (224, 224))
        self.assertEqual(found.crop, CenterCrop(0.9, "area", True))
        found = open_model.record_of_run(
            {"image_size": 48, "eval_image_size": 0}
        )
        self.assertEqual(found.image_size, (48, 48))
        self.assertEqual(found.crop, CenterCrop())
        found = open_model.record_of_run({"image_size": "96x128"})
        self.assertEqual(found.image_size, (96, 128))
        found = open_model.record_of_run({"eval_crop_share": 0.8})
        self.assertEqual(found.crop.fraction, 0.8)
        # What the model itself knows is of this very model.
        own = ModelRecord(image_size=(64, 96), crop=CenterCrop(0.5))
        self.assertEqual(open_model.record_of_run(settings, own), own)

    def test_images_are_those_that_the_model_would_prepare(self):
        """As validate does it, and as `model.preprocess`: to the bit."""
        weights = records.find("RegNetX-200MF", "pycls_in1k@transformers")
        record = ModelRecord(
            class_names=_CLASSES[:3],
            image_size=(64, 64),
            crop=weights.center_crop,
        )
        rng = np.random.default_rng(0)
        photos = rng.integers(0, 256, (3, 90, 121, 3), np.uint8)
        split = dataset.in_memory(photos, np.arange(3), "photos")
        data = dataset.DataSet(split, split, _CLASSES[:3], small_images=False)
        seen = []

        def predict(images):
            seen.append(images)
            return np.eye(3, dtype="float32")

        opened = self.opened(record=record)
        opened = dataclasses.replace(opened, predict=predict)
        config = train_config.TrainConfig(
            global_batch_size=3, **evaluate.settings(opened, {})
        )
        evaluate.evaluate(opened, data, config)
        expected = preprocessing.prepare(
            photos, record, (None, None, 3), "channels_last"
        )
        np.testing.assert_array_equal(seen[0], expected)
        # It is another way than the trainer's own.
        others = preprocessing.prepare(
            photos,
            dataclasses.replace(record, crop=config.center_crop()),
            (None, None, 3),
            "channels_last",
        )
        self.assertGreater(np.abs(seen[0] - others).max(), 0)

    def test_of_published_weights(self):
        record = records.find("RegNetY-3.2GF", "ra_in1k")
        opened = self.opened(
            record=ModelRecord(
                image_size=(record.test_size,) * 2, crop=record.center_crop
            )
        )
        found = evaluate.settings(opened, {})
        self.assertEqual(found["eval_image_size"], record.test_size)
        self.assertEqual(found["eval_crop_fraction"], record.crop)
        self.assertEqual(found["interpolation"], "bicubic")
        self.assertTrue(found["antialias"])
        self.assertIsNone(self.opened().evaluation_size)
        wide = self.opened(record=ModelRecord(image_size=(64, 96)))
        found = evaluate.settings(wide, {})
        self.assertEqual(found["eval_image_size"], "64x96")


class SettingsTest(absltest.TestCase):
    def test_a_file_of_one_size_is_evaluated_at_it(self):
        predictor = open_model.OpenedModel(
            "m.tflite", lambda images: images, (96, 128), classes=2
        )
        fields = evaluate.settings(predictor, {"image_size": None})
        self.assertEqual(fields["eval_image_size"], "96x128")
        config = train_config.TrainConfig(image_size=96)
        with self.assertRaisesRegex(
            ValueError, "must be 96x128 for this model. Received: image_size=96"
        ):
            evaluate.evaluate(predictor, _data(("ant", "bee")), config)

    def test_a_run_from_before_fields_were_renamed(self):
        stored = {"val_share": 0.25, "eval_crop_share": 0.8, "image_size": 64}
        predictor = open_model.OpenedModel(
            "run",
            lambda images: images,
            (None, None),
            open_model.record_of_run(stored),
            settings=stored,
        )
        self.assertEqual(
            evaluate.settings(predictor, {"image_size": None}),
            {
                "val_fraction": 0.25,
                "eval_crop_fraction": 0.8,
                "interpolation": "bilinear",
                "antialias": False,
                "eval_image_size": 64,
            },
        )


if __name__ == "__main__":
    absltest.main()
