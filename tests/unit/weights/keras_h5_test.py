"""`.h5` files of Keras 2 load by name, strictly, and compute the same."""

import contextlib
import json
import shutil
import warnings

import h5py
import keras
import numpy as np
import pytest
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from keras_regnet.weights import mapping
from keras_regnet.weights.readers import keras2_file
from keras_regnet.weights.readers import keras_numbered
from tests.support import keras_h5_testing

pytestmark = pytest.mark.versions

# Names and places of tensors that must not be taken for each other: of one
# shape, in the block where main path and shortcut meet.
_BLOCK = "Stage_0_XBlock_0"
_TWINS = (
    ("conv_1x1_2/kernel", "skip_1x1/kernel"),
    ("conv_1x1_2_bn/gamma", "skip_bn/gamma"),
    ("conv_1x1_2_bn/moving_mean", "skip_bn/moving_mean"),
    ("conv_1x1_1/kernel", "conv_1x1_2/kernel"),
)


class KerasH5Test(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = keras_h5_testing.unpack(cls)
        cls.expected = keras_h5_testing.expected()
        cls.images = cls.expected["images"].astype("float32")

    def path(self, name):
        return self.folder / keras_h5_testing.file_name(name)

    def build(self, name, path=None, **arguments):
        return keras_regnet.AnyNet(
            keras_h5_testing.config(name),
            weights=path or self.path(name),
            **{
                "input_shape": self.images.shape[1:],
                "classes": keras_h5_testing.CLASSES.get(name, 3),
                "classifier_activation": None,
                **arguments,
            },
        )

    @contextlib.contextmanager
    def edited(self, name):
        """Opens a copy of a file; yields (file, path)."""
        path = self.folder / "edited.h5"
        shutil.copy(self.path(name), path)
        with h5py.File(path, "r+") as file:
            yield file.get("model_weights", file), path

    def assert_equal_outputs(self, model, images, expected):
        got = model(images, training=False)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(got / scale, expected / scale, atol=2e-6)

    @parameterized.parameters(
        ("weights_y", {}),
        ("numbered_weights", {}),
        ("whole_x", {}),
        ("one_dense", {"classifier_activation": "softmax"}),
        ("notop_x", {"include_top": False}),
    )
    def test_computes_the_same(self, name, arguments):
        model = self.build(name, **arguments)
        self.assertEqual(model.network.padding, "same")
        self.assert_equal_outputs(model, self.images, self.expected[name])

    def test_without_preprocessing(self):
        model = self.build("whole_x", include_preprocessing=False)
        self.assert_equal_outputs(
            model, self.images / 255, self.expected["whole_x"]
        )

    def test_keras_loads_it_by_order(self):
        """Our graph has the order of theirs, swapped twins would show."""
        model = keras_regnet.AnyNet(
            keras_h5_testing.config("weights_y"),
            classes=5,
            input_shape=self.images.shape[1:],
        )
        model.load_weights(self.path("weights_y"))
        ours = self.build("weights_y")
        for got, wanted in zip(model.weights, ours.weights, strict=True):
            np.testing.assert_array_equal(got, wanted, wanted.path)

    @parameterized.parameters(*_TWINS)
    def test_twins_of_one_shape(self, first, second):
        """A file's names settle which is which, in whatever order they are."""
        tensors = keras2_file.read(self.path("whole_x"))
        first, second = f"{_BLOCK}_{first}", f"{_BLOCK}_{second}"
        self.assertEqual(tensors.shapes[first], tensors.shapes[second])
        self.assertGreater(np.abs(tensors[first] - tensors[second]).max(), 0.1)
        model = self.build("whole_x")
        sources = mapping.of_format(
            keras_h5_testing.config("whole_x"), "keras_applications"
        )
        for variable in model.weights:
            source = sources[variable.path].name
            if source in (first, second):
                np.testing.assert_array_equal(variable, tensors[source])
        with self.edited("whole_x") as (file, path):
            order = file.attrs["layer_names"][::-1]
            del file.attrs["layer_names"]
            file.attrs["layer_names"] = order
        for got, wanted in zip(
            self.build("whole_x", path).weights, model.weights, strict=True
        ):
            np.testing.assert_array_equal(got, wanted)

    def test_other_number_of_classes(self):
        with self.assertWarnsRegex(
            UserWarning, "classifies 5 classes and the model 2.*but the class"
        ):
            model = self.build("weights_y", classes=2)
        whole = self.build("weights_y")
        self.assertEqual(model.get_layer("head_fc").units, 2)
        np.testing.assert_array_equal(
            model.get_layer("stage4_block1_conv3").kernel,
            whole.get_layer("stage4_block1_conv3").kernel,
        )

    @parameterized.parameters(
        ("two_dense", "'flowers', 'hidden'"),
        ("numbered_whole", "'hidden', 'flowers'"),
        ("sequential", "'batch_normalization', 'dense'"),
    )
    def test_says_which_layers_it_leaves_out(self, name, layers):
        with self.assertWarnsRegex(
            UserWarning, f"'base' and, around it, the layers {layers}, which"
        ):
            model = self.build(name, include_top=False, pooling="avg")
        self.assertEqual(model.output.shape, (None, 24))

    @parameterized.parameters(
        "two_dense", "sequential", "notop_x", "numbered_whole"
    )
    def test_no_classifier_to_take(self, name):
        with (
            warnings.catch_warnings(),
            self.assertRaisesRegex(ValueError, "has no classifier"),
        ):
            # Of what is left out, which the test above is about.
            warnings.simplefilter("ignore")
            self.build(name)

    def test_dense_layer_on_another_pool_is_no_classifier(self):
        with self.edited("one_dense") as (file, path):
            config = json.loads(file.parent.attrs["model_config"])
            pool = config["config"]["layers"][2]
            self.assertEqual(pool["class_name"], "GlobalAveragePooling2D")
            pool["class_name"] = "GlobalMaxPooling2D"
            file.parent.attrs["model_config"] = json.dumps(config)
        self.assertIsNone(keras2_file.open_file(path).classifier())
        self.assertEqual(
            keras2_file.open_file(self.path("one_dense")).classifier(),
            "flowers",
        )

    def test_dense_layer_without_bias(self):
        with self.edited("weights_y") as (file, path):
            del file["1head_dense/1head_dense/bias:0"]
        model = self.build("weights_y", path)
        bias = np.array(self.build("weights_y").get_layer("head_fc").bias)
        self.assert_equal_outputs(
            model, self.images, self.expected["weights_y"] - bias
        )

    def test_names_in_pieces(self):
        """Keras splits lists of names that are too long for HDF5."""
        with self.edited("weights_y") as (file, path):
            layers = file.attrs["layer_names"]
            del file.attrs["layer_names"]
            file.attrs["layer_names0"] = layers[:50]
            file.attrs["layer_names1"] = layers[50:]
        self.assert_equal_outputs(
            self.build("weights_y", path),
            self.images,
            self.expected["weights_y"],
        )

    def test_lists_what_is_missing_and_left_over(self):
        with self.edited("weights_y") as (file, path):
            for old, new in (("gamma", "gama"), ("beta", "betta")):
                name = f"regnety002_stem_bn/{old}:0"
                file["regnety002_stem_bn"].move(name, name.replace(old, new))
        with self.assertRaisesRegex(
            ValueError,
            "missing in the file: stem_bn/beta, stem_bn/gamma; left over in "
            "it: stem_bn/betta, stem_bn/gama",
        ):
            self.build("weights_y", path)

    def test_not_a_number(self):
        with self.edited("weights_y") as (file, path):
            file["regnety002_stem_bn/regnety002_stem_bn/beta:0"][3] = np.nan
        with self.assertRaisesRegex(ValueError, "'stem_bn/beta' holds NaN"):
            self.build("weights_y", path)

    def test_another_network(self):
        with self.assertRaisesRegex(
            ValueError, "depths 1-2-1-1 .*but RegNetY-200MF was req"
        ):
            keras_regnet.RegNetY("200MF", weights=self.path("weights_y"))

    def test_no_regnet(self):
        path = self.folder / "other.h5"
        inputs = keras.Input((4,))
        outputs = keras.layers.Dense(2, name="lone")(inputs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            keras.Model(inputs, outputs).save(path)
        with self.assertRaisesRegex(
            ValueError, "not named as .*'lone/0'.*, but .* was requested"
        ):
            self.build("weights_y", path)

    def test_two_networks(self):
        with self.edited("whole_x") as (file, path):
            file.copy("my_net_stem_conv", "b_stem_conv")
            file["b_stem_conv"].move("my_net_stem_conv", "b_stem_conv")
        with self.assertRaisesRegex(ValueError, "2 networks: 'b', 'my_net'"):
            self.build("whole_x", path)

    def test_numbers_notice_an_exchange(self):
        """Without names, only the order tells main path from shortcut."""
        path = self.folder / "exchanged.weights.h5"
        places = self.write_trained(path)
        self.build("numbered_weights", path)
        with h5py.File(path, "r+") as file:
            for stage in range(4):
                block = f"network_Stage_{stage}_YBlock_0_"
                for number in range(4):
                    first, second = (
                        file[places[f"{block}{norm}/gamma"]].parent[str(number)]
                        for norm in ("conv_1x1_2_bn", "skip_bn")
                    )
                    first[...], second[...] = second[...], first[...]
        with self.assertRaisesRegex(ValueError, "not in Keras 2's order"):
            self.build("numbered_weights", path)

    def write_trained(self, path):
        """Writes a file whose norms have seen what their kernels give.

        Returns where its tensors are.
        """
        shutil.copy(self.path("numbered_weights"), path)
        rng = np.random.default_rng(0)
        with h5py.File(path, "r+") as file:
            places = keras_numbered.paths_by_order(file)
            for name, place in places.items():
                layer, variable = name.rsplit("/", 1)
                norm = {"conv_1x1_2": "conv_1x1_2_bn", "skip_1x1": "skip_bn"}
                part = layer.split("Block_0_")[-1]
                if variable != "kernel" or part not in norm:
                    continue
                kernel = file[place]
                gains = np.exp(rng.normal(0, 1, kernel.shape[-1]))
                kernel[...] = kernel[...] * gains
                there = f"{layer.removesuffix(part)}{norm[part]}"
                variance = file[places[f"{there}/moving_variance"]]
                variance[...] = np.square(kernel[...]).sum((0, 1, 2))
        return places

    @parameterized.parameters(
        ("numbered_weights", True), ("numbered_whole", True), ("ours", False)
    )
    def test_who_wrote_a_file(self, name, by_keras_2):
        path = self.path(name)
        if name == "ours":
            path = self.folder / "ours.weights.h5"
            self.build("weights_y").save_weights(path)
        self.assertEqual(keras2_file.is_of_keras_2(path), by_keras_2)

    @parameterized.named_parameters(
        ("empty", lambda content: b""),
        ("truncated", lambda content: content[: len(content) // 2]),
        ("random", lambda content: np.random.default_rng(0).bytes(9999)),
    )
    def test_damaged(self, damage):
        path = self.folder / "damaged.h5"
        path.write_bytes(damage(self.path("weights_y").read_bytes()))
        with self.assertRaisesRegex(
            ValueError, "damaged.h5' is not a file of Keras 2, or is damaged"
        ) as raised:
            self.build("weights_y", path)
        self.assertNotIn("\n", str(raised.exception))

    def test_other_hdf5(self):
        path = self.folder / "plain.h5"
        with h5py.File(path, "w") as file:
            file["x"] = np.zeros(3)
        with self.assertRaisesRegex(ValueError, "no attribute layer_names"):
            self.build("weights_y", path)


if __name__ == "__main__":
    absltest.main()
