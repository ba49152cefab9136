"""Files that are there to do damage are refused, in one line and at once."""

import gzip
import pathlib
import shutil
import tempfile
import time
import tracemalloc
import warnings
import zipfile
from unittest import mock

import h5py
import numpy as np
import pytest
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from keras_regnet import keras2_models
from keras_regnet import open_model
from keras_regnet import safe_files
from keras_regnet.design_space import records
from keras_regnet.weights import __main__ as weights_main
from keras_regnet.weights.readers import hdf5
from keras_regnet.weights.readers import torch_file
from tests.support import hostile
from tests.support import keras_h5_testing
from training.config import config as train_config
from training.data import npz
from training.workdir import checkpoint
from training.workdir import files

pytestmark = pytest.mark.versions

_CONFIG = keras_regnet.AnyNetConfig((1,), (8,), stem_width=8, se_ratio=0.25)
_MAX_SECONDS = 6
_MAX_BYTES = 200e6


class HostileTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.good = pathlib.Path(folder.name)
        cls.model = keras_regnet.AnyNet(
            _CONFIG, input_shape=(32, 32, 3), classes=4
        )
        cls.model.save(cls.good / "a.keras")
        cls.model.save_weights(cls.good / "a.weights.h5")
        with warnings.catch_warnings():
            # Of a format that Keras calls legacy.
            warnings.simplefilter("ignore")
            cls.model.save(cls.good / "a.h5")
        keras_regnet.weights.export(cls.model, cls.good / "a.safetensors")
        cls.keras_2 = keras_h5_testing.unpack(cls)
        shutil.copy(cls.keras_2 / "weights_y.h5", cls.good / "keras2.h5")

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def make(self, name, make):
        path = self.folder / name
        shutil.copy(self.good / name, path)
        make(path)
        return path

    def assert_refused(self, message, read, *arguments):
        """A ValueError of one line, soon, that took little memory."""
        start = time.process_time()
        tracemalloc.start()
        try:
            with self.assertRaisesRegex(ValueError, message) as raised:
                read(*arguments)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertNotIn("\n", str(raised.exception))
        self.assertLess(peak, _MAX_BYTES)
        self.assertLess(time.process_time() - start, _MAX_SECONDS)

    def test_the_good_ones_are_read(self):
        for name in ("a.keras", "a.weights.h5", "a.h5", "a.safetensors"):
            resolved = keras_regnet.weights.resolve(self.good / name, _CONFIG)
            self.assertEqual(resolved.classes, 4)
        self.assertIsNotNone(
            open_model.open_model(self.good / "a.keras").keras_model
        )

    @parameterized.parameters(
        *(
            (file, name)
            for file in ("a.weights.h5", "a.h5", "keras2.h5")
            for name in hostile.HDF5
        )
    )
    def test_hdf5(self, file, name):
        make, message = hostile.HDF5[name]
        path = self.make(file, make)
        resolve = keras_regnet.weights.resolve
        self.assert_refused(message, resolve, path, _CONFIG)
        self.assert_refused(message, weights_main.verify, str(path))

    def test_hdf5_of_many_objects(self):
        path = self.good / "a.weights.h5"
        with mock.patch.object(hdf5, "_MAX_OBJECTS", 20):
            self.assert_refused(
                "holds more than 20 objects",
                keras_regnet.weights.resolve,
                path,
                _CONFIG,
            )

    @parameterized.parameters(*hostile.ARCHIVES)
    def test_archives(self, name):
        make, message = hostile.ARCHIVES[name]
        path = self.make("a.keras", make)
        resolve = keras_regnet.weights.resolve
        self.assert_refused(message, resolve, path, _CONFIG)
        self.assert_refused(message, open_model.open_model, path)

    @parameterized.parameters(
        ('"units": 3', f'"units": {hostile.HUGE}', "'flowers' has units="),
        ('"Dense"', '"Lambda"', "cannot be rebuilt in Keras 3"),
        ('"Dense"', '"TFOpLambda"', "cannot be rebuilt"),
        ('"Dense"', '"system"', "cannot be rebuilt in Keras 3"),
    )
    def test_models_of_keras_2(self, old, new, message):
        path = self.folder / "two_dense.h5"
        shutil.copy(self.keras_2 / "two_dense.h5", path)
        with h5py.File(path, "r+") as file:
            text = file.attrs["model_config"]
            self.assertIn(old, text)
            file.attrs["model_config"] = text.replace(old, new)
        self.assert_refused(message, keras2_models.load_model, path)

    @parameterized.parameters(*hostile.MODELS)
    def test_models(self, name):
        make, message = hostile.MODELS[name]
        path = self.make("a.keras", make)
        self.assert_refused(message, open_model.open_model, path)

    def test_a_model_that_describes_a_large_network(self):
        """It is not built: the file does not hold its tensors."""
        wide = keras_regnet.AnyNetConfig((9,), (2**20,)).to_json()

        def widen(path):
            with zipfile.ZipFile(path) as archive:
                config = archive.read("config.json").decode()
            old = _CONFIG.to_json().replace('"', '\\"')
            self.assertIn(old, config)
            config = config.replace(old, wide.replace('"', '\\"'))
            hostile.rewrite(path, config=config.encode())

        path = self.make("a.keras", widen)
        resolve = keras_regnet.weights.resolve
        self.assert_refused("holds .* of the .* numbers that", resolve, path)

    @parameterized.parameters(*hostile.SAFETENSORS)
    def test_safetensors(self, name):
        make, message = hostile.SAFETENSORS[name]
        path = self.make("a.safetensors", make)
        resolve = keras_regnet.weights.resolve
        self.assert_refused(message, resolve, path, _CONFIG)
        self.assert_refused(message, weights_main.verify, str(path))

    @parameterized.parameters(
        "absolute path", "path upward", "link", "zeros", "odd method"
    )
    def test_archives_of_pytorch(self, name):
        make, message = hostile.ARCHIVES[name]
        path = self.folder / "a.pth"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", b"")
        make(path)
        self.assert_refused(message, torch_file.read, path)

    @parameterized.parameters(*hostile.ARRAYS)
    def test_arrays(self, name):
        make, message = hostile.ARRAYS[name]
        path = self.folder / "a.npz"
        np.savez(path, train_images=np.zeros((4, 8, 8), "uint8"))
        make(path)
        self.assert_refused(message, safe_files.load_npz, path)
        config = train_config.TrainConfig()
        self.assert_refused(message, npz.load_npz, path, config)
        folder = self.folder / "checkpoints"
        folder.mkdir()
        path.rename(folder / "step-000000001.npz")
        self.assert_refused(
            "No checkpoint of the run can be read", checkpoint.newest, folder
        )

    @parameterized.parameters(
        (b"[" * 10**5, "nested deeper"),
        (b'{"config": ' + b" " * 2**23 + b"{}}", "is too long"),
        (b'{"a": 1, "a": 2}', "'a' is named twice"),
        (b'{"network": "\xff"}', "is not JSON"),
        (b"1" * 5000, "is not JSON"),
    )
    def test_json(self, content, message):
        path = self.folder / "config.json"
        path.write_bytes(content)
        read = files.stored_architecture
        self.assert_refused(message, read, self.folder)
        line = self.folder / "records.jsonl"
        line.write_bytes(content + b"\n")
        self.assert_refused(message, records.read, line)

    def test_packed_records(self):
        path = self.folder / "records.jsonl.gz"
        path.write_bytes(gzip.compress(bytes(10**9 // 8)))
        self.assert_refused("would unpack to more", records.read, path)

    @parameterized.parameters(
        ('"depths": [1000000000], "widths": [8]', "`depths` must be at most"),
        ('"depths": [9999, 9999], "widths": 8', "the sum of depths` must be"),
        (f'"depths": [1], "widths": [{10**400}]', "`widths` must be at most"),
        (f'"depths": [{"1," * 20_000}1], "widths": 8', "number of stages"),
        ('"depths": ' + "[" * 10**5, "nested deeper"),
        ('"depths": [[1]], "widths": 8', "`depths` must be an integer"),
        ('"depths": [1], "depths": [2], "widths": 8', "named twice"),
    )
    def test_configurations(self, fields, message):
        text = '{"type": "AnyNetConfig", ' + fields + "}"
        self.assert_refused(message, keras_regnet.config.from_json, text)

    def test_nothing_is_touched(self):
        before = self.model.get_weights()
        path = self.make("a.weights.h5", lambda path: None)
        with h5py.File(path, "r+") as file:
            file["layers/dense/vars/0"][...] = np.nan
        resolved = keras_regnet.weights.resolve(path, _CONFIG)
        with self.assertRaisesRegex(ValueError, "'head_fc/kernel' holds NaN"):
            resolved.assign(self.model)
        for value, old in zip(self.model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(value, old)


if __name__ == "__main__":
    absltest.main()
