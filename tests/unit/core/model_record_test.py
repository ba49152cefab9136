"""What a model knows of itself, through all that copies it."""

import dataclasses
import json
import pathlib
import tempfile
import unittest.mock

import keras
import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from keras_regnet import imagenet
from keras_regnet import ModelRecord
from keras_regnet.center_crop import CenterCrop
from keras_regnet.export import inference_model
from keras_regnet.weights import fetch
from keras_regnet.weights import records

_VARIANT = "RegNetX-200MF"
_SHAPE = (32, 32, 3)
_TIMM = records.find(_VARIANT, "pycls_in1k@timm")


class JsonTest(parameterized.TestCase):
    def test_round_trip(self):
        for record in (
            ModelRecord(),
            ModelRecord(
                weights=_TIMM,
                class_names=("ant", "b\u00efne"),
                image_size=(64, 96),
                crop=_TIMM.center_crop,
                mean=(1.0, 2.0, 3.0),
                std=(4.0, 5.0, 6.0),
                normalizes=False,
            ),
        ):
            for indent in (None, 2):
                text = record.to_json(indent)
                self.assertEqual(ModelRecord.from_json(text), record)

    def test_names_cannot_change_later(self):
        names = ["ant", "bee"]
        record = ModelRecord(class_names=names)
        names.append("cat")
        self.assertEqual(record.class_names, ("ant", "bee"))

    def test_of_a_version_with_other_fields(self):
        """More fields are left out; the table has those that are missing."""
        values = json.loads(ModelRecord(weights=_TIMM).to_json())
        values["later"] = 1
        values["weights"]["later"] = 1
        del values["weights"]["top5"]
        found = ModelRecord.from_json(json.dumps(values))
        self.assertEqual(found.weights, _TIMM)
        # Nobody knows these.
        values["weights"]["tag"] = "of_2030"
        with self.assertWarnsRegex(UserWarning, "'of_2030', which this one"):
            found = ModelRecord.from_json(json.dumps(values))
        self.assertIsNone(found.weights)

    @parameterized.parameters(
        ("[]", "not an object"),
        ("{", "not JSON"),
        ('{"class_names": [1]}', "a list of texts"),
        ('{"image_size": [32]}', "`image_size` must be"),
        ('{"crop": {"fraction": 0}}', "`fraction` must be"),
        ('{"crop": {"fraction": 1, "rounding": "ven"}}', "Did you mean 'even'"),
        ('{"class_names": "ab"}', "a list of texts"),
        ('{"mean": []}', "`mean` must be numbers"),
        ('{"std": [1, 2, "3"]}', "`std` must be numbers"),
        ({"mean": []}, "Received"),
        ('{"weights": 3}', "has no attribute"),
    )
    def test_damaged(self, text, message):
        with self.assertRaisesRegex(
            ValueError, f"(?s)The record of a model.*{message}"
        ):
            ModelRecord.from_json(text)


def _small(**options):
    return keras_regnet.build(
        keras_regnet.RegNetConfig(2, 8, 8, 2.0, 4, stem_width=8),
        input_shape=_SHAPE,
        classes=2,
        **options,
    )


class ModelsTest(parameterized.TestCase):
    """Models from one file in timm's names, of a published network."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(
            cls.enterClassContext(tempfile.TemporaryDirectory())
        )
        cls.file = cls.folder / "x200.safetensors"
        model = keras_regnet.RegNetX("200MF", input_shape=_SHAPE)
        keras_regnet.weights.export(model, cls.file, "timm")
        with unittest.mock.patch.object(fetch, "fetch", return_value=cls.file):
            cls.model = keras_regnet.RegNetX(
                "200MF", "pycls_in1k@timm", input_shape=_SHAPE
            )
        cls.saved = cls.folder / "model.keras"
        cls.model.save(cls.saved)

    def test_random_weights_know_nothing(self):
        model = keras_regnet.build(_VARIANT, input_shape=_SHAPE)
        self.assertEqual(model.record, ModelRecord())
        self.assertIsNone(model.class_names)

    def test_published_weights(self):
        self.assertEqual(
            self.model.record,
            ModelRecord(
                weights=_TIMM,
                class_names=imagenet.classes(1000).names,
                image_size=(224, 224),
                crop=CenterCrop(224 / 256, "bicubic", True, "even", True),
            ),
        )

    def test_a_file_of_unknown_hash(self):
        """It can be evaluated as those it looks like, and is none of them."""
        model = keras_regnet.build(_VARIANT, self.file, input_shape=_SHAPE)
        expected = dataclasses.replace(self.model.record, weights=None)
        self.assertEqual(model.record, expected)

    def test_names_beside_a_file(self):
        names = tuple(f"class {number}" for number in range(1000))
        labels = self.folder / "x200.labels.txt"
        labels.write_text("".join(f"{name}\n" for name in names))
        self.addCleanup(labels.unlink)
        model = keras_regnet.build(_VARIANT, self.file, input_shape=_SHAPE)
        self.assertEqual(model.class_names, names)

    def test_saved_and_loaded(self):
        loaded = keras.saving.load_model(self.saved)
        self.assertEqual(loaded.record, self.model.record)
        as_weights = keras_regnet.build(
            _VARIANT, self.saved, input_shape=_SHAPE
        )
        self.assertEqual(as_weights.record, self.model.record)

    def test_without_its_classifier(self):
        expected = dataclasses.replace(self.model.record, class_names=None)
        backbone = keras_regnet.build(
            _VARIANT, self.saved, include_top=False, pooling="avg"
        )
        self.assertEqual(backbone.record, expected)
        headed = keras_regnet.replace_head(backbone, 2)
        self.assertEqual(headed.record, expected)
        with self.assertWarnsRegex(UserWarning, "starts at random"):
            other = keras_regnet.build(
                _VARIANT, self.saved, input_shape=_SHAPE, classes=2
            )
        self.assertEqual(other.record, expected)

    def test_replaced_head(self):
        names = ["ant", "bee"]
        replaced = keras_regnet.replace_head(self.model, 2, class_names=names)
        expected = dataclasses.replace(
            self.model.record, class_names=("ant", "bee")
        )
        self.assertEqual(replaced.record, expected)
        with self.assertRaisesRegex(ValueError, "2 names for 3 outputs"):
            keras_regnet.replace_head(self.model, 3, class_names=names)

    def test_copies(self):
        folded = inference_model.fold_batch_norm(self.model)
        self.assertEqual(folded.record, self.model.record)
        copy = keras_regnet.RegNetModel.from_config(self.model.get_config())
        self.assertEqual(copy.record, self.model.record)
        prefixed = keras_regnet.prefix_layer_names(copy, "left_")
        self.assertEqual(prefixed.record, self.model.record)

    @parameterized.parameters(True, False)
    def test_a_clone_of_the_graph_knows_whether_it_normalizes(self, normalizes):
        model = _small(include_preprocessing=normalizes)
        image = np.full(_SHAPE, 99, "uint8")
        np.testing.assert_allclose(
            keras.models.clone_model(model).preprocess(image),
            model.preprocess(image),
        )

    @parameterized.parameters(True, False)
    def test_a_model_of_before_there_were_records(self, normalizes):
        model = _small(include_preprocessing=normalizes)
        config = model.get_config()
        del config["record"]
        old = keras_regnet.RegNetModel.from_config(config)
        self.assertEqual(old.record, ModelRecord(normalizes=normalizes))

    def test_normalization_outside_of_the_model_is_kept(self):
        """Also by a file that holds no layer which says it."""
        network = keras_regnet.RegNetConfig(2, 8, 8, 2.0, 4, stem_width=8)
        resolved = dataclasses.replace(
            keras_regnet.weights.resolve(None, network),
            mean=(1.0, 2.0, 3.0),
            std=(4.0, 5.0, 6.0),
        )
        model = keras_regnet.build(
            network, resolved, classes=2, include_preprocessing=False
        )
        path = self.folder / "plain.keras"
        model.save(path)
        again = keras_regnet.build(network, path, classes=2)
        self.assertEqual(again.record.mean, (1.0, 2.0, 3.0))
        np.testing.assert_allclose(
            np.ravel(again.get_layer("normalise").mean), [1, 2, 3]
        )

    def test_a_model_of_gray_images(self):
        network = keras_regnet.RegNetConfig(2, 8, 8, 2.0, 4, stem_width=8)
        shape = {"input_shape": (32, 32, 1), "classes": 2}
        model = keras_regnet.build(network, **shape)
        path = self.folder / "gray.keras"
        model.save(path)
        again = keras_regnet.build(network, path, **shape)
        self.assertLen(again.record.mean, 1)
        self.assertEqual(keras.saving.load_model(path).record, model.record)

    def test_names_must_be_one_for_each_output(self):
        model = keras_regnet.build(
            keras_regnet.RegNetConfig(2, 8, 8, 2.0, 4, stem_width=8), classes=3
        )
        with self.assertRaisesRegex(ValueError, "2 names for 3 outputs"):
            model.set_record(ModelRecord(class_names=("ant", "bee")))


if __name__ == "__main__":
    absltest.main()
