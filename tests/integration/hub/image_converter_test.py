"""The image converter gives the pixels that weights are evaluated with."""

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized
from keras_hub.src.tests import test_case

import keras_regnet
from keras_regnet import hub
from keras_regnet.center_crop import CenterCrop
from keras_regnet.hub import image_converter

_RECORDS = {
    "pillow": ("RegNetY-1.6GF", "tv2_in1k@torchvision"),
    "opencv": ("RegNetX-400MF", "pycls_in1k@pycls"),
}


def _record(name):
    return keras_regnet.weights.find(*_RECORDS[name])


def _photo(height, width, seed=0):
    """Returns smooth colors with some noise, uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (6, 6, 3)).astype("float32")
    smooth = keras.ops.image.resize(coarse, (height, width), "bicubic")
    noise = rng.normal(0, 8, (height, width, 3))
    return np.clip(smooth + noise, 0, 255).astype("uint8")


def _converter(record, **options):
    return hub.RegNetImageConverter(
        (record.test_size, record.test_size),
        **image_converter.crop_arguments(record.center_crop),
        **options,
    )


class KerasHubTest(test_case.TestCase):
    """What KerasHub asks of each of its preprocessing layers."""

    test_session = None  # TensorFlow's, which skips itself.

    def arguments(self, **options):
        return {"image_size": (8, 6), "crop_fraction": 0.875, **options}

    def test_center_crop(self):
        images = np.stack([_photo(20, 31, seed) for seed in (0, 1)])
        self.run_preprocessing_layer_test(
            hub.RegNetImageConverter, self.arguments(), images
        )

    def test_normalizing(self):
        self.run_preprocessing_layer_test(
            hub.RegNetImageConverter,
            self.arguments(scale=[0.5, 1.0, 2.0], offset=[1.0, 2.0, 3.0]),
            _photo(20, 31)[None].astype("float32"),
        )

    def test_without_crop_fraction(self):
        """It is KerasHub's own converter."""
        options = self.arguments(crop_fraction=None)
        images = _photo(20, 31)[None].astype("float32")
        output = self.run_preprocessing_layer_test(
            hub.RegNetImageConverter, options, images, return_output=True
        )
        del options["crop_fraction"]
        stock = keras_hub.layers.ImageConverter(**options)
        self.assertAllEqual(output, stock(images))


class PixelsTest(parameterized.TestCase):
    @parameterized.product(
        name=tuple(_RECORDS),
        size=((300, 400), (401, 257), (224, 224), (90, 200)),
    )
    def test_equal_those_of_the_package(self, name, size):
        record = _record(name)
        photo = _photo(*size)
        expected = keras_regnet.preprocess_input(
            photo, weights=record, normalize=False
        )
        np.testing.assert_array_equal(_converter(record)(photo), expected)

    def test_normalization_is_that_of_the_package(self):
        """Of a backbone that leaves it to the converter."""
        record = _record("opencv")
        backbone = hub.RegNetBackbone(
            keras_regnet.AnyNetConfig((1,), (8,)),
            include_preprocessing=False,
            mean=record.mean,
            std=record.std,
        )
        make = hub.RegNetImageClassifierPreprocessor.for_backbone
        preprocessor = make(backbone, (224, 224))
        photo = _photo(300, 400)
        expected = keras_regnet.preprocess_input(photo, weights=record)
        np.testing.assert_allclose(preprocessor(photo), expected, atol=1e-5)

    @parameterized.parameters(*_RECORDS)
    def test_in_a_pipeline_of_photos_of_any_size(self, name):
        record = _record(name)
        converter = _converter(record)
        photos = [_photo(300, 400), _photo(401, 257)]
        dataset = tf.data.Dataset.from_generator(
            lambda: iter(photos),
            output_signature=tf.TensorSpec((None, None, 3), tf.uint8),
        )
        for photo, crop in zip(photos, dataset.map(converter), strict=True):
            expected = keras_regnet.preprocess_input(
                photo, weights=record, normalize=False
            )
            # Sizes that are not known are divided by other operations.
            np.testing.assert_allclose(crop, expected, atol=1.0)
            self.assertLess(np.abs(crop - expected).mean(), 0.01)

    def test_channels_first(self):
        record = _record("opencv")
        photo = _photo(300, 400)
        converter = _converter(record, data_format="channels_first")
        converter = hub.RegNetImageConverter.from_config(converter.get_config())
        expected = _converter(record)(photo)
        crop = converter(np.moveaxis(photo, -1, 0))
        np.testing.assert_array_equal(np.moveaxis(crop, 0, -1), expected)

    def test_policy_of_the_model_rounds_no_pixels(self):
        record = _record("opencv")
        photo = _photo(300, 400)
        expected = _converter(record)(photo)
        keras.config.set_dtype_policy("mixed_bfloat16")
        self.addCleanup(keras.config.set_dtype_policy, "float32")
        np.testing.assert_array_equal(_converter(record)(photo), expected)

    def test_of_a_center_crop(self):
        crop = CenterCrop(0.95, "bicubic", True)
        arguments = image_converter.crop_arguments(crop)
        converter = hub.RegNetImageConverter((64, 64), **arguments)
        self.assertEqual(converter.crop_fraction, 0.95)
        self.assertEqual(converter.interpolation, "bicubic")
        self.assertTrue(converter.antialias)

    def test_image_size_can_be_set(self):
        converter = _converter(_record("opencv"))
        converter.image_size = (32, 48)
        self.assertEqual(converter(_photo(60, 90)).shape, (32, 48, 3))


class RefusedTest(parameterized.TestCase):
    @parameterized.parameters(0.0, 1.5, -1)
    def test_fraction(self, fraction):
        with self.assertRaisesRegex(ValueError, "`crop_fraction` must be abov"):
            hub.RegNetImageConverter((8, 8), crop_fraction=fraction)

    @parameterized.parameters(
        {"crop_to_aspect_ratio": False},
        {"crop_to_aspect_ratio": False, "pad_to_aspect_ratio": True},
    )
    def test_other_aspects(self, **options):
        with self.assertRaisesRegex(ValueError, "padded or stretched"):
            hub.RegNetImageConverter((8, 8), crop_fraction=0.9, **options)

    def test_boxes(self):
        converter = hub.RegNetImageConverter((8, 8), crop_fraction=0.9)
        boxes = {"boxes": np.ones((1, 1, 4)), "labels": np.ones((1, 1))}
        with self.assertRaisesRegex(ValueError, "images with bounding boxes"):
            converter({"images": _photo(20, 20)[None], "bounding_boxes": boxes})


if __name__ == "__main__":
    absltest.main()
