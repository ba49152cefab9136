"""The classifier: KerasHub's own tests, presets, fine-tuning."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import keras
import keras_hub
import numpy as np
import pytest
from absl.testing import absltest
from absl.testing import parameterized
from keras_hub.src.tests import test_case

import keras_regnet
from keras_regnet import hub
from keras_regnet.center_crop import CenterCrop
from keras_regnet.model_record import ModelRecord
from tests.support import paths

_CONFIG = keras_regnet.AnyNetConfig((1, 1), (8, 16), group_widths=8)
# Where Grain is installed, KerasHub hands it the arrays.
_ORDERED = pytest.mark.filterwarnings(
    "ignore:`shuffle=True` was passed, but will be ignored"
)
_NAMES = ("daisy", "rose", "tulip")


def _images(count=4, size=40):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, size, size, 3)).astype("uint8")


def _model(**options):
    options = {"classes": 3, "input_shape": (32, 32, 3), **options}
    return keras_regnet.build(_CONFIG, **options)


def _classifier(**options):
    return hub.RegNetImageClassifier.from_regnet(
        _model(), class_names=_NAMES, **options
    )


def _logits(outputs):
    """Returns the logits of probabilities, up to a number for each image."""
    logits = np.log(outputs)
    return logits - logits.mean(axis=-1, keepdims=True)


# KerasHub compiles by itself, and Keras says that it does not.
@pytest.mark.filterwarnings("ignore:`compile\\(\\)` was not called as part of")
# Of its own test.
@pytest.mark.filterwarnings("ignore:The `check_types` argument is deprecated")
@_ORDERED
class KerasHubTest(test_case.TestCase):
    """What KerasHub asks of each of its classifiers."""

    test_session = None  # TensorFlow's, which skips itself.

    def arguments(self, **options):
        backbone = hub.RegNetBackbone(_CONFIG, image_shape=(32, 32, 3))
        make = hub.RegNetImageClassifierPreprocessor.for_backbone
        return {
            "backbone": backbone,
            "num_classes": 3,
            "preprocessor": make(backbone, (32, 32)),
            **options,
        }

    def test_task(self):
        labels = np.array([0, 2, 1, 0])
        for activation in (None, "softmax"):
            self.run_task_test(
                hub.RegNetImageClassifier,
                self.arguments(activation=activation),
                train_data=(_images(), labels),
                expected_output_shape=(4, 3),
            )

    def test_saved_model(self):
        self.run_model_saving_test(
            hub.RegNetImageClassifier,
            self.arguments(class_names=_NAMES),
            input_data=_images(size=32).astype("float32"),
        )

    def test_head_dtype(self):
        task = hub.RegNetImageClassifier(
            **self.arguments(head_dtype="bfloat16")
        )
        self.assertEqual(task.output_dense.compute_dtype, "bfloat16")

    def test_preset(self):
        folder = os.path.join(self.get_temp_dir(), "preset")
        task = hub.RegNetImageClassifier(**self.arguments())
        task.save_to_preset(folder)
        images = _images(size=32).astype("float32")
        for cls in (
            keras_hub.models.ImageClassifier,
            hub.RegNetImageClassifier,
        ):
            self.run_preset_test(
                cls, folder, images, expected_output=task(images)
            )


class SameNetworkTest(parameterized.TestCase):
    """Outputs are those of the model that it was made from."""

    @parameterized.parameters(
        {},
        {"classifier_activation": None},
        {"classifier_activation": "sigmoid", "dropout_rate": 0.3},
        {"include_preprocessing": False},
    )
    def test_outputs(self, **options):
        model = _model(**options)
        classifier = hub.RegNetImageClassifier.from_regnet(model)
        images = _images(size=32).astype("float32")
        np.testing.assert_array_equal(classifier(images), model(images))
        expected = options.get("classifier_activation", "softmax")
        self.assertEqual(classifier.activation, expected)
        self.assertEqual(classifier.dropout, options.get("dropout_rate", 0.0))

    @parameterized.parameters(True, False)
    def test_predictions_of_photos(self, include_preprocessing):
        """Cropped and normalized once, here and there."""
        model = _model(include_preprocessing=include_preprocessing)
        crop = CenterCrop(0.8)
        classifier = hub.RegNetImageClassifier.from_regnet(model, crop=crop)
        self.assertEqual(classifier.preprocessor.image_size, (32, 32))
        photos = _images(size=50)
        images = keras_regnet.images.resize_and_crop(photos, 40, 32)
        if not include_preprocessing:
            images = keras_regnet.preprocess_input(images)
        expected = model.predict(np.asarray(images), verbose=0)
        np.testing.assert_allclose(
            classifier.predict(photos, verbose=0), expected, atol=1e-5
        )

    def test_record(self):
        """The model's own preprocessing, names, and origin of the weights."""
        weights = keras_regnet.weights.find("RegNetY-1.6GF", "tv2_in1k")
        model = _model()
        model.set_record(
            ModelRecord(
                weights=weights,
                class_names=_NAMES,
                image_size=(224, 224),
                crop=weights.center_crop,
            )
        )
        classifier = hub.RegNetImageClassifier.from_regnet(model)
        photos = _images(size=50)
        expected = model.predict(model.preprocess(photos), verbose=0)
        np.testing.assert_allclose(
            classifier.predict(photos, verbose=0), expected, atol=1e-6
        )
        self.assertEqual(classifier.class_names, _NAMES)
        self.assertEqual(
            classifier.backbone.published,
            {
                "variant": "RegNetY-1.6GF",
                "tag": "tv2_in1k",
                "source": weights.source,
                "licence": weights.licence,
            },
        )

    def test_replaced_head(self):
        model = keras_regnet.replace_head(_model(), classes=7)
        classifier = hub.RegNetImageClassifier.from_regnet(model)
        images = _images(size=32).astype("float32")
        np.testing.assert_array_equal(classifier(images), model(images))

    @parameterized.parameters(True, False)
    def test_new_head(self, include_top):
        model = _model(include_top=include_top)
        classifier = hub.RegNetImageClassifier.from_regnet(model, 5)
        self.assertEqual(classifier.output_shape, (None, 5))
        self.assertIsNone(classifier.class_names)
        features = hub.RegNetBackbone.from_regnet(model)
        images = _images(size=32).astype("float32")
        np.testing.assert_array_equal(
            classifier.backbone(images), features(images)
        )

    def test_without_a_top(self):
        model = _model(include_top=False)
        with self.assertRaisesRegex(ValueError, "`num_classes` must be given"):
            hub.RegNetImageClassifier.from_regnet(model)


class PresetTest(absltest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        temp = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.folder = os.path.join(temp, "preset")
        cls.classifier = _classifier(crop=CenterCrop(0.9, "bicubic", True))
        cls.classifier.save_to_preset(cls.folder)

    def open(self, **options):
        return keras_hub.models.ImageClassifier.from_preset(
            self.folder, **options
        )

    def test_predicts_the_same(self):
        photos = _images(size=50)
        np.testing.assert_array_equal(
            self.open().predict(photos, verbose=0),
            self.classifier.predict(photos, verbose=0),
        )

    def test_keeps_names_and_crop(self):
        again = self.open()
        self.assertIsInstance(again, hub.RegNetImageClassifier)
        self.assertEqual(again.class_names, _NAMES)
        self.assertEqual(
            again.preprocessor.image_converter.get_config(),
            self.classifier.preprocessor.image_converter.get_config(),
        )

    def test_other_classes(self):
        again = self.open(num_classes=5)
        self.assertEqual(again.output_shape, (None, 5))
        self.assertIsNone(again.class_names)
        for own, saved in zip(
            again.backbone.get_weights(),
            self.classifier.backbone.get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(own, saved)

    def test_random_weights(self):
        again = self.open(load_weights=False)
        kernels = [
            c.backbone.get_layer("stem_conv").kernel
            for c in (again, self.classifier)
        ]
        self.assertFalse(np.array_equal(*kernels))

    def test_policy(self):
        again = self.open(dtype="mixed_bfloat16")
        self.assertEqual(again.backbone.compute_dtype, "bfloat16")
        photos = _images(size=50)
        outputs = again.predict(photos, verbose=0)
        self.assertEqual(outputs.dtype, "float32")
        np.testing.assert_allclose(
            outputs, self.classifier.predict(photos, verbose=0), atol=0.05
        )

    def test_image_shape(self):
        again = self.open(image_shape=(64, 64, 3))
        self.assertEqual(again.input_shape, (None, 64, 64, 3))

    def test_parts(self):
        converter = keras_hub.layers.ImageConverter.from_preset(self.folder)
        self.assertIsInstance(converter, hub.RegNetImageConverter)
        preprocessor = keras_hub.models.ImageClassifierPreprocessor.from_preset(
            self.folder
        )
        self.assertEqual(preprocessor.image_size, (32, 32))

    def test_config_is_that_of_the_network(self):
        config = json.loads(
            pathlib.Path(self.folder, "config.json").read_text()
        )
        network = json.dumps(config["config"]["network"])
        self.assertEqual(keras_regnet.config.from_json(network), _CONFIG)

    @pytest.mark.long
    def test_another_backend(self):
        """Weights, crop and normalization; Keras has a backend a process."""
        photos = _images(2, size=50)
        code = (
            "import sys, numpy, keras_hub, keras_regnet.hub\n"
            "cls = keras_hub.models.ImageClassifier\n"
            "photos = numpy.load(sys.argv[2])\n"
            "classifier = cls.from_preset(sys.argv[1])\n"
            "outputs = classifier.predict(photos, verbose=0)\n"
            "numpy.save(sys.argv[2], outputs)"
        )
        file = os.path.join(os.path.dirname(self.folder), "photos.npy")
        np.save(file, photos)
        search = [str(paths.ROOT), *sys.path]
        subprocess.run(
            [sys.executable, "-c", code, self.folder, file],
            env=os.environ
            | {
                "KERAS_BACKEND": "jax",
                "PYTHONPATH": os.pathsep.join(filter(None, search)),
            },
            check=True,
        )
        np.testing.assert_allclose(
            np.load(file),
            self.classifier.predict(photos, verbose=0),
            # Each resizes by its own bicubic kernel.
            atol=1e-3,
        )

    def test_names_of_other_classes(self):
        with self.assertRaisesRegex(ValueError, "`class_names` must have a"):
            hub.RegNetImageClassifier(
                self.classifier.backbone, 2, class_names=_NAMES
            )


@_ORDERED
class FineTuningTest(parameterized.TestCase):
    def test_fit(self):
        classifier = _classifier()
        photos = np.concatenate([_images(8) // 4, 255 - _images(8) // 4])
        labels = np.repeat([0, 1], 8)
        classifier.compile(optimizer=keras.optimizers.Adam(0.01))
        before = classifier.backbone.get_weights()
        history = classifier.fit(
            photos, labels, batch_size=16, epochs=8, verbose=0
        )
        losses = history.history["loss"]
        self.assertLess(losses[-1], 0.5 * losses[0])
        after = classifier.backbone.get_weights()
        self.assertFalse(np.array_equal(before[0], after[0]))

    def test_frozen_backbone(self):
        classifier = _classifier()
        classifier.backbone.trainable = False
        before = classifier.backbone.get_weights()
        classifier.fit(_images(), np.array([0, 1, 2, 0]), verbose=0)
        for own, old in zip(
            classifier.backbone.get_weights(), before, strict=True
        ):
            np.testing.assert_array_equal(own, old)

    @parameterized.parameters(None, "softmax")
    def test_default_loss_is_of_the_activation(self, activation):
        classifier = hub.RegNetImageClassifier(
            hub.RegNetBackbone(_CONFIG), 3, activation=activation
        )
        images = _images(size=32).astype("float32")
        labels = np.array([0, 1, 2, 0])
        outputs = np.asarray(classifier(images), "float64")
        if activation is None:
            outputs = np.exp(outputs)
            outputs /= outputs.sum(axis=-1, keepdims=True)
        expected = -np.log(outputs[np.arange(4), labels]).mean()
        loss = classifier.evaluate(images, labels, verbose=0)[0]
        self.assertAlmostEqual(loss, expected, places=4)

    def test_several_labels_an_image(self):
        classifier = hub.RegNetImageClassifier(
            hub.RegNetBackbone(_CONFIG), 3, activation="sigmoid"
        )
        images = _images(size=32).astype("float32")
        labels = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]])
        outputs = np.asarray(classifier(images), "float64")
        chances = np.where(labels == 1, outputs, 1 - outputs)
        loss = classifier.evaluate(images, labels, verbose=0)[0]
        self.assertAlmostEqual(loss, -np.log(chances).mean(), places=4)

    def test_exported(self):
        """Its layers are those of a network, which exports know."""
        backbone = hub.RegNetBackbone(_CONFIG, (32, 32, 3))
        classifier = hub.RegNetImageClassifier(backbone, 3)
        folder = self.enterContext(tempfile.TemporaryDirectory())
        file = os.path.join(folder, "model.tflite")
        keras_regnet.export.litert.save(classifier, file)
        report = keras_regnet.export.verify(
            classifier, file, _images(size=32), calls=1, warm_up=0
        )
        self.assertLess(report.max_absolute_error, 1e-4)

    def test_quantized_head(self):
        classifier = _classifier()
        images = _images(size=32).astype("float32")
        before = classifier(images)
        with self.assertWarnsRegex(UserWarning, "Conv2D"):
            classifier.quantize("int8")
        self.assertEqual(classifier.output_dense.quantization_mode, "int8")
        np.testing.assert_allclose(classifier(images), before, atol=0.02)


class WritePresetTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.folder = pathlib.Path(folder)

    def test_of_a_saved_model(self):
        model = _model()
        model.save(self.folder / "model.keras")
        hub.write_preset(self.folder / "model.keras", self.folder / "preset")
        classifier = keras_hub.models.ImageClassifier.from_preset(
            str(self.folder / "preset")
        )
        images = _images(size=32).astype("float32")
        np.testing.assert_array_equal(classifier(images), model(images))
        self.assertEqual(
            sorted(path.name for path in self.folder.iterdir()),
            ["model.keras", "preset"],
        )

    def test_command(self):
        _model().save(self.folder / "model.keras")
        preset = self.folder / "preset"
        result = subprocess.run(
            [
                sys.executable,
                *("-m", "keras_regnet.hub"),
                *(str(self.folder / "model.keras"), str(preset)),
            ],
            cwd=paths.ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(result.stdout, f"Wrote {preset}: 3 classes.\n")
        with self.assertRaisesRegex(ValueError, "`folder` must not be there"):
            hub.write_preset(self.folder / "model.keras", preset)

    def test_of_weights_of_other_projects(self):
        model = keras_regnet.build("RegNetX-200MF", classes=4)
        file = self.folder / "model.safetensors"
        keras_regnet.weights.export(model, file, "timm")
        classifier = hub.write_preset(
            "RegNetX-200MF", self.folder / "preset", file
        )
        images = _images(2, size=224).astype("float32")
        np.testing.assert_allclose(classifier(images), model(images), atol=1e-6)


if __name__ == "__main__":
    absltest.main()
