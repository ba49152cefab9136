"""Files that Keras 3 saved of our models: all of a file, or a clear no."""

import dataclasses
import pathlib
import tempfile
import warnings
import zipfile

import keras
import numpy as np
import pytest
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from tests.support import oracle_weights

pytestmark = pytest.mark.versions

_SMALL = keras_regnet.RegNetConfig(3, 16, 16, 2, 8, block="y", stem_width=8)
_NAMES = ("model.keras", "model.weights.h5")


def _build(config=_SMALL, **arguments):
    arguments = {"input_shape": (32, 32, 3), "classes": 4, **arguments}
    return keras_regnet.RegNet(config, **arguments)


class FilesTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.addCleanup(keras.config.set_dtype_policy, "float32")
        self.folder = pathlib.Path(folder.name)

    def save(self, model, name):
        path = self.folder / name
        save = model.save if path.suffix == ".keras" else model.save_weights
        save(path)
        return path

    def save_filled(self, name, **arguments):
        model = _build(**arguments)
        oracle_weights.fill(model)
        return self.save(model, name)

    def assert_computed(self, model, but=()):
        for variable in model.weights:
            if variable.path.split("/")[0] not in but:
                np.testing.assert_array_equal(
                    variable,
                    oracle_weights.weight(variable.path, variable.shape),
                    err_msg=variable.path,
                )

    @parameterized.parameters(*_NAMES)
    def test_other_classes_keep_the_body_and_say_so(self, name):
        path = self.save_filled(name)
        with self.assertWarnsRegex(UserWarning, "4 classes and the model 7"):
            model = _build(weights=path, classes=7)
        self.assert_computed(model, but=["head_fc"])

    @parameterized.parameters(*_NAMES)
    def test_without_the_top(self, name):
        path = self.save_filled(name)
        self.assert_computed(_build(weights=path, include_top=False))

    @parameterized.parameters(*_NAMES)
    def test_other_channels(self, name):
        path = self.save_filled(name)
        model = _build(weights=path, input_shape=(32, 32, 1))
        self.assert_computed(model, but=["stem_conv"])
        kernel = oracle_weights.weight("stem_conv/kernel", (3, 3, 3, 8))
        np.testing.assert_allclose(
            model.get_layer("stem_conv").kernel,
            kernel.sum(axis=2, keepdims=True),
            rtol=1e-6,
        )

    @parameterized.parameters(*_NAMES)
    def test_other_shapes(self, name):
        path = self.save_filled(name)
        wider = dataclasses.replace(_SMALL, stem_width=16)
        message = "where 'stem_conv/kernel' needs"
        if name == "model.keras":
            message = (
                "holds .* of stem_width=8, but .* of stem_width=16 was req"
            )
        with self.assertRaisesRegex(ValueError, message):
            _build(wider, weights=path)

    @parameterized.parameters(*_NAMES)
    def test_another_network_is_named(self, name):
        path = self.save_filled(name)
        with self.assertRaisesRegex(
            ValueError,
            "holds a network of depths 1-1-1 and widths 16-32-64.*but "
            "RegNetX-200MF was requested",
        ):
            keras_regnet.RegNetX("200MF", weights=path)

    @parameterized.parameters(*_NAMES)
    def test_the_rounding_and_stem_may_differ(self, name):
        rounded = keras_regnet.RegNetConfig(
            4, 24, 8, 2, 40, width_rounding="torchvision"
        )
        usual = dataclasses.replace(
            rounded, width_rounding="pycls", stem="cifar"
        )
        self.assertNotEqual(
            keras_regnet.complexity(rounded).params,
            keras_regnet.complexity(usual).params,
        )
        path = self.save_filled(name, config=rounded)
        model = _build(usual, weights=path)
        self.assertEqual(model.network.width_rounding, "torchvision")
        self.assertEqual(model.network.stem, "cifar")
        self.assert_computed(model)

    def test_groups_of_first_blocks(self):
        """They are not the stages' group widths where widths grow inside."""
        config = keras_regnet.AnyNetConfig(
            (1, 2), (16, 24), block="z", expand_from="input", stem_width=8
        )
        options = {"input_shape": (32, 32, 3), "classes": 4}
        model = keras_regnet.build(config, **options)
        oracle_weights.fill(model)
        path = self.save(model, "z.weights.h5")
        self.assert_computed(keras_regnet.build(config, path, **options))

    def test_networks_whose_names_do_not_tell_their_shapes(self):
        config = keras_regnet.AnyNetConfig((1, 1), (8, 16), block="basic")
        build = keras_regnet.AnyNet
        model = build(config, input_shape=(32, 32, 3), classes=4)
        oracle_weights.fill(model)
        path = self.save(model, "basic.weights.h5")
        self.assert_computed(
            build(config, path, input_shape=(32, 32, 3), classes=4)
        )
        with self.assertRaisesRegex(ValueError, "must be named too"):
            keras_regnet.weights.resolve(path)

    def test_a_run_folder_stands_for_its_model(self):
        path = self.save_filled("model.keras")
        self.assert_computed(_build(weights=path.parent))
        self.assert_computed(_build(weights=str(path.parent)))
        with self.assertRaisesRegex(ValueError, "does not exist.*model.keras"):
            _build(weights=self.folder.parent / "none" / "model.keras")
        path.unlink()
        with self.assertRaisesRegex(ValueError, "does not exist.*model.keras"):
            _build(weights=self.folder)

    def test_a_file_tells_its_network(self):
        resolved = keras_regnet.weights.resolve(self.save_filled("model.keras"))
        self.assertEqual(resolved.config, _SMALL)
        self.assertEqual(resolved.classes, 4)

    @parameterized.parameters(*_NAMES)
    def test_a_body_explains_that_it_has_no_classifier(self, name):
        path = self.save_filled(name, include_top=False)
        with self.assertRaisesRegex(ValueError, f"'{name}' has no classifier"):
            _build(weights=path)

    @parameterized.parameters(*_NAMES)
    def test_numbers_that_are_none(self, name):
        model = _build()
        kernel = model.get_layer("stem_conv").kernel
        kernel.assign(np.full(kernel.shape, np.nan))
        path = self.save(model, name)
        with self.assertRaisesRegex(ValueError, "'stem_conv/kernel' holds NaN"):
            _build(weights=path)

    @parameterized.parameters(*_NAMES)
    def test_a_model_in_training(self, name):
        """Optimizers and random generators have numbers of their own."""
        model = _build(dropout_rate=0.1, drop_path_rate=0.1)
        oracle_weights.fill(model)
        model.compile(keras.optimizers.SGD(momentum=0.9), "mse")
        model.optimizer.build(model.trainable_variables)
        self.assert_computed(_build(weights=self.save(model, name)))

    def test_weights_under_another_name(self):
        model = _build()
        oracle_weights.fill(model)
        path = self.folder / "renamed.h5"
        model.save_weights(self.folder / "a.weights.h5")
        (self.folder / "a.weights.h5").rename(path)
        loaded = _build(weights=path)
        self.assertEqual(loaded.network, _SMALL)
        self.assert_computed(loaded)

    def test_a_whole_model_in_hdf5(self):
        """Keras 3 still writes it, with a word of warning."""
        model = _build()
        oracle_weights.fill(model)
        path = self.folder / "model.h5"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.save(path)
        opened = keras.saving.load_model(path)
        self.assertEqual(opened.network, _SMALL)
        self.assert_computed(opened)
        self.assert_computed(_build(weights=path))
        with self.assertWarnsRegex(UserWarning, "4 classes and the model 7"):
            other = _build(weights=str(path), classes=7)
        self.assert_computed(other, but=["head_fc"])
        self.assertEqual(keras_regnet.weights.resolve(path).config, _SMALL)

    @parameterized.parameters(*_NAMES)
    def test_bfloat16(self, name):
        keras.config.set_dtype_policy("bfloat16")
        model = _build()
        path = self.save(model, name)
        keras.config.set_dtype_policy("float32")
        loaded = _build(weights=path)
        for ours, theirs in zip(loaded.weights, model.weights, strict=True):
            np.testing.assert_array_equal(
                ours, keras.ops.cast(theirs, "float32"), err_msg=ours.path
            )

    @parameterized.parameters(*_NAMES)
    def test_no_such_file(self, name):
        path = self.folder / name
        path.write_bytes(b"not a model")
        with self.assertRaisesRegex(ValueError, "of Keras 3, or is damaged"):
            _build(weights=path)

    @parameterized.parameters(*_NAMES)
    def test_damaged_anywhere(self, name):
        """Whatever is hit, the error is one line that names the file."""
        path = self.save_filled(name)
        whole = path.read_bytes()
        refused = 0
        for seed in range(30):
            rng = np.random.default_rng(seed)
            damaged = bytearray(whole)
            for place in rng.integers(0, len(whole), 20):
                damaged[place] = rng.integers(256)
            path.write_bytes(damaged)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    keras_regnet.weights.resolve(path, _SMALL)
            except ValueError as error:
                refused += 1
                self.assertNotIn("\n", str(error))
                self.assertIn(str(path), str(error))
        self.assertGreater(refused, 10)

    def test_an_archive_that_would_fill_the_memory(self):
        path = self.folder / "bomb.keras"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("model.weights.h5", bytes(50_000_000))
        with self.assertRaisesRegex(ValueError, "would unpack to 50000000"):
            _build(weights=path)


class ResolvedTest(absltest.TestCase):
    def test_is_for_its_own_network(self):
        resolved = keras_regnet.weights.resolve(None, _SMALL)
        with self.assertRaisesRegex(ValueError, "for another network"):
            keras_regnet.RegNetX("200MF", weights=resolved)

    def test_what_names_no_weights(self):
        for weights in (5, b"a.pth", ["a.pth"], {"a": 1}, True):
            with self.assertRaisesRegex(ValueError, "None, a name, a path"):
                _build(weights=weights)


if __name__ == "__main__":
    absltest.main()
