"""Images as each source evaluates them; normalized once."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized
from PIL import Image

import keras_regnet
from keras_regnet import preprocessing
from keras_regnet.weights import records

_RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def _photo(height, width):
    """Returns an image with smooth parts and edges, (1, h, w, 3) in 0..255."""
    y, x = np.mgrid[:height, :width] / 40
    image = np.stack([np.sin(x) + y % 1, np.cos(y), np.sin(x * y)], axis=-1)
    image = (image - image.min()) / np.ptp(image) * 255
    return np.round(image)[None].astype("float32")


def _by_pillow(image, record):
    """Resizes and crops as PyTorch's transforms do it, which use Pillow."""
    height, width = image.shape[1:3]
    short = min(height, width)
    size = (
        int(record.resize * width / short),
        int(record.resize * height / short),
    )
    picture = Image.fromarray(image[0].astype("uint8"))
    picture = picture.resize(size, _RESAMPLING[record.interpolation])
    left = round((size[0] - record.test_size) / 2)
    top = round((size[1] - record.test_size) / 2)
    box = (left, top, left + record.test_size, top + record.test_size)
    return np.asarray(picture.crop(box), "float32")[None]


def _by_opencv(image, record):
    """Resizes and crops a float image as pycls does, which uses OpenCV.

    Each new pixel is between the four around its place in the image; pixels
    between those are passed over.
    """
    height, width = image.shape[:2]
    short = min(height, width)
    new_height = int(height / short * record.resize)
    new_width = int(width / short * record.resize)
    rows = _between(height, new_height)
    columns = _between(width, new_width)
    image = np.einsum("yh,hwc->ywc", rows, image)
    image = np.einsum("xw,ywc->yxc", columns, image)
    size = record.test_size
    top = -((size - new_height) // 2)
    left = -((size - new_width) // 2)
    return image[top : top + size, left : left + size]


def _between(old, new):
    """Returns the weights of the old pixels, (new, old), in each new one."""
    places = (np.arange(new) + 0.5) * old / new - 0.5
    places = np.clip(places, 0, old - 1)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(old)))


class PreprocessingTest(parameterized.TestCase):
    @parameterized.parameters(
        ("RegNetX-400MF", "tv_in1k@torchvision", (300, 421)),
        ("RegNetX-400MF", "pycls_in1k", (500, 333)),
        ("RegNetY-3.2GF", "ra_in1k", (300, 400)),
        ("RegNetY-16GF", "swag_ft_in1k", (150, 200)),
    )
    def test_resizes_and_crops_as_the_source(self, variant, tag, size):
        record = records.find(variant, tag)
        image = _photo(*size)
        got = keras_regnet.preprocess_input(
            image, weights=tag, variant=variant, normalize=False
        )
        got = keras.ops.convert_to_numpy(got)
        expected = _by_pillow(image, record)
        self.assertEqual(got.shape, expected.shape)
        difference = np.abs(got - expected)
        # Pillow's arithmetic is of integers: off by one, here and there.
        self.assertLess(difference.mean(), 0.3)
        self.assertLess((difference > 1).mean(), 0.01)

    @parameterized.parameters((300, 421), (421, 300), (256, 301), (100, 150))
    def test_pycls_resizes_by_opencv(self, height, width):
        record = records.find("RegNetX-200MF", "pycls_in1k@pycls")
        image = _photo(height, width)
        got = keras_regnet.preprocess_input(
            image, weights=record, normalize=False
        )
        expected = _by_opencv(image[0], record)[None]
        self.assertEqual(got.shape, expected.shape)
        np.testing.assert_allclose(got, expected, atol=1e-2)

    def test_transformers_crops_from_the_lower_pixel(self):
        record = records.find("RegNetX-200MF", "pycls_in1k@transformers")
        # 256 x 643 pixels: 419 are to go on both sides together.
        image = np.zeros((1, 256, 643, 3), "float32")
        image[:, :, 209] = 255
        got = keras_regnet.preprocess_input(
            image, weights=record, normalize=False
        )
        np.testing.assert_array_equal(np.asarray(got)[0, :, 0], 255)

    def test_normalizes_by_the_record(self):
        image = np.full((1, 320, 320, 3), 255.0)
        for variant, tag, expected in (
            ("RegNetZ-D8", "ra3_in1k", [1, 1, 1]),
            ("RegNetX-200MF", "keras_in1k", [1, 1, 1]),
            ("RegNetX-200MF", "imagenet", [2.2489, 2.4286, 2.64]),
        ):
            got = keras_regnet.preprocess_input(
                image, weights=tag, variant=variant
            )
            np.testing.assert_allclose(
                np.asarray(got)[0, 0, 0], expected, atol=1e-4
            )

    def test_normalisation_is_done_once_wherever(self):
        """By this function or by the model, with the same result."""
        image = _photo(260, 300)
        record = records.find("RegNetZ-D8", "ra3_in1k")
        config = keras_regnet.AnyNetConfig((1,), (8,), stem_width=8)
        resolved = keras_regnet.weights.ResolvedWeights(
            config, record.mean, record.std
        )
        outputs, weights = [], None
        for in_model in (True, False):
            model = keras_regnet.build(
                config,
                weights=resolved,
                input_shape=(None, None, 3),
                classes=5,
                include_preprocessing=in_model,
            )
            model.set_weights(weights or model.get_weights())
            weights = model.get_weights()
            prepared = keras_regnet.preprocess_input(
                image, weights=record, normalize=not in_model
            )
            outputs.append(model.predict(prepared, verbose=0))
        np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-6)

    def test_leaves_the_size_without_weights(self):
        image = _photo(40, 50)
        got = preprocessing.preprocess_input(image)
        self.assertEqual(got.shape, image.shape)
        np.testing.assert_array_equal(
            preprocessing.preprocess_input(image, normalize=False), image
        )

    def test_channels_first(self):
        image = _photo(260, 300)
        arguments = {"weights": "tv_in1k", "variant": "RegNetX-400MF"}
        last = preprocessing.preprocess_input(image, **arguments)
        first = preprocessing.preprocess_input(
            image.transpose(0, 3, 1, 2), "channels_first", **arguments
        )
        np.testing.assert_allclose(
            np.asarray(first).transpose(0, 2, 3, 1), last, atol=1e-4
        )

    @parameterized.parameters(
        (dict(weights="tv_in1k"), "`variant` must name the network"),
        (dict(weights="tv", variant="RegNetX-400MF"), "no such weights"),
        (dict(data_format="NHWC"), "Unknown `data_format`"),
    )
    def test_refuses(self, arguments, message):
        with self.assertRaisesRegex(ValueError, message):
            preprocessing.preprocess_input(_photo(40, 40), **arguments)

    def test_unknown_sizes_in_a_pipeline(self):
        """Of every size, the same as where the size is known."""
        rng = np.random.default_rng(0)
        images = [
            rng.integers(0, 256, (*size, 3)).astype("uint8")
            for size in ((300, 401), (257, 240), (224, 256))
        ]
        options = {"weights": "tv2_in1k", "variant": "RegNetX-3.2GF"}
        pipeline = tf.data.Dataset.from_generator(
            lambda: iter(images),
            output_signature=tf.TensorSpec((None, None, 3), "uint8"),
        ).map(lambda x: keras_regnet.preprocess_input(x, **options))
        self.assertEqual(pipeline.element_spec.shape, (224, 224, 3))
        for image, got in zip(images, pipeline, strict=True):
            wanted = keras_regnet.preprocess_input(image, **options)
            np.testing.assert_array_equal(got, wanted)

    def test_refuses_unknown_sizes(self):
        with self.assertRaisesRegex(ValueError, "known height and width"):
            preprocessing.preprocess_input(
                keras.Input((None, None, 3)),
                weights="tv_in1k",
                variant="RegNetX-400MF",
            )


if __name__ == "__main__":
    absltest.main()
