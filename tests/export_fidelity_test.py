"""Every format and quantisation of whole networks, on real images. Slow."""

import concurrent.futures
import pathlib
import tempfile

import export_testing
import numpy as np
import pytest
from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import digits
from keras_regnet import export
from keras_regnet.export import litert
from keras_regnet.export import onnx
from keras_regnet.export import runners
from keras_regnet.export import saved_model

_NETWORKS = ("RegNetX-200MF", "RegNetY-400MF", "z")
_SIZE = 64


def _photos(count):
    """Returns handwritten digits as uint8 RGB of 64 x 64."""
    pixels = digits.load("test").images[:count]
    factor = _SIZE // pixels.shape[1]
    return pixels.repeat(factor, 1).repeat(factor, 2)


@pytest.mark.slow
class FidelityTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        photos = _photos(160)
        cls.representative, cls.images = photos[:64], photos[64:]
        cls.models = {
            kind: export_testing.network(kind, pixels=cls.representative)
            for kind in _NETWORKS
        }

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )

    def verify(self, kind, path, tolerance, agreement):
        report = export.verify(
            self.models[kind], path, self.images, tolerance=tolerance, calls=3
        )
        self.assertTrue(report.passed, report.table())
        self.assertGreaterEqual(report.top1_agreement, agreement)

    @parameterized.product(
        kind=_NETWORKS,
        quantize=[
            ("none", 1.0), ("float16", 0.98), ("dynamic", 0.93), ("int8", 0.9)
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
