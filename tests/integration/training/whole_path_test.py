"""One photograph from published names to a client without TensorFlow.

A file in timm's names becomes a model, is trained for a step, saved and
loaded; and it becomes a run of the trainer, whose exports are classified by
the example. At every stop it is the same class, with the same probability.
"""

import dataclasses
import json
import pathlib
import tempfile

import keras
import numpy as np
from absl.testing import absltest
from PIL import Image

import keras_regnet
from keras_regnet import imagenet
from keras_regnet import open_model
from keras_regnet.center_crop import CenterCrop
from keras_regnet.export import litert
from keras_regnet.weights import records
from tests.support import export_testing
from tests.support import oracle_weights
from tests.support import training_testing
from training.config import config as train_config
from training.config import recipes
from training.data import load
from training.evaluate import evaluate
from training.evaluate import predictors
from training.trainer import train

_NAMES = ("cat", "dog")
_SIDE = 64
_SHAPE = (_SIDE, _SIDE, 3)
_TOLERANCE = 1e-3
# Other than the paper's in all that can be.
_CROP = {
    "eval_crop_fraction": 0.75,
    "interpolation": "bicubic",
    "antialias": True,
}


def _write_weights(path):
    """Writes a file whose classifier tells our photographs apart."""
    model = keras_regnet.RegNetX(
        "200MF", input_shape=_SHAPE, classifier_activation=None
    )
    oracle_weights.fill(model)
    kernel = model.get_layer("head_fc").kernel
    images = oracle_weights.photos(_SIDE)
    logits = np.asarray(model(images, training=False))
    kernel.assign(3 * kernel / logits.std())
    keras_regnet.weights.export(model, path, "timm")


class WholePathTest(absltest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(
            cls.enterClassContext(tempfile.TemporaryDirectory())
        )
        cls.weights = cls.folder / "regnetx_002.safetensors"
        _write_weights(cls.weights)
        training_testing.write_folder(cls.folder / "photos", 4, _NAMES)
        cls.photo = cls.folder / "photo.jpg"
        cls.photo.write_bytes(training_testing.jpeg((150, 203), seed=99))

    def test_in_a_notebook(self):
        model = keras_regnet.RegNetX("200MF", self.weights, input_shape=_SHAPE)
        published = records.find("RegNetX-200MF", "pycls_in1k@timm")
        self.assertEqual(model.record.crop, published.center_crop)
        self.assertEqual(model.class_names, imagenet.classes(1000).names)
        images = model.preprocess([self.photo, Image.open(self.photo)])
        labels = np.array([207, 207])
        model.compile(
            keras.optimizers.SGD(1e-4), "sparse_categorical_crossentropy"
        )
        model.fit(images, labels, batch_size=2, verbose=0)
        (expected, _) = model.predict(images, verbose=0)
        path = self.folder / "model.keras"
        model.save(path)
        loaded = keras.saving.load_model(path)
        outputs = loaded.predict(loaded.preprocess(self.photo), verbose=0)
        ((first, *_),) = keras_regnet.decode_predictions(
            outputs, class_names=loaded.class_names
        )
        index = int(expected.argmax())
        self.assertEqual(
            (first.class_id, first.name),
            (imagenet.classes(1000).ids[index], model.class_names[index]),
        )
        self.assertAlmostEqual(
            first.probability, float(expected[index]), delta=_TOLERANCE
        )

    def test_from_a_run_to_the_client(self):
        run = self.folder / "run"
        config = dataclasses.replace(
            recipes.get("finetune"),
            variant="RegNetX-200MF",
            weights=str(self.weights),
            dataset=f"folder:{self.folder / 'photos'}",
            workdir=str(run),
            strategy="one_device",
            image_size=_SIDE,
            epochs=1,
            warmup_epochs=0.0,
            head_epochs=0.0,
            global_batch_size=4,
            **_CROP,
        )
        train.train_and_evaluate(config)
        model = keras.saving.load_model(run / "model.keras")
        self.assertEqual(model.class_names, _NAMES)
        self.assertEqual(model.record.image_size, (_SIDE, _SIDE))
        self.assertEqual(model.record.crop, CenterCrop(*_CROP.values()))
        images = model.preprocess(self.photo)
        (expected,) = model.predict(images, verbose=0)
        file = self.folder / "model.tflite"
        litert.save(model, file, image_size=_SIDE, input="float")
        record = json.loads(file.with_suffix(".record.json").read_text())
        self.assertEqual(record["crop"]["interpolation"], "bicubic")
        for stored in (run, run / "saved_model", file):
            opened = open_model.open_model(stored)
            self.assertEqual(opened.class_names, _NAMES)
            self.assertEqual(opened.crop, model.record.crop)
            np.testing.assert_allclose(
                opened(images)[0], expected, atol=_TOLERANCE
            )
        self.assertGreater(expected.max() - expected.min(), 10 * _TOLERANCE)
        client = export_testing.client().Classifier(file)
        outputs, _ = client.probabilities(client.pixels(self.photo))
        np.testing.assert_allclose(outputs, expected, atol=_TOLERANCE)
        self.assertEqual(client.name(1), "dog")
        self.validate(run, file)

    def validate(self, run, file):
        """A file is evaluated on the images that its run is evaluated on."""
        losses = []
        for stored in (run, file):
            predictor = predictors.load(str(stored))
            given = {"dataset": f"folder:{self.folder / 'photos'}"}
            fields = evaluate.settings(predictor, given)
            self.assertEqual({name: fields[name] for name in _CROP}, _CROP)
            evaluated = train_config.TrainConfig(global_batch_size=4, **fields)
            result = evaluate.evaluate(
                predictor, load.load_dataset(evaluated), evaluated
            )
            losses.append(result.metrics.loss)
        self.assertAlmostEqual(*losses, delta=_TOLERANCE)


if __name__ == "__main__":
    absltest.main()
