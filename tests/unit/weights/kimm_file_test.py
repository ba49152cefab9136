"""Files of kimm load and compute what kimm computes on right input."""

import pathlib
import shutil
import tempfile
import zipfile

import keras
import numpy as np
from absl.testing import absltest

import keras_regnet
from keras_regnet.weights import records
from keras_regnet.weights.readers import kimm_file
from tests.support import paths

_DATA = paths.DATA
_PATH = _DATA / "kimm.keras"
_CONFIG = keras_regnet.RegNetConfig(
    depth=3, w_0=32, w_a=4.0, w_m=1.25, group_width=8, block="y"
)


def _build(path=_PATH, **arguments):
    return keras_regnet.RegNet(
        _CONFIG,
        weights=path,
        input_shape=(40, 33, 3),
        classifier_activation=None,
        **{"classes": 5, **arguments},
    )


class KimmFileTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enter_context(tempfile.TemporaryDirectory())
        )

    def test_computes_the_same(self):
        expected = np.load(_DATA / "kimm_outputs.npy")
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (2, 40, 33, 3), "u1")
        model = _build()
        self.assertEqual(model.network.padding, "symmetric")
        got = model(images.astype("float32"), training=False)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(got / scale, expected / scale, atol=1e-5)

    def test_names(self):
        tensors = kimm_file.read(_PATH)
        self.assertIn("s1_b1_downsample_bn/moving_mean", tensors)
        self.assertIn("s1_b1_se_conv_reduce/bias", tensors)
        self.assertEqual(tensors.shapes["classifier/bias"], (5,))
        # Of one shape; only the order tells them apart.
        twins = [
            tensors[f"s1_b1_{name}_conv2d/kernel"]
            for name in ("conv3", "downsample")
        ]
        self.assertEqual(twins[0].shape, twins[1].shape)

    def test_whose_a_file_is(self):
        ours = self.folder / "ours.keras"
        _build(None).save(ours)
        self.assertTrue(kimm_file.is_of_kimm(_PATH))
        self.assertFalse(kimm_file.is_of_kimm(ours))
        self.assertFalse(kimm_file.is_of_kimm(__file__))
        np.testing.assert_array_equal(
            _build(ours).get_layer("head_fc").kernel,
            keras.saving.load_model(ours).get_layer("head_fc").kernel,
        )

    def test_a_published_file_by_its_tag(self):
        record = records.find("RegNetY-3.2GF", "ra_in1k@kimm")
        self.assertEndsWith(record.url, ".keras")
        self.assertEqual(record.padding, "symmetric")

    def test_another_model_of_kimm(self):
        path = self.folder / "other.keras"
        inputs = keras.Input((8, 8, 3))
        outputs = keras.layers.Conv2D(2, 1)(inputs)
        keras.Model(inputs, outputs).save(self.folder / "saved.keras")
        with (
            zipfile.ZipFile(self.folder / "saved.keras") as saved,
            zipfile.ZipFile(_PATH) as kimm,
            zipfile.ZipFile(path, "w") as archive,
        ):
            for name in saved.namelist():
                source = kimm if name == "config.json" else saved
                archive.writestr(name, source.read(name))
        with self.assertRaisesRegex(ValueError, "other.keras' is not a RegNet"):
            _build(path)

    def test_damaged(self):
        path = self.folder / "damaged.keras"
        shutil.copy(_PATH, path)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with self.assertRaisesRegex(ValueError, "damaged.keras"):
            _build(path)


if __name__ == "__main__":
    absltest.main()
