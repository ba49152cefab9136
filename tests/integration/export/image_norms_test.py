"""Networks whose norms compute with each image alone, in every format."""

import dataclasses
import pathlib
import tempfile

import numpy as np
import pytest
from absl.testing import absltest
from absl.testing import parameterized
from ai_edge_litert import interpreter

import keras_regnet
from keras_regnet.export import litert
from keras_regnet.export import onnx
from keras_regnet.export import runners
from keras_regnet.export import saved_model
from tests.support import export_testing

_NETWORKS = {
    norm: dataclasses.replace(
        export_testing.NETWORKS[kind], norm=norm, norm_group_width=4
    )
    for norm, kind in (("group", "y"), ("evonorm_s0a", "z"))
}


def _root_mean_square(values):
    return float(np.sqrt(np.mean(np.square(values))))


class ImageNormsTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.models = {
            norm: export_testing.network(config)
            for norm, config in _NETWORKS.items()
        }

    @parameterized.product(
        norm=[*_NETWORKS], writer=[litert, onnx, saved_model]
    )
    def test_computes_the_same_at_any_size(self, norm, writer):
        """The writers compare file and model themselves, too."""
        model = self.models[norm]
        folder = self.enterContext(tempfile.TemporaryDirectory())
        suffixes = {litert: ".tflite", onnx: ".onnx", saved_model: ""}
        path = pathlib.Path(folder) / f"model{suffixes[writer]}"
        options = {} if writer is saved_model else {"image_size": "dynamic"}
        if writer is litert:
            options["batch"] = "dynamic"
        writer.save(model, path, **options)
        runner = runners.open_file(path)
        for count, height, width in ((1, 32, 32), (3, 48, 40)):
            images = export_testing.images(count, height, width)
            np.testing.assert_allclose(
                runner.run(images),
                model.predict_on_batch(images.astype("float32")),
                atol=1e-5,
            )

    def test_litert_has_built_in_operations_of_four_axes(self):
        contents = litert.convert(self.models["evonorm_s0a"], image_size=32)
        loaded = interpreter.Interpreter(model_content=contents)
        names = {op["op_name"] for op in loaded._get_ops_details()}
        self.assertFalse([name for name in names if "Flex" in name])
        self.assertNotIn("CUSTOM", names)
        shapes = [detail["shape"] for detail in loaded.get_tensor_details()]
        self.assertEqual(max(map(len, shapes)), 4)

    @pytest.mark.long
    def test_int8(self):
        model = self.models["evonorm_s0a"]
        images = export_testing.images(32)
        contents, report = litert.convert_int8(
            model, batch=4, image_size=32, representative=images
        )
        self.assertIn("norms of single images", dict(report.groups))
        found = runners.LiteRTRunner(contents).run(images)
        expected = model.predict_on_batch(images.astype("float32"))
        self.assertLess(_root_mean_square(found - expected), 0.06)

    def test_nothing_is_folded(self):
        model = self.models["group"]
        folded = keras_regnet.export.fold_batch_norm(model)
        self.assertLen(folded.layers, len(model.layers))


if __name__ == "__main__":
    absltest.main()
