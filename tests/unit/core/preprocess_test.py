"""`model.preprocess`: images in any form, as the weights were evaluated."""

import io
import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized
from PIL import Image
from PIL import ImageOps

import keras_regnet
from keras_regnet import ModelRecord
from keras_regnet.center_crop import CenterCrop
from keras_regnet.weights import records
from tests.support import training_testing

_NETWORK = keras_regnet.RegNetConfig(2, 8, 8, 2.0, 4, stem_width=8)


def _model(record=None, input_shape=(None, None, 3), **arguments):
    model = keras_regnet.build(
        _NETWORK, input_shape=input_shape, classes=2, **arguments
    )
    if record is not None:
        model.set_record(record)
    return model


def _record_of(weights, **fields):
    return ModelRecord(
        weights=weights,
        image_size=(weights.test_size,) * 2,
        crop=weights.center_crop,
        **fields,
    )


def _photo(height=300, width=401):
    """Returns a picture with edges, none so hard that bicubic overshoots."""
    y, x = np.mgrid[:height, :width]
    waves = 127 + 100 * np.sin(x / 23) * np.cos(y / 17)
    stripes = 64 + 128 * ((x // 31 + y // 29) % 2)
    return np.stack([waves, stripes, 255 - waves], -1).astype("uint8")


class SourcesTest(parameterized.TestCase):
    """Every form of the same image gives the same pixels."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = _model(ModelRecord(image_size=(64, 96)))
        cls.folder = pathlib.Path(
            cls.enterClassContext(tempfile.TemporaryDirectory())
        )
        cls.path = cls.folder / "photo.png"
        cls.pixels = _photo()
        Image.fromarray(cls.pixels).save(cls.path)
        cls.expected = cls.model.preprocess(cls.pixels)

    @parameterized.parameters(
        lambda self: str(self.path),
        lambda self: self.path,
        lambda self: self.path.read_bytes(),
        lambda self: memoryview(self.path.read_bytes()),
        lambda self: io.BytesIO(self.path.read_bytes()),
        lambda self: tf.io.read_file(str(self.path)),
        lambda self: tf.constant([self.path.read_bytes()]),
        lambda self: Image.open(self.path),
        lambda self: self.pixels.astype("float32"),
        lambda self: self.pixels[None],
        lambda self: tf.constant(self.pixels),
        lambda self: keras.ops.convert_to_tensor(self.pixels),
        lambda self: [self.path],
        lambda self: (Image.open(self.path),),
    )
    def test_one_image(self, of):
        found = self.model.preprocess(of(self))
        self.assertIsInstance(found, np.ndarray)
        self.assertEqual(
            (found.dtype, found.shape), ("float32", (1, 64, 96, 3))
        )
        np.testing.assert_array_equal(found, self.expected)

    def test_several_of_unequal_sizes(self):
        others = [_photo(80, 70), _photo(64, 96)]
        found = self.model.preprocess([self.path, *others])
        for row, image in zip(found, [self.pixels, *others], strict=True):
            np.testing.assert_array_equal(row, self.model.preprocess(image)[0])

    def test_of_a_size_that_only_needs_cropping(self):
        """Of the fraction's size the center is taken as it is."""
        pixels = _photo(73, 110)
        found = self.model.preprocess(pixels)
        np.testing.assert_array_equal(found[0], pixels[5:69, 7:103])

    def test_in_a_pipeline(self):
        files = tf.data.Dataset.from_tensors(str(self.path)).map(
            tf.io.read_file
        )
        images = tf.data.Dataset.from_tensors(self.pixels)
        for dataset in (files, images.batch(1)):
            (found,) = dataset.map(self.model.preprocess)
            np.testing.assert_array_equal(found, self.expected)

    def test_gray_and_other_channels_in_a_pipeline(self):
        gray = self.pixels[:, :, :1]
        (found,) = tf.data.Dataset.from_tensors(gray).map(self.model.preprocess)
        np.testing.assert_array_equal(found, self.model.preprocess(gray))
        alpha = tf.data.Dataset.from_tensors(np.zeros((80, 80, 4), "uint8"))
        with self.assertRaisesRegex(ValueError, "Leave alpha out"):
            alpha.map(self.model.preprocess)
        model = _model(input_shape=(64, 64, 1))
        colored = tf.data.Dataset.from_tensors(self.pixels)
        with self.assertRaisesRegex(ValueError, "rgb_to_grayscale"):
            colored.map(model.preprocess)

    def test_a_file_in_a_pipeline_for_channels_first(self):
        keras.config.set_image_data_format("channels_first")
        self.addCleanup(keras.config.set_image_data_format, "channels_last")
        model = _model(ModelRecord(image_size=(64, 96)), (3, None, None))
        files = tf.data.Dataset.from_tensors(self.path.read_bytes())
        (found,) = files.map(model.preprocess)
        expected = np.moveaxis(self.expected, -1, 1)
        np.testing.assert_allclose(found, expected, atol=1e-3)

    def test_a_keras_tensor(self):
        found = self.model.preprocess(keras.Input((300, 400, 3)))
        self.assertEqual(found.shape, (None, 64, 96, 3))

    def test_a_model_of_other_channels_takes_arrays_alone(self):
        model = _model(input_shape=(64, 96, 5))
        self.assertEqual(
            model.preprocess(np.zeros((70, 99, 5))).shape, (1, 64, 96, 5)
        )
        for image in (self.path, Image.fromarray(self.pixels)):
            with self.assertRaisesRegex(ValueError, "a model of 5 channels"):
                model.preprocess(image)

    @parameterized.parameters(*range(1, 9))
    def test_exif(self, orientation):
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = io.BytesIO()
        Image.fromarray(self.pixels).save(file, "png", exif=exif)
        opened = Image.open(file)
        upright = np.asarray(ImageOps.exif_transpose(opened))
        expected = self.model.preprocess(upright)
        for image in (opened, file.getvalue()):
            np.testing.assert_array_equal(
                self.model.preprocess(image), expected
            )

    @parameterized.parameters("L", "P", "RGBA", "CMYK", "1", "LA")
    def test_modes_of_pillow(self, mode):
        image = Image.fromarray(self.pixels).convert(mode)
        np.testing.assert_array_equal(
            self.model.preprocess(image),
            self.model.preprocess(image.convert("RGB")),
        )

    def test_sixteen_bits(self):
        wide = self.pixels[:, :, 0].astype("uint16") * 256 + 255
        image = Image.fromarray(wide)
        file = io.BytesIO()
        image.save(file, "png")
        expected = self.model.preprocess(self.pixels[:, :, 0])
        for of in (image, file.getvalue()):
            np.testing.assert_array_equal(self.model.preprocess(of), expected)

    def test_gray_is_repeated(self):
        gray = self.pixels[:, :, :1]
        expected = self.model.preprocess(np.repeat(gray, 3, -1))
        for image in (gray, gray[:, :, 0], Image.fromarray(gray[:, :, 0])):
            np.testing.assert_array_equal(
                self.model.preprocess(image), expected
            )

    def test_a_model_of_gray_images(self):
        model = _model(ModelRecord(image_size=(64, 96)), (None, None, 1))
        expected = tf.image.rgb_to_grayscale(self.pixels).numpy()
        expected = model.preprocess(expected)
        np.testing.assert_array_equal(model.preprocess(self.path), expected)
        # Files are whole numbers.
        found = model.preprocess(self.pixels)
        np.testing.assert_allclose(found, expected, atol=1)

    def test_channels_first(self):
        keras.config.set_image_data_format("channels_first")
        self.addCleanup(keras.config.set_image_data_format, "channels_last")
        model = _model(ModelRecord(image_size=(64, 96)), (3, None, None))
        # What counts is how the model was built.
        keras.config.set_image_data_format("channels_last")
        expected = np.moveaxis(self.expected, -1, 1)
        for image in (self.path, np.moveaxis(self.pixels, -1, 0)):
            np.testing.assert_allclose(
                model.preprocess(image), expected, atol=1e-3
            )
        with self.assertRaisesRegex(ValueError, "on the first of"):
            model.preprocess(self.pixels)

    @parameterized.parameters(
        (lambda self: [], "must not be empty"),
        (lambda self: np.zeros((0, 8, 8, 3)), "must not be empty"),
        (lambda self: np.zeros((0, 8, 3)), "must have pixels"),
        (lambda self: self.folder, "not a folder"),
        (lambda self: self.folder / "none.png", "does not exist"),
        (lambda self: b"nothing", "7 bytes .neither JPEG"),
        (lambda self: self.path.read_bytes()[:900], "Not an image that can be"),
        (lambda self: np.zeros((8, 8, 4)), r"alpha out: images\[..., :3\]"),
        (lambda self: np.zeros((8, 8, 2)), "1 or 3 channels, on the last"),
        (lambda self: np.zeros((3, 8, 8)), "1 or 3 channels, on the last"),
        (lambda self: np.zeros(8), r"Received: shape=\(8,\)"),
        (lambda self: [np.zeros((2, 8, 8, 3))], r"shape=\(2, 8, 8, 3\)"),
        (lambda self: np.full((8, 8, 3), -1.0), "from -1 to -1"),
        (lambda self: np.full((8, 8, 3), 65535), "from 6.554e.04 to"),
        (lambda self: np.full((8, 8, 3), np.nan), "from nan to nan"),
        (lambda self: np.full((8, 8), "a"), "of dtype <U1"),
        (lambda self: {"images": 1}, "Received: dict"),
        (lambda self: None, "Received: NoneType"),
        (lambda self: Image.new("F", (8, 8)), "mode 'F'"),
        (lambda self: "https://a.org/b.jpg", "'https://a.org/b.jpg'"),
        (
            lambda self: tf.ragged.stack([self.pixels, self.pixels[:9]]),
            "must be a list. Received: a ragged",
        ),
    )
    def test_refused(self, of, message):
        with self.assertRaisesRegex(ValueError, message):
            self.model.preprocess(of(self))

    def test_pixels_up_to_one_are_pointed_out(self):
        pixels = self.pixels / np.float32(255)
        with self.assertWarnsRegex(UserWarning, "all in 0..1") as caught:
            self.model.preprocess(pixels)
        self.assertEqual(caught.filename, __file__)
        # Black is black.
        self.assertEqual(self.model.preprocess(np.zeros((8, 8, 3))).max(), 0)

    def test_a_model_with_two_inputs(self):
        left, right = keras.Input((32, 32, 3)), keras.Input((32, 32, 3))
        model = keras_regnet.build(
            _NETWORK, input_tensor=keras.layers.Add()([left, right]), classes=2
        )
        with self.assertRaisesRegex(ValueError, "with one input"):
            model.preprocess(self.pixels)


class EvaluationTest(parameterized.TestCase):
    """The pixels are those that the source of the weights evaluates on."""

    @parameterized.parameters(
        ("RegNetX-200MF", "pycls_in1k@timm", Image.Resampling.BICUBIC),
        ("RegNetX-400MF", "tv2_in1k@torchvision", Image.Resampling.BILINEAR),
        ("RegNetY-3.2GF", "ra_in1k@timm", Image.Resampling.BICUBIC),
    )
    def test_as_pillow_does_it(self, variant, tag, resampling):
        weights = records.find(variant, tag)
        photo = Image.fromarray(_photo(), "RGB")
        # As torchvision's transforms and timm's do it.
        short = weights.resize
        scaled = photo.resize((photo.width * short // 300, short), resampling)
        size = weights.test_size
        left = round((scaled.width - size) / 2)
        top = round((scaled.height - size) / 2)
        expected = scaled.crop((left, top, left + size, top + size))
        found = _model(_record_of(weights)).preprocess(photo)
        np.testing.assert_array_equal(found, np.rint(found))
        difference = np.abs(found[0] - np.asarray(expected, "float32"))
        # Pillow rounds after each direction.
        self.assertLessEqual(difference.max(), 1)
        self.assertLess(difference.mean(), 0.15)

    @parameterized.parameters("timm", "pycls", "transformers")
    def test_as_preprocess_input(self, source):
        weights = records.find("RegNetX-200MF", f"pycls_in1k@{source}")
        found = _model(_record_of(weights)).preprocess(_photo())
        expected = keras_regnet.preprocess_input(
            _photo()[None], weights=weights, normalize=False
        )
        np.testing.assert_array_equal(found, expected)

    def test_normalized_outside_of_the_model(self):
        record = ModelRecord(
            image_size=(64, 64),
            mean=(10.0, 20.0, 30.0),
            std=(2.0, 4.0, 5.0),
            normalizes=False,
        )
        model = _model(record, include_preprocessing=False)
        found = model.preprocess(np.full((80, 80, 3), 60, "uint8"))
        np.testing.assert_allclose(found[0, 5, 5], [25, 10, 6])

    def test_a_size_of_its_own(self):
        """A fixed input keeps the fraction of the record."""
        record = ModelRecord(image_size=(224, 224), crop=CenterCrop(0.5))
        model = _model(record, input_shape=(48, None, 3))
        pixels = _photo(96, 448)
        found = model.preprocess(pixels)
        np.testing.assert_array_equal(found[0], pixels[24:72, 112:336])

    def test_a_size_that_nothing_says_is_the_papers(self):
        pixels = _photo(256, 256)
        found = _model().preprocess(pixels)
        np.testing.assert_array_equal(found[0], pixels[16:240, 16:240])

    def test_a_jpeg(self):
        file = training_testing.jpeg((90, 120))
        pixels = np.asarray(Image.open(io.BytesIO(file)))
        model = _model(ModelRecord(image_size=(64, 64)))
        np.testing.assert_array_equal(
            model.preprocess(file), model.preprocess(pixels)
        )


if __name__ == "__main__":
    absltest.main()
