"""Norms of single images against their formulas, in NumPy's float64."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized
from keras import ops

from keras_regnet import layers

_CHANNELS = 12


def _images(mean=0.0):
    rng = np.random.default_rng(0)
    return rng.normal(mean, 2, (2, 5, 4, _CHANNELS)).astype("float32")


def _in_groups(x, groups):
    """Returns mean and variance over pixels and channels of each group."""
    grouped = x.reshape(*x.shape[:3], groups, -1)
    mean = grouped.mean((1, 2, 4), keepdims=True)
    variance = np.square(grouped - mean).mean((1, 2, 4), keepdims=True)
    return (
        np.broadcast_to(moment, grouped.shape).reshape(x.shape)
        for moment in (mean, variance)
    )


def _group_norm(x, groups, gamma, beta):
    mean, variance = _in_groups(x, groups)
    return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def _evonorm(x, groups, gamma, beta, v=None):
    _, variance = _in_groups(x, groups)
    activated = x if v is None else x * (1 + np.tanh(v * x / 2)) / 2
    return activated / np.sqrt(variance + 1e-3) * gamma + beta


_FORMULAS = {"group": _group_norm, "activates": _evonorm, "linear": _evonorm}


def _layer(kind, groups, axis=-1, **options):
    """Returns a layer with random weights, and these as float64."""
    if kind == "group":
        layer = layers.GroupNormalization(
            groups, axis=axis, epsilon=1e-5, **options
        )
    else:
        layer = layers.EvoNormS0a(
            groups, axis=axis, activates=kind == "activates", **options
        )
    shape = [2, 5, 4]
    shape.insert(axis % 4, _CHANNELS)
    layer.build(tuple(shape))
    rng = np.random.default_rng(1)
    values = [rng.normal(1, 1, w.shape).astype("f4") for w in layer.weights]
    layer.set_weights(values)
    return layer, [value.astype("float64") for value in values]


class GroupNormsTest(parameterized.TestCase):
    @parameterized.product(
        kind=[*_FORMULAS], groups=[1, 3, 12], axis=[-1, 3, 1]
    )
    def test_computes_the_formula(self, kind, groups, axis):
        layer, weights = _layer(kind, groups, axis)
        images = _images()
        expected = _FORMULAS[kind](images.astype("float64"), groups, *weights)
        if axis == 1:
            images = images.transpose(0, 3, 1, 2)
            expected = expected.transpose(0, 3, 1, 2)
        np.testing.assert_allclose(layer(images), expected, atol=2e-5)

    @parameterized.parameters(*_FORMULAS)
    def test_large_means_cost_no_digits(self, kind):
        """As the difference of the squares' mean and the mean's square does."""
        layer, weights = _layer(kind, 3)
        images = _images(mean=100.0)
        expected = _FORMULAS[kind](images.astype("float64"), 3, *weights)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(
            layer(images) / scale, expected / scale, atol=1e-5
        )

    @parameterized.product(
        kind=[*_FORMULAS], dtype=["mixed_float16", "mixed_bfloat16"]
    )
    def test_half_precision_only_rounds(self, kind, dtype):
        """Squares and sums of float16 would overflow."""
        layer, weights = _layer(kind, 3, dtype=dtype)
        images = ops.cast(300 * _images(), layer.compute_dtype)
        outputs = layer(images)
        self.assertEqual(outputs.dtype, layer.compute_dtype)
        self.assertEqual(layer.weights[0].dtype, "float32")
        exact = ops.convert_to_numpy(ops.cast(images, "float64"))
        expected = _FORMULAS[kind](exact, 3, *weights)
        np.testing.assert_allclose(
            ops.cast(outputs, "float32"),
            expected,
            rtol=2**-8 if "b" in dtype[6:] else 2**-11,
            atol=2e-4,
        )

    @parameterized.parameters(*_FORMULAS)
    def test_gradients_are_differences(self, kind):
        layer, weights = _layer(kind, 3)
        images = _images()
        factors = np.random.default_rng(2).normal(size=images.shape)
        inputs = tf.constant(images)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_sum(layer(inputs) * factors.astype("f4"))
        found = tape.gradient(loss, [inputs, *layer.trainable_weights])
        exact = [images.astype("float64"), *weights]

        def loss_at(values):
            x, *rest = values
            return (_FORMULAS[kind](x, 3, *rest) * factors).sum()

        rng = np.random.default_rng(3)
        for number, gradient in enumerate(found):
            direction = rng.normal(size=exact[number].shape)
            ends = []
            for step in (1e-6, -1e-6):
                moved = list(exact)
                moved[number] = exact[number] + step * direction
                ends.append(loss_at(moved))
            expected = (ends[0] - ends[1]) / 2e-6
            self.assertAlmostEqual(
                (gradient.numpy() * direction).sum() / expected, 1, delta=1e-4
            )

    def test_other_ranks_are_left_to_keras(self):
        rows = np.random.default_rng(0).normal(size=(3, 7, 8)).astype("f4")
        ours = layers.GroupNormalization(4)
        np.testing.assert_allclose(
            ours(rows), keras.layers.GroupNormalization(4)(rows), atol=1e-6
        )

    @parameterized.parameters(
        dict(scale=False), dict(center=False), dict(epsilon=0.1)
    )
    def test_options_of_keras(self, **options):
        ours = layers.GroupNormalization(4, **options)
        stock = keras.layers.GroupNormalization.from_config(ours.get_config())
        np.testing.assert_allclose(ours(_images()), stock(_images()), atol=1e-5)

    @parameterized.parameters(*_FORMULAS)
    def test_config(self, kind):
        layer, _ = _layer(kind, 3, axis=1, gamma_initializer="zeros")
        again = type(layer).from_config(layer.get_config())
        self.assertEqual(again.get_config(), layer.get_config())
        again.build((None, _CHANNELS, None, None))
        self.assertEqual(np.abs(again.gamma).max(), 0)

    def test_sizes_that_are_not_known(self):
        inputs = keras.Input((None, None, _CHANNELS))
        layer, _ = _layer("activates", 3)
        model = keras.Model(inputs, layer(inputs))
        self.assertEqual(model.output.shape, (None, None, None, _CHANNELS))
        np.testing.assert_allclose(
            model(_images()), layer(_images()), atol=1e-6
        )

    @parameterized.parameters(
        ((None, 4, 4, 10),), ((None, 4, 4, None),), ((None, 12),)
    )
    def test_groups_divide_the_channels(self, shape):
        with self.assertRaisesRegex(
            ValueError, "`groups` must divide.*groups=4"
        ):
            layers.EvoNormS0a(4).build(shape)


if __name__ == "__main__":
    absltest.main()
