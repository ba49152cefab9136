import copy
import functools
import inspect
import os
import tempfile

import keras
import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized
from keras import ops

import keras_regnet
from keras_regnet import layers
from keras_regnet import preprocessing
from keras_regnet import regnet_model
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from tests.support import oracle_weights

SMALL = RegNetConfig(depth=5, w_0=16, w_a=14, w_m=2, group_width=8, block="y")
FOUR_STAGES = AnyNetConfig((1, 1, 2, 1), (8, 16, 16, 24), group_widths=8)


def _images(*shape, seed=0):
    values = np.random.default_rng(seed).uniform(0, 255, shape)
    return values.astype("float32")


@functools.cache
def _small():
    model = keras_regnet.RegNet(SMALL, input_shape=(None, None, 3), classes=10)
    oracle_weights.fill(model)
    return model


def _run(model, images, **kwargs):
    return np.asarray(model(images, **kwargs))


class ArgumentsTest(parameterized.TestCase):
    def tearDown(self):
        keras.config.set_image_data_format("channels_last")
        keras.config.set_dtype_policy("float32")
        super().tearDown()

    @parameterized.parameters((32, 32), (33, 47), (64, 40))
    def test_any_size(self, height, width):
        self.assertEqual(
            _run(_small(), _images(2, height, width, 3)).shape, (2, 10)
        )

    @parameterized.parameters(1, 2, 3, 4, 13)
    def test_channels(self, channels):
        model = keras_regnet.RegNet(
            SMALL, input_shape=(32, 32, channels), classes=2
        )
        self.assertEqual(
            _run(model, _images(1, 32, 32, channels)).shape, (1, 2)
        )

    def test_default_input_shapes(self):
        self.assertEqual(
            keras_regnet.RegNetX("200MF").input_shape, (None, 224, 224, 3)
        )
        self.assertEqual(
            keras_regnet.RegNetX("200MF", include_top=False).input_shape,
            (None, None, None, 3),
        )

    @parameterized.parameters(
        (None, (2, 2, 2, 64)), ("avg", (2, 64)), ("max", (2, 64))
    )
    def test_pooling(self, pooling, shape):
        model = keras_regnet.RegNet(SMALL, include_top=False, pooling=pooling)
        self.assertEqual(_run(model, _images(2, 32, 32, 3)).shape, shape)

    def test_pooling_pools_the_features(self):
        images = _images(2, 32, 32, 3)
        features = {}
        for pooling in (None, "avg", "max"):
            model = keras_regnet.RegNet(
                SMALL, include_top=False, pooling=pooling
            )
            oracle_weights.fill(model)
            features[pooling] = _run(model, images)
        for pooling, pool in (("avg", np.mean), ("max", np.max)):
            np.testing.assert_allclose(
                features[pooling],
                pool(features[None], axis=(1, 2)),
                rtol=1e-4,
                atol=1e-5,
            )

    def test_classifier_activation_is_applied(self):
        outputs = {}
        for activation in ("softmax", None, "sigmoid"):
            model = keras_regnet.RegNet(
                SMALL,
                input_shape=(32, 32, 3),
                classes=10,
                classifier_activation=activation,
            )
            oracle_weights.fill(model)
            outputs[activation] = _run(model, _images(3, 32, 32, 3))
        logits = outputs[None]
        self.assertGreater(np.abs(logits).max(), 1)
        for activation in ("softmax", "sigmoid"):
            np.testing.assert_allclose(
                outputs[activation],
                getattr(ops, activation)(logits),
                rtol=1e-4,
                atol=1e-6,
            )

    def test_preprocessing_is_what_the_model_does_itself(self):
        bare = keras_regnet.RegNet(
            SMALL,
            input_shape=(None, None, 3),
            classes=10,
            include_preprocessing=False,
        )
        oracle_weights.fill(bare)
        images = _images(2, 32, 32, 3)
        np.testing.assert_allclose(
            _run(bare, keras_regnet.preprocess_input(images)),
            _run(_small(), images),
            rtol=1e-4,
            atol=1e-6,
        )

    def test_input_tensor(self):
        inputs = keras.Input((40, 40, 3))
        flipped = keras.layers.Lambda(lambda x: x[:, :, ::-1])(inputs)
        model = keras_regnet.RegNet(SMALL, input_tensor=flipped, classes=10)
        self.assertIs(model.input, inputs)
        oracle_weights.fill(model)
        images = _images(2, 40, 40, 3)
        np.testing.assert_allclose(
            _run(model, images),
            _run(_small(), images[:, :, ::-1]),
            rtol=1e-4,
            atol=1e-6,
        )

    def test_channels_first_equals_channels_last(self):
        keras.config.set_image_data_format("channels_first")
        model = keras_regnet.RegNet(
            SMALL, input_shape=(3, None, None), classes=10
        )
        oracle_weights.fill(model)
        images = _images(2, 40, 32, 3)
        np.testing.assert_allclose(
            _run(model, images.transpose(0, 3, 1, 2)),
            _run(_small(), images),
            rtol=1e-4,
            atol=1e-6,
        )
        self.assertEqual(
            keras_regnet.RegNetX("200MF").input_shape, (None, 3, 224, 224)
        )

    @parameterized.parameters("mixed_float16", "mixed_bfloat16")
    def test_mixed_precision(self, policy):
        keras.config.set_dtype_policy(policy)
        model = keras_regnet.RegNet(SMALL, input_shape=(32, 32, 3), classes=10)
        oracle_weights.fill(model)
        images = _images(2, 32, 32, 3)
        outputs = model(images)
        self.assertEqual(
            keras.backend.standardize_dtype(outputs.dtype), "float32"
        )
        self.assertEqual(model.get_layer("stem_conv").kernel.dtype, "float32")
        self.assertEqual(
            model.get_layer("stem_conv").compute_dtype, policy[len("mixed_") :]
        )
        np.testing.assert_allclose(
            np.asarray(outputs), _run(_small(), images), atol=0.05
        )

    def test_drop_path_grows_linearly(self):
        model = keras_regnet.RegNet(
            SMALL, include_top=False, drop_path_rate=0.4
        )
        rates = [
            layer.rate
            for layer in model.layers
            if layer.name.endswith("drop_path")
        ]
        np.testing.assert_allclose(rates, [0.1, 0.2, 0.3, 0.4])

    def test_drop_path_drops_whole_images_and_keeps_the_mean(self):
        keras.utils.set_random_seed(0)
        model = keras_regnet.RegNet(
            SMALL, include_top=False, drop_path_rate=0.5
        )
        layer = model.get_layer("stage3_block1_drop_path")
        dropped = np.asarray(layer(np.ones((400, 2, 2, 3)), training=True))
        per_image = dropped.reshape(400, -1)
        self.assertTrue((per_image == per_image[:, :1]).all())
        self.assertAlmostEqual(dropped.mean(), 1, delta=0.15)
        np.testing.assert_array_equal(
            np.asarray(layer(np.ones((4, 2, 2, 3)), training=False)), 1
        )

    def test_dropout(self):
        model = keras_regnet.RegNet(
            SMALL, input_shape=(32, 32, 3), dropout_rate=0.3
        )
        self.assertEqual(model.get_layer("head_dropout").rate, 0.3)

    def test_zero_init_last_gamma_silences_the_branches(self):
        # Stride 1 and one width: both shortcuts are identities, so that the
        # body gives back what the stem gave.
        config = AnyNetConfig(
            (2,), (32,), 1, group_widths=8, stem="cifar", block="y"
        )
        model = keras_regnet.AnyNet(
            config, include_top=False, zero_init_last_gamma=True
        )
        stem_layer = model.get_layer("stem_conv_act")
        stem = keras.Model(model.input, stem_layer.output)
        images = _images(2, 32, 32, 3)
        np.testing.assert_allclose(
            _run(model, images), _run(stem, images), atol=1e-6
        )

    @parameterized.parameters("group", "evonorm_s0a")
    def test_zero_init_silences_other_norms(self, norm):
        config = AnyNetConfig(
            (2,), (8,), block="vr", stem_width=8, norm=norm, norm_group_width=4
        )
        options = {"input_shape": (32, 32, 3), "include_top": False}
        model = keras_regnet.AnyNet(
            config, zero_init_last_gamma=True, **options
        )
        gamma = model.get_layer("stage1_block2_conv1_bn").gamma
        self.assertEqual(np.abs(gamma).max(), 0)
        one = model.get_layer("stage1_block1_act").output
        two = model.get_layer("stage1_block2_act").output
        images = _images(2, 32, 32, 3)
        np.testing.assert_allclose(
            *(_run(keras.Model(model.input, x), images) for x in (one, two)),
            atol=1e-6,
        )

    def test_norms_of_single_images_are_the_same_in_any_batch(self):
        config = AnyNetConfig(
            (1,), (16,), stem_width=16, norm="group", norm_group_width=4
        )
        model = keras_regnet.AnyNet(config, input_shape=(32, 32, 3))
        images = _images(4, 32, 32, 3)
        np.testing.assert_allclose(
            model(images, training=True)[:1],
            model(images[:1], training=False),
            atol=1e-6,
        )

    def test_only_batch_norm_is_synchronized(self):
        config = AnyNetConfig((1,), (16,), norm="group")
        with self.assertRaisesRegex(
            ValueError, "`synchronized_bn` must be False.*norm='group'"
        ):
            keras_regnet.AnyNet(config, synchronized_bn=True)

    def test_zero_init_silences_no_block_without_a_shortcut(self):
        # The first Z block of each stage has none: a zero there would make
        # the same of all images, for good.
        config = AnyNetConfig(
            (2, 2), (8, 16), 2, group_widths=8, bottleneck_ratios=0.25,
            stem_width=8, head_width=16, block="z",
        )  # fmt: skip
        model = keras_regnet.AnyNet(
            config, input_shape=(32, 32, 3), zero_init_last_gamma=True
        )
        gammas = {
            name: np.asarray(model.get_layer(f"{name}_conv3_bn").gamma)
            for name in (f"stage{s}_block{b}" for s in (1, 2) for b in (1, 2))
        }
        silent = [name for name, gamma in gammas.items() if not gamma.any()]
        self.assertEqual(silent, ["stage1_block2", "stage2_block2"])
        first, second = _run(model, _images(2, 32, 32, 3))
        self.assertGreater(np.abs(first - second).max(), 1e-6)

    def test_zero_init_silences_pre_activated_branches(self):
        config = AnyNetConfig(
            (1,), (8,), 1, group_widths=4, stem_width=8, block="pre"
        )
        model = keras_regnet.AnyNet(
            config,
            input_shape=(32, 32, 3),
            classes=2,
            zero_init_last_gamma=True,
        )
        before = keras.Model(
            model.input, model.get_layer("stage1_block1_norm1_act").output
        )
        after = keras.Model(
            model.input, model.get_layer("stage1_block1_add").output
        )
        images = _images(2, 32, 32, 3)
        np.testing.assert_allclose(
            _run(after, images), _run(before, images), atol=1e-6
        )
        # And they can learn: the gradient of what is zero is not.
        kernel = model.get_layer("stage1_block1_conv3").kernel
        self.assertEqual(np.abs(kernel).max(), 0)
        with tf.GradientTape() as tape:
            loss = keras.ops.mean(model(images)[:, 0])
        gradient = tape.gradient(loss, kernel.value)
        self.assertGreater(np.abs(gradient).max(), 0)

    def test_synchronized_bn(self):
        model = keras_regnet.RegNet(
            SMALL, include_top=False, synchronized_bn=True
        )
        self.assertTrue(model.get_layer("stem_conv_bn").synchronized)

    @parameterized.parameters(
        (dict(input_shape=(31, 32, 3)), "at least 32 or None"),
        (dict(input_shape=(32, 32)), "`input_shape` must be .height, width"),
        (dict(input_shape=(32, 32, None)), "1 or more channels"),
        (dict(input_shape=32), "Received: input_shape=32"),
        (dict(input_tensor=np.ones((1, 32, 32, 3))), "must be a Keras tensor"),
        (dict(classes=0), "`classes` must be an integer above 0"),
        (dict(classes=2.0), "`classes` must be an integer above 0"),
        (dict(pooling="avgg", include_top=False), "Did you mean 'avg'"),
        (dict(dropout_rate=1), "`dropout_rate` must be a number from 0"),
        (dict(drop_path_rate=-0.1), "`drop_path_rate` must be a number"),
        (dict(output_stride=12), "`output_stride` must be one of"),
        (dict(weights="imagnet"), "`weights` must be None or a path"),
        (dict(weights="missing.keras"), "a file that does not exist"),
    )
    def test_refuses(self, arguments, message):
        with self.assertRaisesRegex(ValueError, message):
            keras_regnet.RegNet(SMALL, **arguments)

    def test_refuses_to_dilate_a_pool(self):
        config = RegNetConfig(2, 16, 8, 2, 8, projection="pool")
        with self.assertRaisesRegex(ValueError, "`output_stride` must be None"):
            keras_regnet.build(config, output_stride=16)

    def test_refuses_unknown_gate_activations(self):
        config = RegNetConfig(2, 16, 8, 2, 8, se_activation="rleu")
        with self.assertRaisesRegex(ValueError, "`se_activation`.* 'relu'"):
            keras_regnet.build(config)

    def test_refuses_unknown_activations(self):
        config = RegNetConfig(2, 16, 8, 2, 8, activation="silou")
        with self.assertRaisesRegex(ValueError, "Did you mean 'silu'"):
            keras_regnet.build(config)

    def test_refuses_the_other_config(self):
        with self.assertRaisesRegex(ValueError, "must be a RegNetConfig"):
            keras_regnet.RegNet(FOUR_STAGES)
        with self.assertRaisesRegex(ValueError, "must be an AnyNetConfig"):
            keras_regnet.AnyNet(SMALL)
        with self.assertRaisesRegex(ValueError, "Did you mean '400MF'"):
            keras_regnet.RegNetX("400MG")

    def test_family_builders_show_all_arguments(self):
        arguments = list(inspect.signature(keras_regnet.RegNetX).parameters)
        self.assertEqual(
            arguments[:12],
            [
                "variant",
                "weights",
                "include_top",
                "input_tensor",
                "input_shape",
                "pooling",
                "classes",
                "classifier_activation",
                "include_preprocessing",
                "dropout_rate",
                "drop_path_rate",
                "name",
            ],
        )

    @parameterized.parameters(
        "RegNet", "AnyNet", "RegNetX", "RegNetY", "RegNetZ", "RegNetV"
    )
    def test_builders_have_the_arguments_of_build(self, name):
        builder = getattr(keras_regnet, name)
        first, *rest = inspect.signature(builder).parameters.values()
        _, *expected = inspect.signature(keras_regnet.build).parameters.values()
        self.assertEqual(rest, expected)
        is_family = name.startswith("RegNet") and name != "RegNet"
        self.assertEqual(first.name, "variant" if is_family else "config")
        self.assertEqual(first.kind, first.POSITIONAL_OR_KEYWORD)
        self.assertIn(f"{name}(", builder.__doc__)
        self.assertEqual(builder.__name__, name)

    def test_arguments_by_position(self):
        model = keras_regnet.RegNetX("200MF", None, False)
        self.assertEqual(model.name, "RegNetX-200MF")
        self.assertLen(model.output.shape, 4)


class StructureTest(parameterized.TestCase):
    def test_names_are_the_same_in_every_build(self):
        names = [
            [
                weight.path
                for weight in keras_regnet.RegNet(
                    SMALL, name=name, include_top=False
                ).weights
            ]
            for name in ("a", "b")
        ]
        self.assertEqual(*names)
        self.assertIn("stage2_block1_se_reduce/kernel", names[0])

    @parameterized.parameters(
        ("simple", ["P1", "P2", "P3", "P4", "P5"], 1),
        ("cifar", ["P0", "P1", "P2", "P3", "P4"], 0),
        ("resnet", ["P1", "P2", "P3", "P4", "P5", "P6"], 1),
        ("tiered", ["P1", "P2", "P3", "P4", "P5", "P6"], 1),
    )
    def test_pyramid(self, stem, levels, first):
        config = AnyNetConfig(
            FOUR_STAGES.depths, FOUR_STAGES.widths, group_widths=8, stem=stem
        )
        model = keras_regnet.AnyNet(config, input_shape=(64, 64, 3))
        self.assertEqual(list(model.pyramid_outputs), levels)
        for level, tensor in enumerate(model.pyramid_outputs.values(), first):
            self.assertEqual(tensor.shape[1], 64 // 2**level)

    def test_resnet_pyramid_keeps_the_stage_not_the_pool(self):
        pyramid = keras_regnet.build("ResNet-50").pyramid_outputs
        self.assertEqual(
            {level: x.shape[1:] for level, x in pyramid.items()},
            {
                "P1": (112, 112, 64),
                "P2": (56, 56, 256),
                "P3": (28, 28, 512),
                "P4": (14, 14, 1024),
                "P5": (7, 7, 2048),
            },
        )

    @parameterized.parameters(8, 16, 32)
    def test_output_stride_computes_the_same_at_more_places(self, stride):
        config = AnyNetConfig((1, 2, 2, 2), (8, 8, 16, 16), group_widths=4)
        models = [
            keras_regnet.AnyNet(
                config, include_top=False, output_stride=output_stride
            )
            for output_stride in (None, stride)
        ]
        for model in models:
            oracle_weights.fill(model)
        images = _images(1, 96, 64, 3)
        coarse, dense = (_run(model, images) for model in models)
        self.assertEqual(dense.shape[1:3], (96 // stride, 64 // stride))
        step = 32 // stride
        np.testing.assert_allclose(
            dense[:, ::step, ::step], coarse, rtol=1e-3, atol=1e-4
        )

    def test_initialisers(self):
        config = AnyNetConfig((1,), (128,), 1, group_widths=32)
        model = keras_regnet.AnyNet(config, input_shape=(32, 32, 3))
        kernel = np.asarray(model.get_layer("stage1_block1_conv2").kernel)
        # Fan-out is that of the whole kernel, groups not considered.
        expected = np.sqrt(2 / (3 * 3 * 128))
        self.assertAlmostEqual(kernel.std() / expected, 1, delta=0.03)
        self.assertGreater(np.abs(kernel).max(), 3 * expected)
        dense = np.asarray(model.get_layer("head_fc").kernel)
        self.assertAlmostEqual(dense.std() / 0.01, 1, delta=0.03)

    def test_layers_draw_different_weights(self):
        config = AnyNetConfig((3,), (16,), 1, group_widths=8, stem_width=16)
        model = keras_regnet.AnyNet(config, include_top=False)
        first, second = (
            np.asarray(model.get_layer(f"stage1_block{block}_conv1").kernel)
            for block in (2, 3)
        )
        self.assertGreater(np.abs(first - second).max(), 0.01)

    def test_seed_repeats_the_weights(self):
        kernels = []
        for _ in range(2):
            keras.utils.set_random_seed(7)
            model = keras_regnet.RegNet(SMALL, include_top=False)
            kernels.append(np.asarray(model.get_layer("stem_conv").kernel))
        np.testing.assert_array_equal(*kernels)

    def test_replace_head(self):
        model = _small()
        replaced = keras_regnet.replace_head(model, 4, dropout_rate=0.1)
        self.assertEqual(replaced.output.shape, (None, 4))
        self.assertIs(
            replaced.get_layer("stem_conv"), model.get_layer("stem_conv")
        )
        self.assertEqual(
            list(replaced.pyramid_outputs), list(model.pyramid_outputs)
        )
        with self.assertRaisesRegex(ValueError, "'head_pool'"):
            keras_regnet.replace_head(
                keras_regnet.RegNet(SMALL, include_top=False), 4
            )
        with self.assertRaisesRegex(ValueError, "builders made. .* Functional"):
            keras_regnet.replace_head(keras.Model(model.input, model.output), 4)

    @parameterized.parameters("dropout_rate", "drop_path_rate")
    def test_rematerialisation_repeats_the_dropout(self, rate):
        images = _images(4, 32, 32, 3)
        gradients = []
        for mode in (None, "full"):
            keras.utils.set_random_seed(3)
            with keras.RematScope(mode=mode):
                model = keras_regnet.RegNet(
                    SMALL, input_shape=(32, 32, 3), **{rate: 0.5}
                )
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(model(images, training=True)[:, 0])
            variable = model.get_layer("stem_conv").kernel.value
            gradients.append(tape.gradient(loss, variable))
        scale = np.abs(gradients[0]).max()
        np.testing.assert_allclose(
            gradients[1] / scale, gradients[0] / scale, atol=1e-4
        )

    def test_rematerialisation_without_top_and_with_a_new_head(self):
        with keras.RematScope(mode="full"):
            bare = keras_regnet.RegNet(SMALL, include_top=False)
            whole = keras_regnet.RegNet(SMALL, input_shape=(32, 32, 3))
        images = _images(2, 32, 32, 3)
        self.assertEqual(bare(images, training=True).shape, (2, 2, 2, 64))
        replaced = keras_regnet.replace_head(whole, 5)
        self.assertTrue(replaced._rematerializes_blocks)
        self.assertEqual(replaced(images, training=True).shape, (2, 5))

    def test_two_networks_in_one_graph(self):
        left, right = (
            keras_regnet.RegNet(
                SMALL,
                input_tensor=inputs,
                include_top=False,
                pooling="avg",
            )
            for inputs in [keras.Input((32, 32, 3))] * 2
        )
        keras_regnet.prefix_layer_names(right, "right_")
        both = keras.Model(left.input, [left.output, right.output])
        with tempfile.TemporaryDirectory() as folder:
            both.save(f"{folder}/both.keras")
            again = keras.saving.load_model(f"{folder}/both.keras")
        images = _images(2, 32, 32, 3)
        expected = [left(images), right(images)]
        for outputs, expect in zip(again(images), expected, strict=True):
            np.testing.assert_allclose(outputs, expect, rtol=1e-5)
        self.assertEqual(right.pyramid_outputs["P2"].shape[1:], (8, 8, 16))
        with self.assertRaisesRegex(ValueError, "prefix.*'a/'"):
            keras_regnet.prefix_layer_names(left, "a/")

    def test_float64(self):
        keras.config.set_dtype_policy("float64")
        self.addCleanup(keras.config.set_dtype_policy, "float32")
        model = keras_regnet.RegNet(SMALL, input_shape=(32, 32, 3), classes=3)
        keras.config.set_dtype_policy("float32")
        single = keras_regnet.RegNet(SMALL, input_shape=(32, 32, 3), classes=3)
        single.set_weights(model.get_weights())
        images = _images(2, 32, 32, 3).astype("float64")
        outputs = model(images)
        self.assertEqual(outputs.dtype, "float64")
        np.testing.assert_allclose(outputs, single(images), atol=1e-6)

    def test_rematerialisation_is_kept(self):
        with keras.RematScope(mode="full"):
            model = keras_regnet.RegNet(SMALL, input_shape=(32, 32, 3))
        for copied in (
            copy.deepcopy(model),
            regnet_model.RegNetModel.from_config(model.get_config()),
        ):
            self.assertTrue(copied._rematerializes_blocks)

    def test_a_stride_of_four_is_two_levels(self):
        config = AnyNetConfig((1, 1), (8, 16), (4, 2), group_widths=8)
        model = keras_regnet.AnyNet(config, input_shape=(64, 64, 3))
        shapes = {k: x.shape[1] for k, x in model.pyramid_outputs.items()}
        self.assertEqual(shapes, {"P1": 32, "P3": 8, "P4": 4})

    def test_numpy_numbers_are_numbers(self):
        model = keras_regnet.RegNet(
            SMALL,
            input_shape=tuple(np.array([32, 32, 3])),
            classes=np.int64(3),
            dropout_rate=np.float32(0.5),
        )
        self.assertEqual(model.output.shape, (None, 3))

    @parameterized.parameters(None, 3)
    def test_refuses_what_is_no_config(self, config):
        with self.assertRaisesRegex(ValueError, "or the name of a variant"):
            keras_regnet.build(config)


class SavingTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.images = _images(2, 40, 32, 3)

    def _path(self, name):
        return os.path.join(self.folder.name, name)

    def test_round_trip_of_a_model(self):
        path = self._path("model.keras")
        _small().save(path)
        loaded = keras.saving.load_model(path)
        self.assertIsInstance(loaded, keras_regnet.RegNetModel)
        self.assertEqual(loaded.network, SMALL)
        self.assertEqual(
            {k: v.shape for k, v in loaded.pyramid_outputs.items()},
            {k: v.shape for k, v in _small().pyramid_outputs.items()},
        )
        # The fast layers are there, not their stock parents.
        self.assertEqual(
            [type(layer) for layer in loaded.layers],
            [type(layer) for layer in _small().layers],
        )
        self.assertIs(
            type(loaded.get_layer("stage1_block1_conv2")), layers.GroupedConv2D
        )
        np.testing.assert_array_equal(
            _run(loaded, self.images), _run(_small(), self.images)
        )

    @parameterized.parameters("model.keras", "model.weights.h5")
    def test_weights_from_a_file(self, name):
        path = self._path(name)
        if name.endswith(".keras"):
            _small().save(path)
        else:
            _small().save_weights(path)
        model = keras_regnet.RegNet(
            SMALL, weights=path, input_shape=(None, None, 3), classes=10
        )
        np.testing.assert_array_equal(
            _run(model, self.images), _run(_small(), self.images)
        )

    @parameterized.parameters("model.keras", "model.weights.h5")
    def test_weights_of_another_network(self, name):
        path = self._path(name)
        other = keras_regnet.AnyNet(FOUR_STAGES, input_shape=(32, 32, 3))
        if name.endswith(".keras"):
            other.save(path)
        else:
            other.save_weights(path)
        with self.assertRaisesRegex(
            ValueError, "holds a network of depths .* was requested"
        ):
            keras_regnet.RegNet(SMALL, weights=path)

    def test_a_file_with_nearly_that_name(self):
        open(self._path("modell.keras"), "w").close()
        with self.assertRaisesRegex(ValueError, "mean 'modell.keras'"):
            keras_regnet.RegNet(SMALL, weights=self._path("model.keras"))

    def test_config_round_trip_and_clone(self):
        again = keras_regnet.RegNetModel.from_config(_small().get_config())
        self.assertEqual(again.network, SMALL)
        clone = keras.models.clone_model(_small())
        clone.set_weights(_small().get_weights())
        np.testing.assert_array_equal(
            _run(clone, self.images), _run(_small(), self.images)
        )


class PreprocessingTest(parameterized.TestCase):
    def test_imagenet_statistics(self):
        images = _images(1, 4, 4, 3)
        expected = (images / 255 - [0.485, 0.456, 0.406]) / [
            0.229,
            0.224,
            0.225,
        ]
        np.testing.assert_allclose(
            preprocessing.preprocess_input(images), expected, atol=1e-5
        )
        np.testing.assert_allclose(
            preprocessing.preprocess_input(
                images.transpose(0, 3, 1, 2), "channels_first"
            ),
            expected.transpose(0, 3, 1, 2),
            atol=1e-5,
        )

    def test_refuses_a_data_format(self):
        with self.assertRaisesRegex(ValueError, "Unknown `data_format`"):
            preprocessing.preprocess_input(_images(1, 4, 4, 3), "NHWC")


if __name__ == "__main__":
    absltest.main()
