"""Tests of keras_regnet.layers on the TensorFlow backend."""

import contextlib
import os
import tempfile
import threading
from unittest import mock

import hypothesis
import keras
import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized
from hypothesis import strategies as st

from keras_regnet import layers
from keras_regnet import onednn
from keras_regnet.layers import kernels
from keras_regnet.layers import portable

_TOLERANCE = {
    "float64": 1e-10,
    "float32": 1e-5,
    "mixed_float16": 5e-3,
    "mixed_bfloat16": 4e-2,
}


def _reference(x, kernel, dy, groups, strides, padding, dilation):
    """Output, input gradient and kernel gradient of a convolution, in NumPy.

    Sums over kernel taps; NHWC, float64.
    """
    n, *sizes, _ = x.shape
    kh, kw, width, filters = kernel.shape
    outs, pads = [], []
    for size, k, s, d in zip(sizes, (kh, kw), strides, dilation, strict=True):
        span = (k - 1) * d + 1
        out = -(-size // s) if padding == "same" else (size - span) // s + 1
        total = max((out - 1) * s + span - size, 0) if padding == "same" else 0
        outs.append(out)
        pads.append((total // 2, total - total // 2))
    padded = np.pad(x, ((0, 0), *pads, (0, 0)))

    def window(array, i, j):
        start = (i * dilation[0], j * dilation[1])
        view = array[
            :,
            start[0] : start[0] + (outs[0] - 1) * strides[0] + 1 : strides[0],
            start[1] : start[1] + (outs[1] - 1) * strides[1] + 1 : strides[1],
        ]
        return view.reshape(n, *outs, groups, width)

    y = np.zeros((n, *outs, groups, filters // groups))
    dy = dy((n, *outs, filters)).reshape(y.shape)
    dx, dkernel = np.zeros(padded.shape), np.zeros(kernel.shape)
    for i in range(kh):
        for j in range(kw):
            tap = kernel[i, j].reshape(width, groups, -1)
            y += np.einsum("nhwgc,cgo->nhwgo", window(padded, i, j), tap)
            dkernel[i, j] = np.einsum(
                "nhwgc,nhwgo->cgo", window(padded, i, j), dy
            ).reshape(width, filters)
            dx[
                :,
                i * dilation[0] : i * dilation[0]
                + (outs[0] - 1) * strides[0]
                + 1 : strides[0],
                j * dilation[1] : j * dilation[1]
                + (outs[1] - 1) * strides[1]
                + 1 : strides[1],
            ] += np.einsum("nhwgo,cgo->nhwgc", dy, tap).reshape(n, *outs, -1)
    (top, bottom), (left, right) = pads
    dx = dx[:, top : dx.shape[1] - bottom, left : dx.shape[2] - right]
    return y.reshape(n, *outs, filters), dx, dkernel


def _cotangent(shape):
    return np.random.default_rng(7).normal(size=shape)


def _round(array, dtype):
    """The nearest values that `dtype` holds, as float64."""
    return tf.cast(tf.cast(array, dtype), "float64").numpy()


def _first(array):
    """NHWC to NCHW."""
    return np.transpose(array, (0, 3, 1, 2))


def _value_and_gradients(layer, x, dy, wrap=lambda f: f, training=None):
    """Output, input gradient, gradients of the trainable variables."""

    def run(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, **({} if training is None else {"training": training}))
        variables = [v.value for v in layer.trainable_variables]
        return y, *tape.gradient(y, [x, *variables], output_gradients=dy)

    results = wrap(run)(x, dy)
    return [tf.cast(result, "float64").numpy() for result in results]


class TestCase(parameterized.TestCase):
    """Compares arrays relative to the largest expected value."""

    def assert_close(self, actual, expected, tolerance):
        self.assertEqual(actual.shape, expected.shape)
        error = np.max(np.abs(actual - expected), initial=0)
        scale = np.max(np.abs(expected), initial=1e-9)
        self.assertLessEqual(error, tolerance * scale)

    def check_convolution(
        self,
        *,
        shape=(2, 9, 8, 12),
        filters=6,
        kernel_size=3,
        groups=3,
        dtype="float32",
        data_format="channels_last",
        strides=(1, 1),
        padding="same",
        dilation=(1, 1),
        wrap=lambda f: f,
    ):
        """A layer's output and gradients equal the NumPy reference."""
        layer = layers.GroupedConv2D(
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            dilation_rate=dilation,
            groups=groups,
            data_format=data_format,
            dtype=dtype,
            bias_initializer="random_normal",
        )
        to_layout = _first if data_format == "channels_first" else np.asarray
        x = np.random.default_rng(0).normal(size=shape)
        layer.build(to_layout(x).shape)
        compute = layer.compute_dtype
        x = _round(x, compute)
        y, dx, dkernel = _reference(
            x,
            _round(layer.kernel.value, compute),
            lambda s: _round(_cotangent(s), compute),
            groups,
            strides,
            padding,
            dilation,
        )
        dy = _round(_cotangent(y.shape), compute)
        actual = _value_and_gradients(
            layer,
            tf.constant(to_layout(x), compute),
            tf.constant(to_layout(dy), compute),
            wrap,
        )
        bias = _round(layer.bias.value, compute)
        expected = (
            to_layout(y + bias),
            to_layout(dx),
            dkernel,
            dy.sum((0, 1, 2)),
        )
        for a, b in zip(actual, expected, strict=True):
            self.assert_close(a, b, _TOLERANCE[dtype])
        return layer


class GroupedConvolutionTest(TestCase):
    @parameterized.product(
        groups=(1, 3),
        dtype=tuple(_TOLERANCE),
        data_format=("channels_last", "channels_first"),
        padding=("same", "valid"),
        steps=(((1, 1), (1, 1)), ((2, 2), (1, 1)), ((1, 1), (2, 2))),
    )
    def test_output_and_gradients(self, steps, **kwargs):
        strides, dilation = steps
        self.check_convolution(strides=strides, dilation=dilation, **kwargs)

    @hypothesis.settings(deadline=None, max_examples=25, database=None)
    @hypothesis.given(data=st.data())
    def test_random_shapes(self, data):
        draw = data.draw
        groups = draw(st.integers(1, 12), "groups")
        pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
        kernel_size = draw(pair, "kernel_size")
        strided = draw(st.booleans(), "strided")
        steps = draw(pair, "steps")
        self.check_convolution(
            shape=(
                draw(st.integers(1, 3), "batch"),
                draw(st.integers(7, 10), "height"),
                draw(st.integers(7, 10), "width"),
                groups * draw(st.integers(1, 9), "width in"),
            ),
            filters=groups * draw(st.integers(1, 5), "width out"),
            kernel_size=kernel_size,
            groups=groups,
            strides=steps if strided else (1, 1),
            dilation=(1, 1) if strided else steps,
            padding=draw(st.sampled_from(("same", "valid")), "padding"),
            data_format=draw(
                st.sampled_from(("channels_last", "channels_first")), "format"
            ),
        )

    @parameterized.parameters(True, False)
    def test_inside_functions(self, jit_compile):
        wrap = tf.function(jit_compile=jit_compile)
        for data_format in ("channels_last", "channels_first"):
            self.check_convolution(wrap=wrap, data_format=data_format)
            self.check_convolution(
                wrap=wrap, data_format=data_format, dilation=(2, 2)
            )

    @parameterized.parameters("float32", "mixed_bfloat16", "mixed_float16")
    def test_groups_of_many_bundles(self, dtype):
        # 7 groups of 8 channels: one bundle of four groups and one of three.
        with layers.portable_ops():
            self.check_convolution(
                shape=(1, 5, 5, 56), filters=28, groups=7, dtype=dtype
            )

    @parameterized.parameters("channels_last", "channels_first")
    def test_portable_equals_default(self, data_format):
        layer = layers.GroupedConv2D(
            8, 3, groups=4, data_format=data_format, activation="relu"
        )
        x = np.random.default_rng(0).normal(size=(2, 8, 7, 8))
        expected = keras.ops.convert_to_numpy(layer(x))
        with layers.portable_ops():
            actual = keras.ops.convert_to_numpy(layer(x))
        self.assert_close(actual, expected, 1e-6)

    def test_unknown_sizes(self):
        for data_format in ("channels_last", "channels_first"):
            layer = layers.GroupedConv2D(
                8, 3, 2, groups=4, padding="same", data_format=data_format
            )
            shape = [None] * 4
            shape[3 if data_format == "channels_last" else 1] = 8
            layer.build(tuple(shape))
            x = np.random.default_rng(0).normal(size=(2, 8, 8, 8))
            expected = keras.ops.convert_to_numpy(layer(x))
            for form in (layers.portable_ops(), contextlib.nullcontext()):
                with form:
                    function = tf.function(
                        layer, input_signature=[tf.TensorSpec(shape)]
                    )
                    actual = function(tf.constant(x, "float32")).numpy()
                self.assert_close(actual, expected, 1e-6)

    def test_unknown_sizes_and_dilation(self):
        layer = layers.GroupedConv2D(8, 3, dilation_rate=2, groups=4)
        layer.build((None, None, None, 8))
        x = np.random.default_rng(0).normal(size=(2, 8, 9, 8))
        expected = keras.ops.convert_to_numpy(layer(x))
        with layers.portable_ops():
            signature = [tf.TensorSpec((None, None, None, 8))]
            function = tf.function(layer, input_signature=signature)
            actual = function(tf.constant(x, "float32")).numpy()
        self.assert_close(actual, expected, 1e-6)

    def test_symbolic_call(self):
        inputs = keras.Input((None, None, 6))
        outputs = layers.GroupedConv2D(4, 3, groups=2, use_bias=False)(inputs)
        self.assertEqual(outputs.shape, (None, None, None, 4))

    def test_indivisible_channels_raise(self):
        layer = layers.GroupedConv2D(4, 3, groups=2)
        with self.assertRaisesRegex(ValueError, "groups=2"):
            layer.build((1, 4, 4, 3))

    def test_convolution_in_a_thread_of_a_trace(self):
        # Replicas of a strategy trace in threads; so may callers.
        layer = layers.GroupedConv2D(4, 3, groups=2)
        layer.build((1, 5, 5, 4))
        shapes = []

        def work():
            shapes.append(layer(np.ones((1, 5, 5, 4), "float32")).shape)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        self.assertEqual(shapes[0], (1, 3, 3, 4))


class PortableFormTest(TestCase):
    @parameterized.product(
        # Depthwise, merged groups, and groups one by one; the last of 25
        # merged by two is alone.
        sizes=((1, 6, 12), (2, 20, 3), (8, 7, 4), (16, 25, 16), (40, 2, 8)),
        strides=((1, 1), (2, 2), (2, 1)),
    )
    def test_every_way_to_compute_it(self, sizes, strides):
        width_in, groups, width_out = sizes
        with layers.portable_ops():
            self.check_convolution(
                shape=(2, 5, 6, groups * width_in),
                filters=groups * width_out,
                groups=groups,
                strides=strides,
                wrap=tf.function,
            )

    def test_before_what_would_be_rewritten_as_one_operation(self):
        # TensorFlow joins a bias or a batch norm to a convolution before it,
        # in an operation that refuses groups where oneDNN is off.
        convolution = layers.GroupedConv2D(32, 3, groups=2, padding="same")
        convolution.build((None, 8, 8, 32))
        convolution.bias.assign(np.linspace(-1, 1, 32))
        norm = layers.BatchNormalization()
        norm.build((None, 8, 8, 32))
        norm.moving_mean.assign(np.linspace(0, 1, 32))
        x = tf.constant(
            np.random.default_rng(0).normal(size=(2, 8, 8, 32)), "float32"
        )

        def outputs(x):
            features = convolution.convolution_op(x, convolution.kernel)
            return tf.nn.relu(convolution(x)), tf.nn.relu(norm(features))

        with layers.portable_ops(), layers.folded_norms():
            # Operation by operation nothing is rewritten.
            expected = [y.numpy() for y in outputs(x)]
            actual = [y.numpy() for y in tf.function(outputs)(x)]
        for a, b in zip(actual, expected, strict=True):
            self.assert_close(a, b, 1e-5)

    @parameterized.parameters((14, 16, 0), (13, 16, 1), (14, 64, 1))
    def test_merges_what_pays_where_it_is_not_stored(self, size, width, loops):
        layer = layers.GroupedConv2D(2 * width, 3, groups=2, padding="same")
        layer.build((None, None, None, 2 * width))
        x = np.random.default_rng(0).normal(size=(1, size, size, 2 * width))
        x = tf.constant(x, "float32")
        with layers.portable_ops():
            expected = layer(x)
        works = mock.patch.object(
            kernels, "native_conv_works", return_value=False
        )
        with works, layers.folded_norms():
            traced = tf.function(layer).get_concrete_function(x)
        self.assert_close(traced(x).numpy(), expected.numpy(), 1e-5)
        types = [op.type for op in traced.graph.get_operations()]
        self.assertEqual(types.count("EnsureShape"), loops)

    def test_gradients_of_gradients(self):
        def penalty(convolve):
            x, kernel = (
                tf.constant(np.random.default_rng(0).normal(size=s), "float64")
                for s in ((1, 5, 4, 34), (3, 3, 17, 4))
            )
            with tf.GradientTape() as outer:
                outer.watch((x, kernel))
                with tf.GradientTape() as inner:
                    inner.watch((x, kernel))
                    y = tf.reduce_sum(convolve(x, kernel) ** 2)
                inner_gradients = inner.gradient(y, (x, kernel))
                total = sum(tf.reduce_sum(g**2) for g in inner_gradients)
            return [g.numpy() for g in outer.gradient(total, (x, kernel))]

        def portable_conv(x, kernel):
            return portable.portable_conv(
                x,
                kernel,
                groups=2,
                strides=(2, 2),
                padding="same",
                dilation_rate=(1, 1),
                data_format="channels_last",
            )

        def by_group(x, kernel):
            pairs = zip(
                tf.split(x, 2, -1), tf.split(kernel, 2, -1), strict=True
            )
            return tf.concat(
                [tf.nn.conv2d(a, b, 2, "SAME") for a, b in pairs], -1
            )

        for a, b in zip(penalty(portable_conv), penalty(by_group), strict=True):
            self.assert_close(a, b, 1e-10)


class ProbeTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        kernels.native_conv_works.cache_clear()
        self.addCleanup(kernels.native_conv_works.cache_clear)

    def test_runs_once(self):
        x = np.ones((1, 8, 8, 4), "float32")
        with mock.patch.object(
            kernels,
            "_native_matches_portable",
            wraps=kernels._native_matches_portable,
        ) as probe:
            for filters in (4, 8):
                layer = layers.GroupedConv2D(filters, 3, groups=2)
                tf.function(layer)(x)
                layer(x)
        strides = [call.args[1]["strides"] for call in probe.mock_calls]
        self.assertEqual(len(set(strides)), len(strides))
        self.assertEqual(kernels.native_conv_works.cache_info().misses, 1)

    def test_wrong_numbers_are_not_trusted(self):
        native = kernels.native_conv

        def wrong(*args, **kwargs):
            return native(*args, **kwargs) * 1.01

        key = ("float32", "same", "channels_last", True, False)
        with mock.patch.object(kernels, "native_conv", wrong):
            self.assertFalse(kernels.native_conv_works(*key))

    def test_missing_kernel_is_not_used(self):
        error = tf.errors.UnimplementedError(None, None, "no kernel")
        x = np.ones((1, 5, 5, 4), "float32")
        layer = layers.GroupedConv2D(4, 3, groups=2)
        with mock.patch.object(kernels, "native_conv", side_effect=error):
            self.assertEqual(layer(x).shape, (1, 3, 3, 4))

    def test_leaves_random_state_alone(self):
        keras.utils.set_random_seed(1)
        expected = np.random.normal(), tf.random.normal(()).numpy()
        keras.utils.set_random_seed(1)
        kernels.native_conv_works(
            "float32", "same", "channels_last", True, False
        )
        actual = np.random.normal(), tf.random.normal(()).numpy()
        self.assertEqual(actual, expected)


class SavingTest(TestCase):
    def test_config_is_that_of_keras(self):
        kwargs = {"filters": 8, "kernel_size": 3, "groups": 4}
        ours = layers.GroupedConv2D(name="conv", **kwargs).get_config()
        stock = keras.layers.Conv2D(name="conv", **kwargs).get_config()
        self.assertEqual(ours, stock)
        ours = layers.BatchNormalization(name="bn").get_config()
        stock = keras.layers.BatchNormalization(name="bn").get_config()
        self.assertEqual(ours, stock)

    @parameterized.parameters(True, False)
    def test_weights_are_those_of_keras(self, from_ours):
        def build(convolution, normalization):
            inputs = keras.Input((8, 8, 4))
            x = convolution(8, 3, groups=2, name="conv")(inputs)
            return keras.Model(inputs, normalization(name="bn")(x))

        ours = build(layers.GroupedConv2D, layers.BatchNormalization)
        stock = build(keras.layers.Conv2D, keras.layers.BatchNormalization)
        source, target = (ours, stock) if from_ours else (stock, ours)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.weights.h5")
            source.save_weights(path)
            target.load_weights(path)
        x = np.random.default_rng(0).normal(size=(2, 8, 8, 4))
        self.assert_close(
            target.predict(x, verbose=0), source.predict(x, verbose=0), 1e-5
        )

    def test_model_file(self):
        inputs = keras.Input((8, 8, 4))
        x = layers.GroupedConv2D(8, 3, groups=2)(inputs)
        x = layers.PaddedMaxPooling2D()(layers.BatchNormalization()(x))
        model = keras.Model(inputs, x)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.keras")
            model.save(path)
            loaded = keras.saving.load_model(path)
        for old, new in zip(model.layers, loaded.layers, strict=True):
            self.assertIs(type(old), type(new))
        x = np.random.default_rng(0).normal(size=(2, 8, 8, 4))
        np.testing.assert_array_equal(
            loaded.predict(x, verbose=0), model.predict(x, verbose=0)
        )


class BatchNormalizationTest(TestCase):
    def check(self, x, wrap=tf.function, training=True, frozen=False, **kwargs):
        """Everything equals keras.layers.BatchNormalization."""
        rng = np.random.default_rng(0)
        channels = x.shape[kwargs.get("axis", -1)]
        weights = [rng.uniform(0.5, 2, size=channels) for _ in range(7)]
        results = []
        for cls in (layers.BatchNormalization, keras.layers.BatchNormalization):
            layer = cls(**kwargs)
            layer.build(x.shape)
            layer.set_weights(weights[: len(layer.weights)])
            results.append(self._run(layer, x, wrap, training, frozen))
        compute = keras.backend.standardize_dtype(layer.compute_dtype)
        tolerance = {"float16": 1e-3, "bfloat16": 1e-2}.get(compute, 1e-5)
        for actual, expected in zip(*results, strict=True):
            self.assertTrue(np.all(np.isfinite(actual)))
            self.assert_close(actual, expected, tolerance)

    def _run(self, layer, x, wrap, training, frozen):
        # Gradients of frozen weights are asked for as well: not trainable
        # here means inference mode.
        variables = list(layer.trainable_variables)
        layer.trainable = not frozen

        def run(x, dy):
            with tf.GradientTape() as tape:
                tape.watch((x, [v.value for v in variables]))
                y = layer(x, training=training)
            sources = [x, *(v.value for v in variables)]
            return y, *tape.gradient(y, sources, output_gradients=dy)

        dtype = layer.compute_dtype
        dy = tf.constant(_cotangent(x.shape), dtype)
        results = [*wrap(run)(tf.constant(x, dtype), dy)]
        results += [weight.value for weight in layer.weights]
        return [tf.cast(result, "float64").numpy() for result in results]

    @parameterized.product(
        dtype=("float32", "mixed_float16", "mixed_bfloat16", "float64"),
        axis=(-1, 1),
        mode=("training", "inference", "frozen"),
    )
    def test_equals_keras(self, dtype, axis, mode):
        x = np.random.default_rng(1).normal(2, 3, size=(3, 8, 5, 8))
        self.check(
            x,
            training=mode != "inference",
            frozen=mode == "frozen",
            dtype=dtype,
            axis=axis,
            epsilon=1e-5,
            momentum=0.9,
        )

    @parameterized.parameters(True, False)
    def test_channels_first_without_onednn(self, training):
        x = np.random.default_rng(1).normal(2, 3, size=(3, 8, 5, 4))
        with mock.patch.object(onednn, "is_on", return_value=False):
            self.check(x, training=training, axis=1)
        layer = layers.BatchNormalization(axis=1)
        layer.build(x.shape)
        with layers.portable_ops():
            traced = tf.function(layer).get_concrete_function(
                tf.TensorSpec(x.shape), training=training
            )
        formats = {
            op.get_attr("data_format")
            for op in traced.graph.get_operations()
            if op.type == "FusedBatchNormV3"
        }
        self.assertEqual(formats, {b"NHWC"})

    def test_one_value_per_channel(self):
        self.check(np.ones((1, 1, 1, 4)))

    @parameterized.parameters(
        {"scale": False}, {"center": False}, {"renorm": True}
    )
    def test_arguments_the_fused_operation_lacks(self, **kwargs):
        x = np.random.default_rng(1).normal(size=(3, 4, 5, 8))
        training = "renorm" not in kwargs
        self.check(x, training=training, **kwargs)

    def test_other_ranks_and_masks(self):
        self.check(np.random.default_rng(1).normal(size=(9, 8)))
        x = np.random.default_rng(1).normal(size=(3, 4, 5, 8))
        mask = np.arange(60).reshape(3, 4, 5) % 2 == 0
        ours = layers.BatchNormalization()(x, training=True, mask=mask)
        stock = keras.layers.BatchNormalization()(x, training=True, mask=mask)
        self.assert_close(ours.numpy(), stock.numpy(), 1e-6)

    def test_under_xla(self):
        x = np.random.default_rng(1).normal(size=(3, 4, 5, 8))
        self.check(x, wrap=tf.function(jit_compile=True))

    def test_fused_operation_is_used(self):
        layer = layers.BatchNormalization()
        layer.build((None, None, None, 4))
        for training in (True, False):
            function = tf.function(layer).get_concrete_function(
                tf.TensorSpec((None, None, None, 4)), training=training
            )
            names = [op.type for op in function.graph.get_operations()]
            self.assertIn("FusedBatchNormV3", names)

    def test_unknown_sizes(self):
        layer = layers.BatchNormalization(momentum=0.0)
        x = np.random.default_rng(1).normal(size=(3, 4, 5, 8))
        layer.build((None, None, None, 8))
        signature = [tf.TensorSpec((None, None, None, 8))]
        tf.function(
            lambda x: layer(x, training=True), input_signature=signature
        )(tf.constant(x, "float32"))
        self.assert_close(layer.moving_variance.numpy(), x.var((0, 1, 2)), 1e-5)

    @parameterized.parameters(
        (-1, {}),
        (1, {}),
        (-1, {"scale": False}),
        (-1, {"center": False}),
        (-1, {"scale": False, "center": False}),
    )
    def test_synchronized_with_channels_that_hardly_vary(self, axis, options):
        """Far from zero, as E[x^2] - E[x]^2 would have nothing left."""
        noise = np.random.default_rng(0).normal(size=(8, 4, 4, 3))
        x = np.moveaxis(100 + 1e-2 * noise, -1, axis)
        dy = np.random.default_rng(1).normal(size=x.shape)
        results = []
        for dtype, synchronized in (("float32", True), ("float64", False)):
            layer = layers.BatchNormalization(
                axis, 0.5, synchronized=synchronized, dtype=dtype, **options
            )
            inputs = tf.constant(x, "float32")
            inputs = tf.cast(inputs, dtype)
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                outputs = layer(inputs, training=True)
            gradient = tape.gradient(outputs, inputs, tf.constant(dy, dtype))
            results.append((layer.moving_variance, outputs, gradient))
        for actual, expected in zip(*results, strict=True):
            actual, expected = np.asarray(actual), np.asarray(expected)
            error = np.abs(actual - expected).max() / np.abs(expected).max()
            self.assertLess(error, 1e-2)

    def test_synchronized_over_many_positions(self):
        """Sums of 32,768 numbers that are not around zero."""
        noise = np.random.default_rng(0).normal(size=(128, 16, 16, 2))
        x = tf.constant(10 + noise, "float32")
        dy = tf.constant(
            3 + np.random.default_rng(1).normal(size=x.shape), "float32"
        )
        results = []
        for dtype, synchronized in (("float32", True), ("float64", False)):
            layer = layers.BatchNormalization(
                synchronized=synchronized, dtype=dtype
            )
            inputs = tf.cast(x, dtype)
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                outputs = layer(inputs, training=True)
            gradients = tape.gradient(
                outputs,
                [inputs, layer.gamma.value, layer.beta.value],
                tf.cast(dy, dtype),
            )
            results.append((outputs, *gradients))
        # A tenth of the errors of the moments' own gradients.
        limits = 1e-6, 1e-5, 2e-3, 1e-6
        for actual, expected, limit in zip(*results, limits, strict=True):
            actual, expected = np.asarray(actual), np.asarray(expected)
            error = np.abs(actual - expected).max() / np.abs(expected).max()
            self.assertLess(error, limit)


class NormalizationTest(TestCase):
    @parameterized.parameters(
        ((2, 5, 4, 3), -1, {}),
        ((2, 5, 4, 3), 3, {}),
        ((2, 3, 5, 4), 1, {}),
        ((2, 5, 4, 3), -1, {"invert": True}),
        ((2, 5, 4, 3), -1, {"dtype": "float64"}),
        ((2, 5, 4, 3), -1, {"dtype": "bfloat16"}),
        ((4, 3), -1, {}),
    )
    def test_equals_keras(self, shape, axis, options):
        options = {
            "axis": axis,
            "mean": [1.0, 120.0, -3.0],
            "variance": [4.0, 3000.0, 0.5],
            **options,
        }
        images = np.random.default_rng(0).uniform(0, 255, shape)
        ours = layers.Normalization(**options)
        stock = keras.layers.Normalization(**options)
        np.testing.assert_allclose(
            np.asarray(ours(images), "float64"),
            np.asarray(stock(images), "float64"),
            rtol=1e-5,
            atol=1e-5,
        )
        self.assertEqual(
            ours.get_config(),
            {**stock.get_config(), "name": ours.name},
        )

    def test_takes_uint8_and_adapts(self):
        images = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), "u1")
        layer = layers.Normalization()
        layer.adapt(images)
        np.testing.assert_allclose(np.mean(layer(images)), 0, atol=1e-5)
        fixed = layers.Normalization(mean=[1.0] * 3, variance=[4.0] * 3)
        np.testing.assert_allclose(
            fixed(images), (images.astype("float32") - 1) / 2, rtol=1e-5
        )


class RematerializationTest(TestCase):
    """Computing a block twice updates its statistics once."""

    def _model(self, mode=None):
        keras.utils.set_random_seed(0)
        scope = contextlib.nullcontext()
        if mode:
            scope = keras.RematScope(mode=mode)
        with scope:
            x = inputs = keras.Input((8, 8, 8))
            for _ in range(2):
                x = layers.GroupedConv2D(8, 3, groups=2, use_bias=False)(x)
                x = layers.BatchNormalization(momentum=0.5)(x)
        return keras.Model(inputs, x)

    def _step(self, model, call, wrap):
        x = np.random.default_rng(0).normal(size=(4, 8, 8, 8))
        variables = model.trainable_variables

        def run(x):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(call(x) ** 3)
            return tape.gradient(loss, [v.value for v in variables])

        gradients = wrap(run)(tf.constant(x, "float32"))
        statistics = [v.value for v in model.non_trainable_variables]
        return [tensor.numpy() for tensor in [*gradients, *statistics]]

    @parameterized.product(
        mode=("full", "larger_than"),
        wrap=("eager", "graph", "xla"),
    )
    def test_same_gradients_and_statistics(self, mode, wrap):
        wrap = {
            "eager": lambda f: f,
            "graph": tf.function,
            "xla": tf.function(jit_compile=True),
        }[wrap]
        plain = self._model()
        expected = self._step(plain, lambda x: plain(x, training=True), wrap)
        model = self._model(mode)
        actual = self._step(model, lambda x: model(x, training=True), wrap)
        for a, b in zip(actual, expected, strict=True):
            self.assert_close(a, b, 1e-4)


class PaddedMaxPooling2DTest(TestCase):
    @parameterized.product(
        data_format=("channels_last", "channels_first"),
        dtype=("float32", "float16", "bfloat16", "float64"),
        size=(7, 8),
    )
    def test_equals_numpy(self, data_format, dtype, size):
        x = np.random.default_rng(0).normal(-5, 1, size=(2, size, size + 1, 3))
        x = _round(x, dtype)
        padded = np.pad(
            x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf
        )
        windows = np.lib.stride_tricks.sliding_window_view(
            padded, (3, 3), axis=(1, 2)
        )
        expected = windows[:, ::2, ::2].max((-2, -1))
        if data_format == "channels_first":
            x, expected = _first(x), _first(expected)
        layer = layers.PaddedMaxPooling2D(data_format=data_format, dtype=dtype)
        actual = tf.cast(layer(tf.constant(x, dtype)), "float64").numpy()
        np.testing.assert_array_equal(actual, expected)
        self.assertEqual(layer.compute_output_shape(x.shape), expected.shape)

    def test_unknown_sizes(self):
        outputs = layers.PaddedMaxPooling2D()(keras.Input((None, 8, 4)))
        self.assertEqual(outputs.shape, (None, None, 4, 4))

    def test_round_trip(self):
        layer = layers.PaddedMaxPooling2D(5, 3, "channels_first", name="pool")
        config = keras.layers.serialize(layer)
        new = keras.layers.deserialize(config)
        self.assertEqual(new.get_config(), layer.get_config())
        self.assertEqual(new.pool_size, (5, 5))

    def test_even_size_raises(self):
        with self.assertRaisesRegex(ValueError, "odd.*pool_size=2"):
            layers.PaddedMaxPooling2D(2)


if __name__ == "__main__":
    absltest.main()
