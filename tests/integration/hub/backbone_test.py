"""The backbone: KerasHub's own tests, and the network of the package."""

import os
import tempfile

import keras
import keras_hub
import numpy as np
import pytest
from absl.testing import absltest
from absl.testing import parameterized
from keras_hub.src.tests import test_case

import keras_regnet
from keras_regnet import hub

_CONFIG = keras_regnet.AnyNetConfig(
    (1, 2), (16, 32), group_widths=8, se_ratio=0.25
)
_PYRAMID = {"P1": (16, 16), "P2": (8, 8), "P3": (4, 4)}


def _images(size=32, count=2):
    rng = np.random.default_rng(0)
    return rng.uniform(0, 255, (count, size, size, 3)).astype("float32")


def _trained(**options):
    """Returns a network whose statistics are not those of a new one."""
    model = keras_regnet.build(_CONFIG, **options)
    rng = np.random.default_rng(1)
    for weight in model.weights:
        values = rng.uniform(0.5, 1.5, weight.shape)
        if len(weight.shape) > 1:
            values = (values - 1) * 0.5
        weight.assign(values)
    return model


# KerasHub calls a model of a list of inputs with the one input.
@pytest.mark.filterwarnings("ignore:The structure of `inputs` doesn't match")
class KerasHubTest(test_case.TestCase):
    """What KerasHub asks of each of its backbones."""

    test_session = None  # TensorFlow's, which skips itself.

    def arguments(self, **options):
        return {"network": _CONFIG, "image_shape": (32, 32, 3), **options}

    def test_vision_backbone(self):
        self.run_vision_backbone_test(
            hub.RegNetBackbone,
            self.arguments(include_preprocessing=False),
            input_data=keras.ops.convert_to_tensor(_images()),
            expected_output_shape=(2, 4, 4, 32),
            expected_pyramid_output_keys=list(_PYRAMID),
            expected_pyramid_image_sizes=list(_PYRAMID.values()),
        )

    def test_backbone_that_normalizes(self):
        # That in float32 under every policy, which KerasHub's check of mixed
        # precision does not foresee: see `PolicyTest`.
        self.run_vision_backbone_test(
            hub.RegNetBackbone,
            self.arguments(),
            input_data=keras.ops.convert_to_tensor(_images()),
            expected_output_shape=(2, 4, 4, 32),
            expected_pyramid_output_keys=list(_PYRAMID),
            expected_pyramid_image_sizes=list(_PYRAMID.values()),
            run_mixed_precision_check=False,
        )

    def test_saved_model(self):
        self.run_model_saving_test(
            hub.RegNetBackbone, self.arguments(), input_data=_images()
        )


class SameNetworkTest(parameterized.TestCase):
    """Features are those of `build(..., include_top=False)`, to the bit."""

    @parameterized.parameters(
        {},
        {"include_preprocessing": False},
        {"output_stride": 4},
        {"drop_path_rate": 0.2},
        {"input_shape": (None, None, 1)},
        {"include_top": True, "classes": 3, "dropout_rate": 0.1},
        {"pooling": "max"},
    )
    def test_features(self, **options):
        model = _trained(**{"include_top": False, **options})
        backbone = hub.RegNetBackbone.from_regnet(model)
        features = model.get_layer("stage2_block2_act").output
        expected = keras.Model(model.input, features)
        channels = model.input.shape[-1]
        images = _images(224 if "include_top" in options else 64)
        images = images[..., :channels]
        np.testing.assert_array_equal(backbone(images), expected(images))
        self.assertEqual(
            backbone.drop_path_rate, options.get("drop_path_rate", 0.0)
        )

    def test_statistics_of_replicas(self):
        """A backbone does not synchronize them: another formula."""
        model = _trained(include_top=False, synchronized_bn=True)
        backbone = hub.RegNetBackbone.from_regnet(model)
        images = _images()
        np.testing.assert_allclose(backbone(images), model(images), rtol=1e-3)

    def test_saved_once_more(self):
        """What a model tells of itself is in the backbone's config."""
        model = _trained(include_top=False, output_stride=2, drop_path_rate=0.1)
        backbone = hub.RegNetBackbone.from_regnet(model)
        again = hub.RegNetBackbone.from_config(backbone.get_config())
        again.set_weights(backbone.get_weights())
        images = _images()
        np.testing.assert_array_equal(again(images), model(images))
        self.assertEqual(again.network, _CONFIG)
        rate = again.get_layer("stage2_block2_drop_path").rate
        self.assertEqual(rate, 0.1)

    def test_weights_of_another_source(self):
        """Padding and normalization of weights of keras.applications."""
        model = keras_regnet.applications.RegNetX002(
            weights=None, include_top=False
        )
        backbone = hub.RegNetBackbone.from_regnet(model)
        self.assertEqual(backbone.network.padding, "same")
        self.assertEqual(backbone.std, (255.0,) * 3)
        images = _images(64)
        np.testing.assert_array_equal(backbone(images), model(images))

    def test_predictions(self):
        """`predict` folds batch norm in both."""
        model = _trained(include_top=False, input_shape=(32, 32, 3))
        backbone = hub.RegNetBackbone.from_regnet(model, (32, 32, 3))
        images = _images()
        np.testing.assert_array_equal(
            backbone.predict(images, verbose=0),
            model.predict(images, verbose=0),
        )

    def test_gradients_with_rematerialization(self):
        images = _images()
        with keras.RematScope():
            backbone = hub.RegNetBackbone(_CONFIG)
        plain = hub.RegNetBackbone(_CONFIG)
        plain.set_weights(backbone.get_weights())
        self.assertTrue(backbone._regnet._rematerializes_blocks)
        results = [
            _features_and_gradients(b, images) for b in (backbone, plain)
        ]
        for ours, expected in zip(*results, strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)

    def test_pyramid(self):
        backbone = hub.RegNetBackbone(_CONFIG)
        expected = keras_regnet.build(_CONFIG, include_top=False)
        self.assertEqual(
            {k: v.shape for k, v in backbone.pyramid_outputs.items()},
            {k: v.shape for k, v in expected.pyramid_outputs.items()},
        )
        model = keras.Model(backbone.input, backbone.pyramid_outputs)
        features = model(_images())
        self.assertEqual(
            {level: tuple(x.shape[1:3]) for level, x in features.items()},
            _PYRAMID,
        )


def _features_and_gradients(backbone, images):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        features = backbone(images, training=True)
        loss = tf.reduce_mean(tf.square(features))
    gradients = tape.gradient(loss, backbone.trainable_variables)
    return features, *gradients


class RefusedTest(parameterized.TestCase):
    def test_other_models(self):
        inputs = keras.Input((32, 32, 3))
        with self.assertRaisesRegex(ValueError, "`model` must be made by a"):
            hub.RegNetBackbone.from_regnet(keras.Model(inputs, inputs))

    def test_layers_in_front(self):
        inputs = keras.Input((32, 32, 3))
        model = keras_regnet.build(
            _CONFIG,
            input_tensor=keras.layers.Rescaling(2.0, name="mine")(inputs),
        )
        with self.assertRaisesRegex(ValueError, r"differs in \['mine'\]"):
            hub.RegNetBackbone.from_regnet(model)

    def test_prefixed_layers(self):
        model = keras_regnet.build(_CONFIG, include_top=False)
        keras_regnet.prefix_layer_names(model, "left_")
        with self.assertRaisesRegex(ValueError, "differs in"):
            hub.RegNetBackbone.from_regnet(model)

    def test_changed_layers(self):
        model = keras_regnet.build(_CONFIG, include_top=False)
        model.get_layer("stem_conv_bn").epsilon = 0.5
        with self.assertRaisesRegex(ValueError, "'stem_conv_bn' has another"):
            hub.RegNetBackbone.from_regnet(model)

    def test_arguments(self):
        with self.assertRaisesRegex(ValueError, "Did you mean 'RegNetX-4"):
            hub.RegNetBackbone("RegNetX-401MF")
        with self.assertRaisesRegex(ValueError, "Unknown `data_format`"):
            hub.RegNetBackbone(_CONFIG, data_format="last")
        with self.assertRaisesRegex(ValueError, "`input_shape` must be"):
            hub.RegNetBackbone(_CONFIG, image_shape=(None, None))


class PolicyTest(parameterized.TestCase):
    @parameterized.parameters("mixed_float16", "mixed_bfloat16", "bfloat16")
    def test_layers_have_the_policy(self, name):
        backbone = hub.RegNetBackbone(_CONFIG, dtype=name)
        policy = keras.DTypePolicy(name)
        for layer in backbone.layers:
            if layer.name in ("images", "normalise"):
                continue
            self.assertEqual(layer.compute_dtype, policy.compute_dtype)
            self.assertEqual(layer.variable_dtype, policy.variable_dtype)
        self.assertEqual(
            backbone.get_layer("normalise").compute_dtype, "float32"
        )
        self.assertEqual(keras.config.dtype_policy().name, "float32")
        # The same weights compute nearly the same.
        single = hub.RegNetBackbone(_CONFIG)
        single.set_weights(
            [np.asarray(w, "float32") for w in backbone.get_weights()]
        )
        images = _images()
        np.testing.assert_allclose(
            np.asarray(backbone(images), "float32"),
            single(images),
            atol=0.1,
            rtol=0.1,
        )

    def test_policy_of_a_model(self):
        keras.config.set_dtype_policy("mixed_bfloat16")
        self.addCleanup(keras.config.set_dtype_policy, "float32")
        model = _trained(include_top=False)
        keras.config.set_dtype_policy("float32")
        backbone = hub.RegNetBackbone.from_regnet(model)
        images = _images()
        self.assertEqual(backbone.compute_dtype, "bfloat16")
        np.testing.assert_array_equal(
            keras.ops.cast(backbone(images), "float32"),
            keras.ops.cast(model(images), "float32"),
        )


class DataFormatTest(absltest.TestCase):
    def test_channels_first(self):
        backbone = hub.RegNetBackbone(_CONFIG, data_format="channels_first")
        self.assertEqual(backbone.image_shape, (3, None, None))
        self.assertEqual(keras.config.image_data_format(), "channels_last")
        # Whatever is Keras's default where it is loaded.
        again = hub.RegNetBackbone.from_config(backbone.get_config())
        other = hub.RegNetBackbone(_CONFIG)
        for copy in (again, other):
            copy.set_weights(backbone.get_weights())
        images = _images()
        expected = np.moveaxis(other(images), -1, 1)
        for first in (backbone, again):
            outputs = first(np.moveaxis(images, -1, 1))
            np.testing.assert_allclose(outputs, expected, atol=1e-4)


class AdaptersTest(absltest.TestCase):
    def test_lora(self):
        backbone = hub.RegNetBackbone(_CONFIG, image_shape=(32, 32, 3))
        images = _images()
        before = backbone(images)
        backbone.enable_lora(2)
        self.assertEqual(
            {w.name for w in backbone.trainable_weights},
            {"lora_kernel_a", "lora_kernel_b"},
        )
        np.testing.assert_allclose(backbone(images), before, atol=1e-5)
        path = os.path.join(
            self.enter_context(tempfile.TemporaryDirectory()),
            "adapters.lora.h5",
        )
        for weight in backbone.trainable_weights:
            weight.assign(keras.random.normal(weight.shape, seed=1))
        adapted = backbone(images)
        self.assertGreater(float(np.abs(adapted - before).max()), 1e-3)
        backbone.save_lora_weights(path)
        for weight in backbone.trainable_weights:
            weight.assign(keras.ops.zeros(weight.shape))
        backbone.load_lora_weights(path)
        np.testing.assert_array_equal(backbone(images), adapted)

    def test_lora_of_no_layer(self):
        backbone = hub.RegNetBackbone(_CONFIG)
        with self.assertRaisesRegex(ValueError, "Unknown `target_layer_names`"):
            backbone.enable_lora(2, ["query"])

    def test_quantization_says_what_it_leaves(self):
        backbone = hub.RegNetBackbone(_CONFIG)
        images = _images()
        before = backbone(images)
        with self.assertWarnsRegex(UserWarning, "Conv2D"):
            backbone.quantize("int8")
        np.testing.assert_array_equal(backbone(images), before)


class PresetTest(absltest.TestCase):
    def test_from_a_folder(self):
        model = _trained(include_top=False, output_stride=4)
        backbone = hub.RegNetBackbone.from_regnet(model)
        folder = os.path.join(
            self.enter_context(tempfile.TemporaryDirectory()), "preset"
        )
        backbone.save_to_preset(folder)
        again = keras_hub.models.Backbone.from_preset(folder)
        self.assertIsInstance(again, hub.RegNetBackbone)
        images = _images()
        np.testing.assert_array_equal(again(images), model(images))
        random = keras_hub.models.Backbone.from_preset(
            folder, load_weights=False, dtype="mixed_bfloat16"
        )
        self.assertEqual(random.compute_dtype, "bfloat16")
        kernels = (b.get_layer("stem_conv").kernel for b in (random, again))
        self.assertFalse(np.array_equal(*kernels))


if __name__ == "__main__":
    absltest.main()
