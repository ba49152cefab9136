"""Models that users make of a network: each export computes what they do."""

import tempfile
import warnings

import keras
import numpy as np
import onnx
import onnxruntime
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from keras_regnet import export
from keras_regnet.export import runners
from tests.support import oracle_weights

_SHAPE = (32, 32, 3)
# One block: these tests are about what stands around a network.
_CONFIG = keras_regnet.AnyNetConfig(
    (1,), (16,), group_widths=4, block="y", stem_width=8
)


def _images(number=3):
    rng = np.random.default_rng(2)
    return rng.integers(0, 256, (number, *_SHAPE), np.uint8)


def _network(**options):
    options = {"input_shape": _SHAPE, "classes": 4, **options}
    return keras_regnet.build(_CONFIG, **options)


def _with_head(inputs, features):
    x = keras.layers.GlobalAveragePooling2D()(features)
    x = keras.layers.Dropout(0.2)(x)
    x = keras.layers.Dense(4, activation="softmax", dtype="float32")(x)
    return keras.Model(inputs, x)


def _nested():
    """As in Keras's guide to transfer learning."""
    backbone = _network(include_top=False)
    inputs = keras.Input(_SHAPE)
    return _with_head(inputs, backbone(inputs, training=False))


def _nested_in_float16():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return _nested()
    finally:
        keras.config.set_dtype_policy("float32")


def _augmented():
    inputs = keras.Input(_SHAPE)
    x = keras.layers.RandomFlip()(inputs)
    x = keras.layers.RandomRotation(0.1)(x)
    x = keras.layers.RandAugment(value_range=(0, 255))(x)
    return keras.Model(inputs, _network()(x))


def _sequential():
    steps = [keras.layers.RandomContrast(0.1), keras.layers.Rescaling(0.5)]
    return keras.Sequential([keras.Input(_SHAPE), *steps, _network()])


def _adapted_normalization():
    """A stock layer, in a model within the model, called before."""
    norm = keras.layers.Normalization()
    norm.adapt(_images().astype("float32"))
    inputs = keras.Input(_SHAPE)
    prepared = keras.Model(inputs, norm(inputs))
    inputs = keras.Input(_SHAPE)
    backbone = _network(include_top=False, include_preprocessing=False)
    model = _with_head(inputs, backbone(prepared(inputs)))
    model.predict(_images(), verbose=0)
    return model


def _with_adapters(kinds):
    model = _network()
    for layer in model.layers:
        if isinstance(layer, kinds) and getattr(layer, "groups", 1) == 1:
            layer.enable_lora(2)
            b = layer.lora_kernel_b
            b.assign(keras.random.normal(b.shape, stddev=0.1, seed=1))
    return model


def _mean_of_each_pixel():
    norm = keras.layers.Normalization(axis=(1, 2, 3))
    norm.adapt(np.random.default_rng(3).uniform(0, 255, (8, *_SHAPE)))
    inputs = keras.Input(_SHAPE)
    return _with_head(inputs, keras.layers.Conv2D(8, 3)(norm(inputs)))


def _standardized_kernel():
    """A layer that is derived from a convolution computes something else."""

    class Standardized(keras.layers.Conv2D):
        def convolution_op(self, inputs, kernel):
            mean, variance = keras.ops.moments(
                kernel, axes=(0, 1, 2), keepdims=True
            )
            kernel = (kernel - mean) / keras.ops.sqrt(variance + 1e-5)
            return super().convolution_op(inputs, kernel)

    norm = keras.layers.Normalization(mean=[120.0] * 3, variance=[3e3] * 3)
    inputs = keras.Input(_SHAPE)
    return _with_head(inputs, Standardized(8, 3)(norm(inputs)))


def _operations_of_one_name():
    """As of models that were saved by two processes."""

    def scaled(by):
        keras.utils.clear_session()
        inputs = keras.Input(_SHAPE)
        outputs = keras.ops.multiply(inputs, by)
        return keras.Model(inputs, outputs, name=f"by_{int(by)}")

    models = [scaled(2.0), scaled(3.0)]
    keras.utils.clear_session()
    inputs = keras.Input(_SHAPE)
    x = keras.ops.multiply(models[0](inputs), 0.1) + models[1](inputs)
    return keras.Model(inputs, _network()(x))


def _two_called_twice():
    """One backbone for both halves of an image."""
    inputs = keras.Input(_SHAPE)
    backbone = _network(include_top=False, pooling="avg")
    mirrored = inputs[:, :, ::-1]
    x = keras.layers.Concatenate()([backbone(inputs), backbone(mirrored)])
    return keras.Model(inputs, keras.layers.Dense(4)(x))


_MODELS = {
    "nested": _nested,
    "nested_in_float16": _nested_in_float16,
    "augmented": _augmented,
    "sequential": _sequential,
    "adapted_normalization": _adapted_normalization,
    "adapted_convolutions": lambda: _with_adapters(keras.layers.Conv2D),
    "adapted_head": lambda: _with_adapters(keras.layers.Dense),
    "adapted_mean_of_each_pixel": _mean_of_each_pixel,
    "standardized_kernel": _standardized_kernel,
    "operations_of_one_name": _operations_of_one_name,
    "two_called_twice": _two_called_twice,
}


class UserModelsTest(parameterized.TestCase):
    def _folder(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return folder.name

    def _check(self, model, path):
        images = _images()
        expected = model.predict(images.astype("float32"), verbose=0)
        actual = runners.open_file(path).run(images)
        scale = max(1.0, np.abs(expected).max())
        # Mixed precision is exported in float32.
        rounding = 5e-3 if model.dtype_policy.name != "float32" else 1e-4
        np.testing.assert_allclose(actual, expected, atol=rounding * scale)

    @parameterized.product(name=tuple(_MODELS), form=("litert", "onnx"))
    def test_computes_the_same(self, name, form):
        model = _MODELS[name]()
        if not name.startswith("adapted"):
            oracle_weights.fill(model)
        suffix = {"litert": "tflite", "onnx": "onnx"}[form]
        path = f"{self._folder()}/model.{suffix}"
        # The test compares by itself.
        getattr(export, form).save(model, path, verify=False)
        self._check(model, path)

    def test_nested_has_the_operations_of_a_flat_one(self):
        """Batch norm folded, the deviation in the stem, groups merged."""
        contents = [
            export.litert.convert(model, image_size=32, group_width=32)
            for model in (_nested(), _with_head(*_ends(_network())))
        ]
        counts = [len(_operations(content)) for content in contents]
        self.assertEqual(*counts)

    @parameterized.parameters("mixed_float16", "mixed_bfloat16")
    def test_half_precision_is_compared_by_its_own_rounding(self, policy):
        keras.config.set_dtype_policy(policy)
        self.addCleanup(keras.config.set_dtype_policy, "float32")
        model = _network()
        keras.config.set_dtype_policy("float32")
        head = model.get_layer("head_fc")
        # As large as one that was trained.
        head.kernel.assign(head.kernel * 100)
        path = f"{self._folder()}/model.tflite"
        export.litert.save(model, path)
        other = _network()
        with self.assertRaisesRegex(ValueError, "max absolute error"):
            raise ValueError(
                export.verify(other, path, _images(), calls=1).failures
            )

    def test_nested_in_int8(self):
        model = _nested()
        oracle_weights.fill(model)
        path = f"{self._folder()}/model.tflite"
        report = export.litert.save(
            model, path, quantize="int8", representative=_images(8)
        )
        self.assertIn("stem_conv_act", dict(report.layers))

    def test_keras_export_after_predict_has_one_input(self):
        model = _network()
        images = _images().astype("float32")
        expected = model.predict(images, verbose=0)
        path = f"{self._folder()}/model.onnx"
        with warnings.catch_warnings():
            # As NumPy does of names that Keras looks for.
            warnings.simplefilter("ignore")
            model.export(path, format="onnx", verbose=False)
        (given,) = onnx.load(path).graph.input
        session = onnxruntime.InferenceSession(path)
        (actual,) = session.run(None, {given.name: images})
        np.testing.assert_allclose(actual, expected, atol=1e-5)

    def test_quantized_by_keras_is_refused(self):
        model = _network()
        model.get_layer("head_fc").quantize("int8")
        for form, name in (
            (export.litert, "a.tflite"),
            (export.onnx, "a.onnx"),
        ):
            with self.assertRaisesRegex(
                ValueError, "must have float weights.*'head_fc'.*'int8'"
            ):
                form.save(model, f"{self._folder()}/{name}")

    @parameterized.parameters("litert", "onnx", "saved_model")
    def test_outputs_in_a_dictionary_are_refused(self, form):
        network = _network()
        model = keras.Model(network.input, {"probabilities": network.output})
        with self.assertRaisesRegex(ValueError, "dictionary.*probabilities"):
            getattr(export, form).save(model, f"{self._folder()}/model")

    def test_a_layer_that_cannot_be_copied_is_named(self):
        class Scaled(keras.layers.Layer):
            def __init__(self, by, **kwargs):
                super().__init__(**kwargs)
                self.by = by

            def call(self, inputs):
                return inputs * self.by

            def get_config(self):
                return super().get_config()

        inputs = keras.Input(_SHAPE)
        model = keras.Model(inputs, _network()(Scaled(2.0, name="odd")(inputs)))
        with self.assertRaisesRegex(ValueError, "copied.*Scaled 'odd'"):
            export.litert.save(model, f"{self._folder()}/model.tflite")


class ComparisonTest(parameterized.TestCase):
    @parameterized.parameters("litert", "onnx", "saved_model")
    def test_a_file_that_computes_something_else_is_not_written(self, form):
        class Halved(keras.layers.Layer):
            """Gives other outputs each time that it is made from a config."""

            made = 0

            def __init__(self, **kwargs):
                super().__init__(**kwargs)
                Halved.made += 1
                self.by = float(Halved.made)

            def call(self, inputs):
                return inputs / self.by

        inputs = keras.Input(_SHAPE)
        model = keras.Model(inputs, _network()(Halved()(inputs)))
        oracle_weights.fill(model)
        suffix = {"litert": ".tflite", "onnx": ".onnx", "saved_model": ""}[form]
        options = {"fold_batch_norm": True} if form == "saved_model" else {}
        save = getattr(export, form).save
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/model{suffix}"
            with self.assertRaisesRegex(RuntimeError, "max absolute error"):
                save(model, path, **options)
            with self.assertRaisesRegex(AssertionError, "seen"):
                save(model, path, verify=self._fail, **options)
            self.assertRaises(OSError, runners.open_file, path)
            save(model, path, verify=False, **options)
            runners.open_file(path)

    def _fail(self, path):
        runners.open_file(path)
        raise AssertionError("seen")


def _ends(model):
    *_, features = (x for x in model.layers if x.name.endswith("_act"))
    return model.input, features.output


def _operations(contents):
    from ai_edge_litert import interpreter

    opened = interpreter.Interpreter(
        model_content=contents,
        experimental_op_resolver_type=(
            interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        ),
    )
    return opened._get_ops_details()


if __name__ == "__main__":
    absltest.main()
