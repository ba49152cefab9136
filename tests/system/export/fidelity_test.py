"""Every format and quantization of whole networks, on real images. Slow."""

import concurrent.futures
import pathlib
import tempfile

import keras
import numpy as np
import pytest
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from keras_regnet import digits
from keras_regnet import export
from keras_regnet.export import litert
from keras_regnet.export import onnx
from keras_regnet.export import runners
from keras_regnet.export import saved_model

_SMALL_Z = keras_regnet.AnyNetConfig(
    depths=(1, 2, 2), widths=(16, 32, 64), strides=2, group_widths=8,
    bottleneck_ratios=0.25, block="z", se_ratio=0.25, activation="silu",
    stem_width=16, head_width=128,
)  # fmt: skip
_NETWORKS = {
    "RegNetX-200MF": "RegNetX-200MF",
    "RegNetY-400MF": "RegNetY-400MF",
    "small RegNetZ": _SMALL_Z,
}
_SIZE = 64
_EPOCHS = 12
_BATCH = 32


def _digits(split):
    """Returns handwritten digits as uint8 RGB of 64 x 64, and the labels."""
    stored = digits.load(split)
    factor = _SIZE // stored.images.shape[1]
    return stored.images.repeat(factor, 1).repeat(factor, 2), stored.labels


def _trained(kind, pixels, labels):
    """Returns a network that knows the digits.

    A deep network that was not trained tells images apart by differences so
    small that rounding alone changes its mind.
    """
    keras.utils.set_random_seed(3)
    model = keras_regnet.build(
        _NETWORKS[kind],
        input_shape=(None, None, 3),
        classes=10,
        zero_init_last_gamma=True,
    )
    steps = _EPOCHS * len(pixels) // _BATCH
    model.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(2e-3, steps)
        ),
        "sparse_categorical_crossentropy",
    )
    model.fit(
        pixels.astype("float32"),
        labels,
        batch_size=_BATCH,
        epochs=_EPOCHS,
        verbose=0,
    )
    return model


@pytest.mark.long
class FidelityTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        pixels, labels = _digits("train")
        cls.representative = pixels[:200]
        cls.images, cls.labels = _digits("test")
        cls.models = {
            kind: _trained(kind, pixels, labels) for kind in _NETWORKS
        }

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )

    def verify(self, kind, path, tolerance, agreement):
        report = export.verify(
            self.models[kind],
            path,
            self.images,
            self.labels,
            tolerance=tolerance,
            calls=3,
        )
        # Of a model that knows nothing the others would say nothing.
        self.assertGreater(report.model_accuracy, 0.9)
        self.assertTrue(report.passed, report.table())
        self.assertGreaterEqual(report.top1_agreement, agreement)
        self.assertGreater(report.file_accuracy, report.model_accuracy - 0.01)

    @parameterized.product(
        kind=list(_NETWORKS),
        quantize=[
            ("none", 1.0), ("float16", 0.998), ("dynamic", 0.98), ("int8", 0.98)
        ],
    )  # fmt: skip
    def test_litert(self, kind, quantize):
        quantize, agreement = quantize
        options = {}
        if quantize == "int8":
            options = {"representative": self.representative}
        path = self.folder / "model.tflite"
        litert.save(
            self.models[kind], path, quantize=quantize, image_size=_SIZE,
            **options,
        )  # fmt: skip
        self.verify(kind, path, quantize, agreement)

    @parameterized.parameters(*_NETWORKS)
    def test_onnx_and_saved_model(self, kind):
        onnx.save(self.models[kind], self.folder / "model.onnx")
        self.verify(kind, self.folder / "model.onnx", "none", 1.0)
        saved_model.save(self.models[kind], self.folder / "saved_model")
        self.verify(kind, self.folder / "saved_model", "none", 1.0)

    def test_interpreters_of_many_threads_at_once(self):
        contents = litert.convert(
            self.models["RegNetY-400MF"], image_size=_SIZE
        )
        expected = runners.LiteRTRunner(contents).run(self.images)

        def run(part):
            runner = runners.LiteRTRunner(contents, threads=2)
            return runner.run(self.images[part])

        parts = [slice(start, None, 4) for start in range(4)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for part, found in zip(parts, pool.map(run, parts), strict=True):
                np.testing.assert_allclose(found, expected[part], atol=1e-6)


if __name__ == "__main__":
    absltest.main()
