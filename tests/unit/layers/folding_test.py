"""Tests of batch norm folded into convolutions, in a graph and in a model."""

import contextlib
from collections import Counter
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from keras_regnet import export
from keras_regnet import layers
from keras_regnet import regnet_model

_CONFIG = keras_regnet.AnyNetConfig(
    (1, 2), (16, 24), group_widths=8, se_ratio=0.25, stem_width=8
)


def _randomise(model, seed=0):
    """Gives every tensor values that would show if it were left out."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        low, high = (0.5, 1.5) if "variance" in weight.path else (-0.5, 0.5)
        weight.assign(rng.uniform(low, high, weight.shape))


def _images(*shape):
    return np.random.default_rng(1).normal(size=shape).astype("float32")


def _small(stages=_CONFIG, **options):
    options = {"input_shape": (32, 32, 3), "classes": 3, **options}
    model = keras_regnet.AnyNet(stages, include_preprocessing=False, **options)
    _randomise(model)
    return model


def _used_operations(function, *arguments):
    """Counts the operations that the outputs of a traced function need."""
    graph = function.get_concrete_function(*arguments).graph
    pending, seen = [tensor.op for tensor in graph.outputs], set()
    while pending:
        operation = pending.pop()
        if operation not in seen:
            seen.add(operation)
            pending += [tensor.op for tensor in operation.inputs]
    return Counter(operation.type for operation in seen)


def _forward(model, folds=True):
    """Returns a model for inference as one traced function."""

    @tf.function
    def forward(images):
        context = layers.folded_norms() if folds else contextlib.nullcontext()
        with context:
            return model(images, training=False)

    return forward


class FoldInGraphTest(parameterized.TestCase):
    def _model(self, make_outputs, shape=(8, 8, 8)):
        inputs = keras.Input(shape)
        model = regnet_model.RegNetModel(inputs, make_outputs(inputs))
        _randomise(model)
        return model

    def _check(self, model, norms_left, images):
        """Checks the outputs, and how many batch norms are traced."""
        forward = _forward(model)
        used = _used_operations(forward, images)
        self.assertEqual(used["FusedBatchNormV3"], norms_left)
        self.assertEqual(used["Conv2D"], 1)
        np.testing.assert_allclose(
            forward(images), model(images, training=False), atol=2e-5
        )

    @parameterized.parameters("channels_last", "channels_first")
    def test_same_outputs_as_eagerly(self, data_format):
        shape = (64, 64, 8) if data_format == "channels_last" else (8, 64, 64)
        axis = 3 if data_format == "channels_last" else 1
        conv = layers.GroupedConv2D(
            12,
            3,
            strides=2,
            padding="same",
            groups=4,
            use_bias=False,
            data_format=data_format,
        )
        norm = layers.BatchNormalization(axis=axis)
        model = self._model(lambda x: norm(conv(x)), shape)
        self._check(model, 0, _images(2, *shape))

    def test_with_a_bias(self):
        conv = layers.GroupedConv2D(4, 1)
        norm = layers.BatchNormalization()
        model = self._model(lambda x: norm(conv(x)))
        self._check(model, 0, _images(2, 8, 8, 8))

    def test_follows_the_weights(self):
        model = _small()
        forward = _forward(model)
        images = _images(2, 32, 32, 3)
        first = forward(images).numpy()
        _randomise(model, seed=2)
        second = forward(images).numpy()
        self.assertGreater(np.abs(second - first).max(), 1e-3)
        np.testing.assert_allclose(
            second, model(images, training=False), atol=1e-5
        )

    def test_only_where_the_kernel_is_smaller_than_the_features(self):
        """A 1x1 kernel of 16 channels against 8 * 8 and 2 * 2 pixels."""
        for size, folded in ((8, True), (2, False), (None, False)):
            conv = layers.GroupedConv2D(4, 1, use_bias=False)
            norm = layers.BatchNormalization()
            shape = (size, size, 16)
            model = self._model(lambda x, n=norm, c=conv: n(c(x)), shape)
            spec = tf.TensorSpec((None, *shape))
            used = _used_operations(_forward(model), spec)
            self.assertEqual(used["FusedBatchNormV3"], int(not folded))

    def test_only_where_it_is_asked_for(self):
        model = _small()
        images = _images(2, 32, 32, 3)
        number = sum(
            isinstance(layer, layers.BatchNormalization)
            for layer in model.layers
        )
        used = _used_operations(_forward(model, folds=False), images)
        self.assertEqual(used["FusedBatchNormV3"], number)
        used = _used_operations(_forward(model), images)
        self.assertLess(used["FusedBatchNormV3"], number)

    def test_not_in_training_nor_when_frozen(self):
        conv = layers.GroupedConv2D(4, 1, use_bias=False)
        norm = layers.BatchNormalization()
        model = self._model(lambda x: norm(conv(x)))

        def train(images):
            with layers.folded_norms():
                return model(images, training=True)

        for norm.trainable in (True, False):
            used = _used_operations(tf.function(train), _images(2, 8, 8, 8))
            self.assertEqual(used["FusedBatchNormV3"], 1)

    def test_not_behind_an_activation_or_with_another_reader(self):
        relu = layers.GroupedConv2D(4, 1, activation="relu")
        norm = layers.BatchNormalization()
        model = self._model(lambda x: norm(relu(x)))
        self._check(model, 1, _images(2, 8, 8, 8))
        conv = layers.GroupedConv2D(4, 1)
        norm = layers.BatchNormalization()

        def with_two_readers(inputs):
            features = conv(inputs)
            return keras.layers.Add()([norm(features), features])

        model = self._model(with_two_readers)
        self._check(model, 1, _images(2, 8, 8, 8))

    @parameterized.parameters(("channels_last", 1), ("channels_first", 3))
    def test_axis_that_is_not_of_the_channels(self, data_format, axis):
        conv = layers.GroupedConv2D(
            8, 3, padding="same", use_bias=False, data_format=data_format
        )
        norm = layers.BatchNormalization(axis=axis)
        model = self._model(lambda x: norm(conv(x)))
        images = _images(2, 8, 8, 8)
        np.testing.assert_allclose(
            _forward(model)(images), model(images, training=False), atol=1e-5
        )

    def test_adapters_stay(self):
        conv = layers.GroupedConv2D(8, 3, padding="same", use_bias=False)
        norm = layers.BatchNormalization()
        model = self._model(lambda x: norm(conv(x)))
        conv.enable_lora(2)
        _randomise(model)
        images = _images(2, 8, 8, 8)
        np.testing.assert_allclose(
            _forward(model)(images), model(images, training=False), atol=1e-4
        )

    def test_losses_of_activities_stay(self):
        model = _small()
        for layer in model.layers:
            if isinstance(layer, layers.GroupedConv2D):
                layer.activity_regularizer = keras.regularizers.L2(1e-3)
        images, labels = _images(4, 32, 32, 3), np.array([0, 1, 2, 0])
        found = []
        for eager in (False, True):
            model.compile(
                loss="sparse_categorical_crossentropy", run_eagerly=eager
            )
            found.append(model.evaluate(images, labels, verbose=0))
        np.testing.assert_allclose(*found, rtol=1e-4)

    def test_predict_and_evaluate_fold(self):
        model = _small()
        images = _images(4, 32, 32, 3)
        labels = np.array([0, 1, 2, 0])
        model.compile(loss="sparse_categorical_crossentropy")
        with mock.patch.object(
            layers.folding, "joined_calls", wraps=layers.folding.joined_calls
        ) as joined:
            predicted = model.predict(images, verbose=0)
            self.assertEqual(joined.call_count, 1)
            loss = model.evaluate(images, labels, verbose=0)
            self.assertEqual(joined.call_count, 2)
        expected = model(images, training=False)
        np.testing.assert_allclose(predicted, expected, atol=1e-5)
        losses = keras.losses.sparse_categorical_crossentropy(labels, expected)
        np.testing.assert_allclose(loss, np.mean(losses), rtol=1e-4)


class GradientTest(parameterized.TestCase):
    def test_for_the_output_of_every_convolution(self):
        """As Grad-CAM takes it, by a tape and by `tf.gradients`."""
        model = _small()
        convs = [
            layer.output
            for layer in model.layers
            if isinstance(layer, keras.layers.Conv2D)
        ]
        with_features = keras.Model(model.inputs, [*convs, model.output])
        images = tf.constant(_images(2, 32, 32, 3))

        def by_tape():
            with tf.GradientTape() as tape:
                *features, outputs = with_features(images, training=False)
                score = outputs[:, 0]
            return tape.gradient(score, features)

        @tf.function
        def by_graph(images):
            *features, outputs = with_features(images, training=False)
            return tf.gradients(outputs[:, 0], features)

        expected = by_tape()
        for gradients in (tf.function(by_tape)(), by_graph(images)):
            for gradient, eager in zip(gradients, expected, strict=True):
                scale = np.abs(eager).max()
                self.assertGreater(scale, 0)
                np.testing.assert_allclose(gradient, eager, atol=1e-4 * scale)

    def test_of_the_inference_pass(self):
        model = _small()
        images = tf.constant(_images(2, 32, 32, 3))

        def gradients():
            with tf.GradientTape() as tape:
                outputs = model(images, training=False)
                loss = tf.reduce_sum(outputs[:, 0])
            return tape.gradient(loss, model.trainable_variables[0].value)

        eager = gradients()
        np.testing.assert_allclose(
            tf.function(gradients)(), eager, atol=1e-4 * np.abs(eager).max()
        )


class FoldModelTest(parameterized.TestCase):
    @parameterized.parameters(
        {}, {"include_top": False}, {"output_stride": 4, "pooling": None}
    )
    def test_same_outputs(self, **options):
        model = _small(**options)
        before = [weight.numpy() for weight in model.weights]
        folded = export.fold_batch_norm(model)
        kinds = Counter(type(layer) for layer in folded.layers)
        self.assertEqual(kinds[layers.BatchNormalization], 0)
        images = _images(2, 32, 32, 3)
        expected = model(images, training=False)
        np.testing.assert_allclose(
            folded(images), expected, atol=1e-5 * np.abs(expected).max()
        )
        for old, weight in zip(before, model.weights, strict=True):
            np.testing.assert_array_equal(old, weight.numpy())

    def test_keeps_what_does_not_follow_a_convolution_alone(self):
        inputs = keras.Input((8, 8, 3))
        conv = layers.GroupedConv2D(4, 3, padding="same", name="shared")
        x = conv(inputs)
        summed = layers.BatchNormalization(name="kept_1")(x)
        summed = keras.layers.Add()([summed, x])
        x = layers.BatchNormalization(name="kept_2")(summed)
        x = layers.GroupedConv2D(5, 1, name="with_bias")(x)
        x = layers.BatchNormalization(scale=False, name="gone")(x)
        model = keras.Model(inputs, x)
        _randomise(model)
        folded = export.fold_batch_norm(model)
        names = {layer.name for layer in model.layers}
        self.assertEqual(
            names - {layer.name for layer in folded.layers}, {"gone"}
        )
        images = _images(2, 8, 8, 3)
        np.testing.assert_allclose(
            folded(images), model(images, training=False), atol=1e-5
        )

    def _inputs_and_conv(self, **options):
        inputs = keras.Input((8, 8, 4))
        options = {"padding": "same", "use_bias": False, **options}
        return inputs, layers.GroupedConv2D(8, 3, **options)

    def _check(self, inputs, outputs, norms_left):
        model = keras.Model(inputs, outputs)
        _randomise(model)
        folded = export.fold_batch_norm(model)
        left = [
            layer
            for layer in folded.layers
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        self.assertLen(left, norms_left)
        images = _images(2, 8, 8, 4)
        np.testing.assert_allclose(
            folded(images), model(images, training=False), atol=1e-5
        )

    def test_output_used_by_operations_that_are_no_layers(self):
        inputs, conv = self._inputs_and_conv()
        x = conv(inputs)
        norm = layers.BatchNormalization()(x)
        self._check(inputs, keras.ops.add(norm, keras.ops.relu(x)), 1)
        inputs, conv = self._inputs_and_conv()
        x = conv(inputs)
        self._check(inputs, layers.BatchNormalization()(x) + x, 1)

    def test_output_used_by_a_nested_model(self):
        inputs, conv = self._inputs_and_conv()
        x = conv(inputs)
        inner = keras.Input((8, 8, 8))
        nested = keras.Model(inner, keras.layers.ReLU()(inner))
        norm = layers.BatchNormalization()(x)
        self._check(inputs, keras.layers.Add()([norm, nested(x)]), 1)

    def test_shared_layers(self):
        inputs, conv = self._inputs_and_conv()
        norms = [layers.BatchNormalization() for _ in range(2)]
        pair = [norms[0](conv(inputs)), norms[1](conv(-inputs))]
        self._check(inputs, keras.layers.Add()(pair), 2)
        inputs, conv = self._inputs_and_conv()
        _, other = self._inputs_and_conv()
        norm = layers.BatchNormalization()
        pair = [norm(conv(inputs)), norm(other(inputs))]
        self._check(inputs, keras.layers.Add()(pair), 1)

    @parameterized.parameters(1, 2)
    def test_axis_that_is_not_of_the_channels(self, axis):
        inputs, conv = self._inputs_and_conv()
        norm = layers.BatchNormalization(axis=axis)
        self._check(inputs, norm(conv(inputs)), 1)

    def test_keyword_arguments_and_derived_layers(self):
        class Activated(layers.BatchNormalization):
            def call(self, inputs, training=None, mask=None):
                return keras.ops.relu(super().call(inputs, training, mask))

        inputs, conv = self._inputs_and_conv()
        x = layers.BatchNormalization()(inputs=conv(inputs))
        self._check(inputs, x, 0)
        inputs, conv = self._inputs_and_conv()
        self._check(inputs, Activated()(conv(inputs)), 1)

    def test_model_within_a_model(self):
        backbone = _small(include_top=False, pooling="avg")
        inputs = keras.Input((32, 32, 3))
        model = keras.Model(inputs, keras.layers.Dense(2)(backbone(inputs)))
        folded = export.fold_batch_norm(model)
        norms = [
            layer
            for layer in folded.layers
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        self.assertEmpty(norms)
        images = _images(2, 32, 32, 3)
        np.testing.assert_allclose(
            folded(images), model(images, training=False), atol=1e-5
        )

    def test_layers_that_do_something(self):
        """Of users, with a `training` argument; and what makes floats."""

        class Leaky(keras.layers.Layer):
            def call(self, inputs, training=None):
                slope = 0.1 if training else 0.5
                return keras.ops.where(inputs >= 0, inputs, slope * inputs)

        inputs = keras.Input((8, 8, 4), dtype="uint8")
        x = keras.layers.RandomFlip()(inputs) - 3.0
        x = layers.GroupedConv2D(8, 3)(x)
        outputs = Leaky()(layers.BatchNormalization()(x))
        model = keras.Model(inputs, outputs)
        _randomise(model)
        images = np.random.default_rng(0).integers(0, 9, (2, 8, 8, 4), "uint8")
        np.testing.assert_allclose(
            export.fold_batch_norm(model)(images),
            model(images, training=False),
            atol=1e-5,
        )

    def test_a_layer_that_does_something_here_alone(self):
        resize = keras.layers.Resizing(8, 8)
        small = keras.Input((8, 8, 4))
        keras.Model(small, resize(small))
        inputs = keras.Input((16, 16, 4))
        x = layers.GroupedConv2D(8, 3)(resize(inputs))
        model = keras.Model(inputs, layers.BatchNormalization()(x))
        _randomise(model)
        images = _images(2, 16, 16, 4)
        np.testing.assert_allclose(
            export.fold_batch_norm(model)(images),
            model(images, training=False),
            atol=1e-5,
        )

    def test_keeps_network_and_pyramid(self):
        model = _small()
        folded = export.fold_batch_norm(model)
        self.assertEqual(folded.network, model.network)
        shapes = [
            {level: x.shape for level, x in net.pyramid_outputs.items()}
            for net in (folded, model)
        ]
        self.assertEqual(*shapes)

    def test_not_functional(self):
        sequential = keras.Sequential([keras.layers.Dense(2)])
        for model in (keras.layers.Dense(2), sequential):
            with self.assertRaisesRegex(ValueError, "must be a functional"):
                export.fold_batch_norm(model)


if __name__ == "__main__":
    absltest.main()
