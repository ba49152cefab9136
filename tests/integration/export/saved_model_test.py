"""Tests of the SavedModel export."""

import os
import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl.testing import absltest

import keras_regnet
from keras_regnet.export import check_saved_model
from keras_regnet.export import saved_model

_NETWORK = keras_regnet.RegNetConfig(
    depth=2, w_0=8, w_a=8, w_m=2.0, group_width=4, stem_width=8
)


class SavedModelTest(absltest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        keras.utils.set_random_seed(0)
        cls.model = keras_regnet.build(
            _NETWORK, input_shape=(None, None, 3), classes=4
        )
        rng = np.random.default_rng(0)
        # Probabilities that tell images apart.
        head = cls.model.get_layer("head_fc")
        head.kernel.assign(rng.normal(size=head.kernel.shape))
        cls.images = [
            rng.integers(0, 256, (2, side, side + 5, 3), np.uint8)
            for side in (32, 48)
        ]

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )
        self.path = self.folder / "saved_model"

    def save(self, **arguments):
        saved_model.save(self.model, self.path, **arguments)

    def test_a_process_without_us_agrees(self):
        self.save(class_names=tuple("abcd"), check_images=self.images)
        self.assertEqual((self.path / "labels.txt").read_text(), "a\nb\nc\nd\n")
        self.assertEqual(os.listdir(self.folder), ["saved_model"])
        self.assertLess(
            check_saved_model.max_absolute_error(str(self.path)), 1e-5
        )

    def test_signatures(self):
        self.save()
        signatures = tf.saved_model.load(self.path).signatures
        self.assertCountEqual(signatures, ["serving_default", "float_images"])
        for images in self.images:
            expected = self.model.predict_on_batch(images)
            for name, dtype in (
                ("serving_default", tf.uint8),
                ("float_images", tf.float32),
            ):
                found = signatures[name](images=tf.cast(images, dtype))
                np.testing.assert_allclose(
                    found["probabilities"], expected, atol=1e-5
                )

    def older(self):
        self.path.mkdir()
        (self.path / "saved_model.pb").write_text("")
        (self.path / "old").write_text("")

    def test_a_mismatch_fails_and_leaves_the_old_folder(self):
        self.older()
        wrong = mock.patch.object(
            self.model, "predict_on_batch", return_value=np.zeros([2, 4])
        )
        with (
            wrong,
            self.assertRaisesRegex(RuntimeError, "max absolute error"),
        ):
            self.save(check_images=self.images[:1], portable=False)
        self.assertEqual(os.listdir(self.folder), ["saved_model"])
        self.assertCountEqual(os.listdir(self.path), ["old", "saved_model.pb"])

    def test_replaces_an_older_folder(self):
        self.older()
        self.save()
        self.assertNotIn("old", os.listdir(self.path))
        self.assertEqual(os.listdir(self.folder), ["saved_model"])

    def test_replaces_nothing_but_a_saved_model(self):
        photos, file = self.folder / "photos", self.folder / "file"
        photos.mkdir()
        (photos / "photo.jpg").write_text("")
        file.write_text("kept")
        for path in (photos, file, photos / ".." / "photos"):
            with self.assertRaisesRegex(ValueError, "which is replaced. Rec"):
                saved_model.save(self.model, path)
        self.assertCountEqual(os.listdir(self.folder), ["photos", "file"])
        self.assertEqual(os.listdir(photos), ["photo.jpg"])
        self.assertEqual(file.read_text(), "kept")

    def test_a_full_disk_leaves_nothing(self):
        def fail(module, path, signatures):
            del module, signatures
            os.mkdir(path)
            raise tf.errors.ResourceExhaustedError(None, None, "no space")

        with (
            mock.patch.object(tf.saved_model, "save", fail),
            self.assertRaisesRegex(OSError, "saved_model.*: no space"),
        ):
            self.save()
        self.assertEqual(os.listdir(self.folder), [])

    def test_two_inputs(self):
        inputs = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))]
        x = keras.layers.GlobalAveragePooling2D()(keras.ops.add(*inputs))
        with self.assertRaisesRegex(ValueError, "one input .batch, height"):
            saved_model.save(keras.Model(inputs, x), self.path)

    def test_gray_image_files(self):
        model = keras_regnet.build(_NETWORK, input_shape=(32, 32, 1), classes=4)
        saved_model.save(model, self.path, jpeg_size=32)
        serve = tf.saved_model.load(self.path).signatures["jpeg"]
        image = self.images[0][:1, :, :32]
        files = [tf.io.encode_png(image[0])]
        gray = tf.io.decode_png(files[0], channels=1)
        side = round(32 / saved_model.CenterCrop().fraction)
        large = tf.image.resize(gray, [side, side])[2:34, 2:34]
        (found,) = serve(jpeg=tf.stack(files))["probabilities"]
        (expected,) = model.predict_on_batch(large[None])
        np.testing.assert_allclose(found, expected, atol=0.02)

    def test_wrong_class_names(self):
        with self.assertRaisesRegex(ValueError, "3 names for 4 outputs"):
            self.save(class_names=tuple("abc"))

    def test_wrong_check_images(self):
        with self.assertRaisesRegex(ValueError, "uint8.*float32"):
            self.save(check_images=[np.zeros([1, 32, 32, 3], np.float32)])
        self.assertEqual(os.listdir(self.folder), [])

    def test_the_checker_names_what_is_missing(self):
        done = subprocess.run(
            [sys.executable, check_saved_model.__file__, "/nowhere"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, "^/nowhere: .*\n$")
        self.assertNotIn("Traceback", done.stderr)


if __name__ == "__main__":
    absltest.main()
