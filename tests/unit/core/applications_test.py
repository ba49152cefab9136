"""keras_regnet.applications stands in for Keras 2's, whole models included."""

import contextlib
import inspect
import json
import shutil

import h5py
import keras
import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from keras_regnet import applications
from keras_regnet import plan
from keras_regnet.weights import fetch
from tests.support import keras_h5_testing

_SIGNATURE = {
    "model_name": "{name}",
    "include_top": True,
    "include_preprocessing": True,
    "weights": "imagenet",
    "input_tensor": None,
    "input_shape": None,
    "pooling": None,
    "classes": 1000,
    "classifier_activation": "softmax",
}
# Depths and widths in tf_keras's own table.
_TABLE = {
    "RegNetX002": ((1, 1, 4, 7), (24, 56, 152, 368)),
    "RegNetX004": ((1, 2, 7, 12), (32, 64, 160, 384)),
    "RegNetX006": ((1, 3, 5, 7), (48, 96, 240, 528)),
    "RegNetX008": ((1, 3, 7, 5), (64, 128, 288, 672)),
    "RegNetX016": ((2, 4, 10, 2), (72, 168, 408, 912)),
    "RegNetX032": ((2, 6, 15, 2), (96, 192, 432, 1008)),
    "RegNetX040": ((2, 5, 14, 2), (80, 240, 560, 1360)),
    "RegNetX064": ((2, 4, 10, 1), (168, 392, 784, 1624)),
    "RegNetX080": ((2, 5, 15, 1), (80, 240, 720, 1920)),
    "RegNetX120": ((2, 5, 11, 1), (224, 448, 896, 2240)),
    "RegNetX160": ((2, 6, 13, 1), (256, 512, 896, 2048)),
    "RegNetX320": ((2, 7, 13, 1), (336, 672, 1344, 2520)),
    "RegNetY002": ((1, 1, 4, 7), (24, 56, 152, 368)),
    "RegNetY004": ((1, 3, 6, 6), (48, 104, 208, 440)),
    "RegNetY006": ((1, 3, 7, 4), (48, 112, 256, 608)),
    "RegNetY008": ((1, 3, 8, 2), (64, 128, 320, 768)),
    "RegNetY016": ((2, 6, 17, 2), (48, 120, 336, 888)),
    "RegNetY032": ((2, 5, 13, 1), (72, 216, 576, 1512)),
    "RegNetY040": ((2, 6, 12, 2), (128, 192, 512, 1088)),
    "RegNetY064": ((2, 7, 14, 2), (144, 288, 576, 1296)),
    "RegNetY080": ((2, 4, 10, 1), (168, 448, 896, 2016)),
    "RegNetY120": ((2, 5, 11, 1), (224, 448, 896, 2240)),
    "RegNetY160": ((2, 4, 11, 1), (224, 448, 1232, 3024)),
    "RegNetY320": ((2, 5, 12, 1), (232, 696, 1392, 3712)),
}
_SMALL = {"input_shape": (32, 32, 3)}


class ApplicationsTest(parameterized.TestCase):
    @parameterized.parameters(*_TABLE)
    def test_functions(self, name):
        function = getattr(applications, name)
        self.assertEqual(function.__name__, name)
        self.assertIn(f"tf_keras.applications.{name}`", function.__doc__)
        defaults = {
            parameter.name: parameter.default
            for parameter in inspect.signature(function).parameters.values()
        }
        self.assertEqual(defaults, {**_SIGNATURE, "model_name": name.lower()})
        self.assertEqual(list(defaults), list(_SIGNATURE))
        with absltest.mock.patch.object(applications.models, "build") as build:
            function(weights=None)
        config = build.call_args.args[1].config
        stages = plan.stages(config)
        depths, widths = _TABLE[name]
        self.assertEqual(tuple(s.depth for s in stages), depths)
        self.assertEqual(tuple(s.width for s in stages), widths)
        self.assertEqual(bool(config.se_ratio), "Y" in name)
        self.assertEqual(config.padding, "same")

    def test_all_are_listed(self):
        listed = [n for n in applications.__all__ if n.startswith("RegNet")]
        self.assertCountEqual(listed, _TABLE)

    def test_input_is_divided_by_255(self):
        images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3))
        model = applications.RegNetX002(weights=None, **_SMALL)
        bare = applications.RegNetX002(
            weights=None, include_preprocessing=False, **_SMALL
        )
        bare.set_weights(model.get_weights())
        np.testing.assert_allclose(
            model(images, training=False),
            bare(images / 255, training=False),
            rtol=1e-4,
        )
        self.assertEqual(model.name, "regnetx002")

    def test_activation_is_applied(self):
        model = applications.RegNetX002(weights=None, classes=7, **_SMALL)
        images = np.full((1, 32, 32, 3), 99.0)
        outputs = model(images, training=False)
        self.assertAlmostEqual(float(np.sum(outputs)), 1, delta=1e-5)
        logits = keras.Model(model.input, model.get_layer("head_fc").output)(
            images, training=False
        )
        self.assertNotAlmostEqual(float(np.sum(logits)), 1, delta=1e-3)

    def test_without_top(self):
        model = applications.RegNetY002(
            "backbone", weights=None, include_top=False, pooling="max"
        )
        self.assertEqual(model.name, "backbone")
        self.assertEqual(model.input.shape, (None, None, None, 3))
        self.assertEqual(model.output.shape, (None, 368))

    def test_imagenet_needs_its_classes(self):
        with self.assertRaisesRegex(
            ValueError, "`classes` must be 1000 .*Received: classes=10"
        ):
            applications.RegNetX002(classes=10)

    @parameterized.parameters((True, "regnety004.h5"), (False, "_notop.h5"))
    def test_imagenet_is_the_file_of_keras(self, include_top, ending):
        with (
            absltest.mock.patch.object(
                fetch, "from_url", side_effect=OSError("no network")
            ) as from_url,
            self.assertRaisesRegex(OSError, "no network"),
        ):
            applications.RegNetY004(include_top=include_top)
        self.assertEndsWith(from_url.call_args.args[0], ending)
        self.assertLen(from_url.call_args.args[1], 64)

    def test_preprocess_input_changes_nothing(self):
        images = np.ones((1, 2, 2, 3))
        self.assertIs(applications.preprocess_input(images), images)

    def test_decode_predictions(self):
        scores = np.zeros((1, 1000))
        scores[0, [7, 42]] = 0.25, 0.75
        self.assertEqual(
            applications.decode_predictions(scores, top=2),
            [[("n01687978", "agama", 0.75), ("n01514668", "cock", 0.25)]],
        )
        with self.assertRaisesRegex(ValueError, "1000"):
            applications.decode_predictions(np.zeros((1, 10)))


class PublishedFileTest(parameterized.TestCase):
    """The tag "keras_in1k", with a file of random weights in its place."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = keras_h5_testing.unpack(cls)
        cls.path = cls.folder / "regnetx002.h5"
        cls.model = applications.RegNetX002(weights=None, **_SMALL)
        keras_h5_testing.write(cls.model, cls.path, "regnetx002")
        rng = np.random.default_rng(0)
        cls.images = rng.uniform(0, 255, (2, 32, 32, 3))
        cls.outputs = cls.model(cls.images, training=False)

    def assert_is_the_model(self, model):
        np.testing.assert_allclose(
            model(self.images, training=False), self.outputs, rtol=1e-5
        )

    def test_by_path(self):
        self.assert_is_the_model(
            applications.RegNetX002(weights=self.path, **_SMALL)
        )

    def test_by_tag(self):
        with absltest.mock.patch.object(fetch, "fetch", return_value=self.path):
            self.assert_is_the_model(
                keras_regnet.RegNetX("200MF", weights="keras_in1k", **_SMALL)
            )
            self.assert_is_the_model(applications.RegNetX002(**_SMALL))

    @parameterized.parameters("saved.keras", "saved.weights.h5")
    def test_our_own_files(self, name):
        path = self.folder / name
        save = self.model.save
        if name.endswith(".weights.h5"):
            save = self.model.save_weights
        save(path)
        self.assert_is_the_model(
            applications.RegNetX002(weights=path, **_SMALL)
        )

    def test_our_file_of_a_model_that_did_not_normalise(self):
        bare = applications.RegNetX002(
            weights=None, include_top=False, include_preprocessing=False
        )
        path = self.folder / "bare.keras"
        bare.save(path)
        model = applications.RegNetX002(weights=path, include_top=False)
        images = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3))
        np.testing.assert_allclose(
            model(images, training=False),
            bare(images / 255, training=False),
            rtol=1e-4,
            atol=1e-5,
        )

    def test_files_that_were_trained_otherwise(self):
        other = keras_regnet.RegNetX("200MF", **_SMALL)
        path = self.folder / "other.keras"
        other.save(path)
        model = applications.RegNetX002(weights=path, **_SMALL)
        self.assertEqual(model.network, other.network)
        np.testing.assert_allclose(
            model(self.images, training=False),
            other(self.images, training=False),
            rtol=1e-5,
        )


class LoadModelTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = keras_h5_testing.unpack(cls)
        cls.expected = keras_h5_testing.expected()
        cls.images = cls.expected["images"].astype("float32")

    def load(self, name, **arguments):
        return applications.load_model(
            self.folder / keras_h5_testing.file_name(name), **arguments
        )

    @contextlib.contextmanager
    def edited(self, name):
        """Yields the layers that a file describes, and saves what changed."""
        path = self.folder / "edited.h5"
        shutil.copy(self.folder / f"{name}.h5", path)
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            yield config["config"]["layers"]
            file.attrs["model_config"] = json.dumps(config)

    def assert_computes_the_same(self, model, name):
        images = self.images / (255 if name == "whole_x" else 1)
        expected = self.expected[name]
        scale = np.abs(expected).max()
        got = model(images, training=False)
        np.testing.assert_allclose(got / scale, expected / scale, atol=2e-6)

    @parameterized.parameters(*keras_h5_testing.WHOLE)
    def test_computes_the_same(self, name):
        model = self.load(name)
        self.assert_computes_the_same(model, name)
        self.assertEqual(model.network.padding, "same")
        # It takes what was divided by 255 before.
        self.assertEqual(model.record.normalizes, name != "whole_x")
        path = self.folder / "again.keras"
        model.save(path)
        again = keras.saving.load_model(path)
        self.assert_computes_the_same(again, name)
        self.assertLen(again.pyramid_outputs, 5)

    def test_keeps_what_stood_around_the_network(self):
        model = self.load("sequential")
        self.assertIsInstance(model.layers[1], keras.layers.RandomFlip)
        self.assertEqual(model.layers[1].mode, "horizontal")
        kinds = [type(layer).__name__ for layer in model.layers[-3:]]
        self.assertEqual(
            kinds, ["GlobalMaxPooling2D", "BatchNormalization", "Dense"]
        )
        self.assertEqual(self.load("two_dense").name, "fine_tuned")

    def test_descriptions_of_older_versions(self):
        """Before 2.13, an object's module was not in its description."""

        def strip(value):
            if isinstance(value, dict):
                return {
                    key: strip(inner)
                    for key, inner in value.items()
                    if key not in ("module", "registered_name", "build_config")
                }
            return value

        with self.edited("two_dense") as layers:
            layers[:] = map(strip, layers)
        self.assert_computes_the_same(self.load("edited"), "two_dense")

    def test_a_layer_that_was_told_the_size_of_images(self):
        """Keras 2 notes it at the layer and also as an input layer."""
        with self.edited("sequential") as layers:
            shape = layers[0]["config"]["batch_input_shape"]
            layers[1]["config"]["batch_input_shape"] = shape
        self.assert_computes_the_same(self.load("edited"), "sequential")

    def test_weights_alone(self):
        with self.assertRaisesRegex(ValueError, "holds weights and no model"):
            self.load("weights_y")

    def test_branches(self):
        with self.edited("two_dense") as layers:
            second = dict(layers[-1], name="second")
            second["config"] = dict(second["config"], name="second")
            layers.append(second)
        with self.assertRaisesRegex(
            ValueError,
            "cannot be rebuilt: .*branches at 'dropout.*'flowers', 'second'.*"
            "include_top=False",
        ):
            self.load("edited")

    def test_operation_outside_the_network(self):
        with self.edited("two_dense") as layers:
            layers[-2]["class_name"] = "TFOpLambda"
        with self.assertRaisesRegex(
            ValueError, "TensorFlow operation 'dropout.*' outside the network"
        ):
            self.load("edited")

    def test_own_layers(self):
        class Twice(keras.layers.Layer):
            def call(self, inputs):
                return 2 * inputs

        with self.edited("one_dense") as layers:
            layers[-2]["class_name"] = "Twice"
            layers[-2]["config"] = {"name": layers[-2]["config"]["name"]}
        with self.assertRaisesRegex(
            ValueError, "of class 'Twice' cannot be rebuilt .*custom_objects"
        ) as raised:
            self.load("edited")
        self.assertNotIn("\n", str(raised.exception))
        twice = self.load("edited", custom_objects={"Twice": Twice})
        once = self.load("one_dense")
        features = once.layers[-2].input
        got = keras.Model(twice.input, twice.layers[-2].output)
        wanted = keras.Model(once.input, features)
        np.testing.assert_allclose(
            got(self.images, training=False),
            2 * wanted(self.images, training=False),
            rtol=1e-5,
        )

    def test_a_layer_without_weights(self):
        with self.edited("two_dense") as layers:
            layers[-1]["config"]["units"] = 4
        with self.assertRaisesRegex(
            ValueError, "'flowers/kernel' has.* shape .8, 3., where .* .8, 4."
        ):
            self.load("edited")

    def test_another_output_size_is_possible(self):
        model = self.load("two_dense")
        model = keras_regnet.replace_head(model, classes=2)
        self.assertEqual(model.output.shape, (None, 2))


if __name__ == "__main__":
    absltest.main()
