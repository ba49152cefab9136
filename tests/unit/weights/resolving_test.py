"""What the argument `weights` makes of a model, and what it refuses."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import tempfile
import warnings
from unittest import mock

import numpy as np
import safetensors.numpy
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from keras_regnet import open_model
from keras_regnet.weights import detect
from keras_regnet.weights import fetch
from keras_regnet.weights import formats
from keras_regnet.weights import records
from keras_regnet.weights import save
from keras_regnet.weights.readers import tensors
from tests.support import oracle_weights

_SMALL = keras_regnet.RegNetConfig(3, 16, 16, 2, 8, block="y", stem_width=8)
_SHAPE = (32, 32, 3)


def _filled(config, **arguments):
    model = keras_regnet.build(config, input_shape=_SHAPE, **arguments)
    oracle_weights.fill(model)
    return model


def _flat(tensor):
    return np.asarray(tensor).ravel()


class FolderTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)

    def write(self, name, state):
        path = self.folder / name
        safetensors.numpy.save_file(state, path)
        return path

    def assert_computed(self, model, *, but=()):
        """Every variable has its computed value, but those of some layers."""
        for variable in model.weights:
            if variable.path.split("/")[0] not in but:
                np.testing.assert_array_equal(
                    variable,
                    oracle_weights.weight(variable.path, variable.shape),
                    err_msg=variable.path,
                )


class TransferTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.path = cls.folder / "small.safetensors"
        save.export(_filled(_SMALL, classes=4), cls.path, "timm")

    def build(self, config=_SMALL, **arguments):
        arguments = {"input_shape": _SHAPE, "classes": 4, **arguments}
        return keras_regnet.build(config, weights=self.path, **arguments)

    def test_all(self):
        model = self.build()
        self.assert_computed(model)
        layer = model.get_layer("normalise")
        np.testing.assert_allclose(_flat(layer.mean), records.IMAGENET_MEAN)

    def test_other_classes_keep_the_body_and_say_so(self):
        message = "4 classes and the model 9: everything but the classifier"
        with self.assertWarnsRegex(UserWarning, message):
            model = self.build(classes=9)
        self.assert_computed(model, but=["head_fc"])
        # Initialised as ever: narrow and around zero.
        kernel = np.asarray(model.get_layer("head_fc").kernel)
        self.assertLess(np.abs(kernel).max(), 0.1)

    def test_a_run_that_has_not_ended(self):
        run = self.folder / "imagenet"
        run.mkdir()
        message = "is a folder, and .* does not exist: model.keras"
        for weights in (run, str(run)):
            with self.assertRaisesRegex(ValueError, message):
                keras_regnet.RegNetY("400MF", weights=weights)
        # A folder beside the process does not hide the tag of its name.
        with contextlib.chdir(self.folder):
            record = records.find("RegNetY-400MF", "imagenet")
            with mock.patch.object(fetch, "fetch") as fetched:
                fetched.side_effect = OSError("not here")
                with self.assertRaisesRegex(OSError, "not here"):
                    keras_regnet.RegNetY("400MF", weights="imagenet")
            self.assertEqual(fetched.call_args.args, (record,))
            (run / "config.json").write_text("{}")
            with self.assertRaisesRegex(ValueError, message):
                keras_regnet.RegNetY("400MF", weights="imagenet")

    def test_in_the_home_folder(self):
        with mock.patch.dict("os.environ", HOME=str(self.folder)):
            resolved = keras_regnet.weights.resolve(
                "~/small.safetensors", _SMALL
            )
        self.assertEqual(resolved.path, self.path)

    def test_without_the_top(self):
        self.assert_computed(self.build(include_top=False, pooling="avg"))

    @parameterized.parameters(1, 4)
    def test_other_channels(self, channels):
        model = self.build(input_shape=(32, 32, channels))
        self.assert_computed(model, but=["stem_conv"])
        three = oracle_weights.weight("stem_conv/kernel", (3, 3, 3, 8))
        np.testing.assert_allclose(
            model.get_layer("stem_conv").kernel[:, :, 0],
            three.sum(axis=2) if channels == 1 else three[:, :, 0] * 0.75,
            rtol=1e-6,
        )

    def test_the_file_s_rounding_and_padding_win(self):
        config = keras_regnet.RegNetConfig(2, 16, 12.5, 2.54, 16, stem_width=8)
        rounded = dataclasses.replace(config, width_rounding="torchvision")
        self.assertNotEqual(
            keras_regnet.complexity(config), keras_regnet.complexity(rounded)
        )
        path = self.folder / "rounded.safetensors"
        save.export(_filled(rounded), path, "torchvision")
        asked = dataclasses.replace(config, padding="same")
        model = keras_regnet.build(asked, weights=path, input_shape=_SHAPE)
        self.assertEqual(model.network, rounded)
        self.assert_computed(model)

    def test_another_network_is_named(self):
        path = self.folder / "y002.safetensors"
        save.export(_filled("RegNetY-200MF"), path, "torchvision")
        with self.assertRaisesRegex(
            ValueError,
            "holds RegNetY-200MF in the names of 'torchvision', but "
            "RegNetX-200MF was requested; squeeze-and-excitation is only in "
            "the file. Received: weights='.*y002.safetens",
        ):
            keras_regnet.RegNetX("200MF", weights=path)
        message = "but a network of .* and widths 16-32-64 was requested"
        with self.assertRaisesRegex(ValueError, message):
            keras_regnet.RegNet(_SMALL, weights=path)

    def test_networks_of_the_same_sizes_are_told_apart(self):
        path = self.folder / "apart.safetensors"
        small = keras_regnet.RegNetConfig(4, 16, 8, 2, 8)
        model = keras_regnet.RegNet(small, input_shape=(32, 32, 3), classes=2)
        save.export(model, path, "timm")
        for change, message in (
            ({"block": "y"}, "squeeze-and-excitation is only in what was req"),
            ({"group_width": 16}, "group widths 8-8 and 16-16"),
        ):
            other = dataclasses.replace(small, **change)
            with self.assertRaisesRegex(ValueError, message):
                keras_regnet.weights.resolve(path, other)

    def test_a_headless_file_explains_itself(self):
        path = self.folder / "body.safetensors"
        save.export(_filled(_SMALL, include_top=False), path, "pycls")
        with self.assertRaisesRegex(
            ValueError, "has no classifier: .* `include_top=False`"
        ):
            keras_regnet.RegNet(_SMALL, weights=path)
        model = keras_regnet.RegNet(_SMALL, weights=path, include_top=False)
        self.assert_computed(model)

    @parameterized.parameters(
        (dict(tag="tv_in1k"), "`tag` says what the file `weights` is"),
        (dict(weights="tv_in1k", tag="a"), "`tag` says what a file is"),
        (dict(weights="tv_in3k"), "Did you mean 'tv_in1k'"),
        (dict(weights="a/b"), "file that ends in .keras, .*, .torch"),
        (dict(weights="a.safetensor"), "file that ends in .keras, .*torch"),
        (dict(weights="/none/a.pth"), "a file that does not exist"),
        (dict(weights="hf:a"), "'hf:owner/name'"),
    )
    def test_refuses(self, arguments, message):
        with self.assertRaisesRegex(ValueError, message):
            keras_regnet.RegNetY("400MF", **arguments)

    def test_a_file_of_keras_brings_its_own_rules(self):
        config = dataclasses.replace(_SMALL, padding="same")
        resolved = keras_regnet.weights.ResolvedWeights(
            config, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)
        )
        path = self.folder / "saved.keras"
        _filled(config, weights=resolved).save(path)
        model = keras_regnet.RegNet(_SMALL, weights=path, input_shape=_SHAPE)
        self.assertEqual(model.network, config)
        layer = model.get_layer("normalise")
        np.testing.assert_allclose(_flat(layer.mean), [1, 2, 3])
        np.testing.assert_allclose(_flat(layer.variance), [16, 25, 36])
        self.assert_computed(model)


class TagsTest(FolderTest):
    """What `fetch` would bring is made here."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.path = cls.folder / "model.safetensors"
        save.export(_filled("RegNetY-200MF"), cls.path, "timm")

    def fetched(self, path=None):
        return mock.patch.object(fetch, "fetch", return_value=path or self.path)

    def test_imagenet(self):
        with self.fetched() as fetched:
            model = keras_regnet.RegNetY("200MF", weights="imagenet")
        record = records.find("RegNetY-200MF", "pycls_in1k@timm")
        fetched.assert_called_once_with(record, include_top=True)
        self.assertEqual(record.licence, "mit")
        self.assert_computed(model)

    @parameterized.parameters(
        lambda **options: keras_regnet.RegNetY("200MF", **options),
        lambda **options: keras_regnet.applications.RegNetY002(**options),
        lambda **options: (
            open_model.open_model("regnety_002", **options).keras_model
        ),
    )
    def test_default(self, build):
        with self.fetched() as fetched:
            model = build(weights="default")
        record = keras_regnet.list_weights("RegNetY-200MF")[0]
        self.assertTrue(record.is_default)
        fetched.assert_called_once_with(record, include_top=True)
        self.assert_computed(model)
        self.assertEqual(model.network.padding, "symmetric")

    def test_a_default_without_a_classifier_needs_no_top(self):
        with self.fetched() as fetched:
            with self.assertRaisesRegex(
                ValueError, "'sup_in1k' has no classifier.*`include_top=False`"
            ):
                keras_regnet.RegNetY("64GF", weights="default")
            fetched.assert_not_called()

    def test_a_tag_says_what_a_file_is(self):
        config = keras_regnet.get_config("RegNetY-200MF")
        tagged = keras_regnet.build(config, weights=self.path, tag="keras_in1k")
        layer = tagged.get_layer("normalise")
        np.testing.assert_allclose(_flat(layer.mean), 0)
        np.testing.assert_allclose(_flat(layer.variance), 255**2)
        self.assertEqual(tagged.network.padding, "same")

    def test_a_file_says_the_order_of_colors(self):
        """Those of timm are RGB, whatever the tag's own file is."""
        config = keras_regnet.get_config("RegNetY-200MF")
        model = keras_regnet.build(
            config, weights=self.path, tag="pycls_in1k@pycls"
        )
        layer = model.get_layer("normalise")
        np.testing.assert_allclose(_flat(layer.mean), records.IMAGENET_MEAN)
        kernel = oracle_weights.weight("stem_conv/kernel", (3, 3, 3, 32))
        np.testing.assert_array_equal(
            model.get_layer("stem_conv").kernel, kernel
        )

    @parameterized.parameters("hf:", "hf://", "hf-hub:")
    def test_hub(self, prefix):
        source = f"{prefix}someone/mine"
        hub = mock.patch.object(fetch, "from_hub", return_value=self.path)
        with hub as from_hub:
            model = keras_regnet.RegNetY("200MF", weights=source)
        from_hub.assert_called_once_with(source)
        self.assert_computed(model)

    def test_hub_repositories_of_published_sets_are_known(self):
        source = "hf://timm/regnety_002.pycls_in1k@main"
        hub = mock.patch.object(fetch, "from_hub", return_value=self.path)
        with hub:
            resolved = keras_regnet.weights.resolve(source)
        self.assertEqual(resolved.record.full_tag, "pycls_in1k@timm")

    def test_licence_is_said_once(self):
        path = self.folder / "y16.safetensors"
        config = keras_regnet.get_config("RegNetY-16GF")
        record = records.find("RegNetY-16GF", "swag_ft_in1k")
        shutil.copy(self.path, path)
        with (
            self.fetched(path),
            warnings.catch_warnings(record=True) as caught,
        ):
            warnings.simplefilter("always")
            # Not the network asked for: nothing as large is built here.
            with self.assertRaisesRegex(ValueError, "holds RegNetY-200MF"):
                keras_regnet.RegNet(config, weights="swag_ft_in1k")
        (warning,) = caught
        self.assertIn(f"license {record.licence!r}", str(warning.message))
        self.assertIn("no commercial use", str(warning.message))

    def test_headless_sets_explain_themselves_before_they_are_fetched(self):
        with self.fetched() as fetched:
            with self.assertRaisesRegex(
                ValueError, "'seer' has no classifier: .* without labels"
            ):
                keras_regnet.RegNetY("32GF", weights="seer")
            fetched.assert_not_called()

    def test_every_published_file_can_be_read(self):
        for record in records.all_records():
            self.assertIn(record.format, formats.FORMATS)

    def test_unpublished_networks_have_no_tags(self):
        with self.assertRaisesRegex(ValueError, "a network that was not publ"):
            keras_regnet.RegNet(_SMALL, weights="imagenet")

    def test_a_known_hash_names_the_licence(self):
        """A file of SWAG is one, whatever it is called."""
        digest = records.find("RegNetY-16GF", "swag_lc_in1k@torchvision").sha256
        known = dataclasses.replace(
            records.find("RegNetY-200MF", "pycls_in1k@timm"),
            licence="cc-by-nc-4.0",
            sha256=digest,
        )
        with (
            mock.patch.object(records, "of_format", return_value=[known]),
            mock.patch.object(fetch, "sha256", return_value=digest + "0" * 56),
            mock.patch.object(records, "by_digest", return_value=[known]),
            self.assertWarnsRegex(UserWarning, "no commercial use"),
        ):
            keras_regnet.RegNetY("200MF", weights=self.path)

    def test_names_that_only_non_commercial_sets_have(self):
        """SWAG published no hashes; its file is one, whatever it is called."""
        config = keras_regnet.get_config("RegNetY-16GF")
        found = detect.DetectedCheckpoint(
            "swag",
            formats.FORMATS["swag"],
            tensors.Tensors({}, None),
            detect.stage_shapes(config),
            has_se=True,
            has_head_conv=False,
            classes=1000,
        )
        read = mock.patch.object(detect, "detect", return_value=found)
        path = self.folder / "mine.safetensors"
        shutil.copy(self.path, path)
        with read, self.assertWarnsRegex(UserWarning, "no commercial use"):
            keras_regnet.weights.resolve(path, config, include_top=False)


class BadFilesTest(FolderTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.state = save.state_dict(_filled(_SMALL, classes=4), "timm")

    def refuse(self, path, message):
        with self.assertRaisesRegex(ValueError, message) as raised:
            keras_regnet.RegNet(
                _SMALL, weights=path, classes=4, input_shape=_SHAPE
            )
        self.assertNotIn("\n", str(raised.exception))
        self.assertIn(str(path), str(raised.exception))

    def test_damaged_files(self):
        whole = self.write("whole.safetensors", self.state).read_bytes()
        for name, content in {
            "empty": b"",
            "random": os.urandom(1000),
            "truncated": whole[:-1000],
            "header_only": whole[:8],
        }.items():
            path = self.folder / f"{name}.safetensors"
            path.write_bytes(content)
            self.refuse(path, "is not a safetensors file, or is damaged")

    @parameterized.named_parameters(
        ("resnet", {"conv1.weight": 4}, "not named as a RegNet's"),
        ("missing", {"s1.b1.conv2.conv.weight": None}, "missing in the file"),
        (
            "renamed",
            {"stem.bn.weight": None, "stem.n": 1},
            "left over .* stem.n",
        ),
        ("half_a_head", {"head.fc.bias": None}, "missing .* head.fc.bias;"),
        ("wrong_shape", {"stem.bn.weight": 9}, r"the shape \(9,\)"),
    )
    def test_other_tensors(self, changes, message):
        state = {} if "conv1.weight" in changes else dict(self.state)
        for name, size in changes.items():
            state.pop(name, None)
            if size is not None:
                state[name] = np.ones(size, "f4")
        path = self.write("changed.safetensors", state)
        self.refuse(path, message)

    def test_nan(self):
        state = {**self.state, "head.fc.bias": np.full(4, np.nan, "f4")}
        self.refuse(self.write("nan.safetensors", state), "NaN or infinity")

    def test_odd_numbers(self):
        state = {**self.state, "head.fc.bias": np.zeros(4, "uint8")}
        path = self.write("bytes.safetensors", state)
        self.refuse(path, "of type U8. Allowed: F64")

    def test_half_precision_is_widened(self):
        halves = {
            name: array.astype("f2") if array.dtype == "f4" else array
            for name, array in self.state.items()
        }
        model = keras_regnet.RegNet(
            _SMALL,
            weights=self.write("half.safetensors", halves),
            classes=4,
            input_shape=_SHAPE,
        )
        np.testing.assert_array_equal(
            model.get_layer("head_fc").bias, halves["head.fc.bias"]
        )


if __name__ == "__main__":
    absltest.main()
