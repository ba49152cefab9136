"""Tests of int8: what it loses, what stays in float, what it refuses."""

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized
from ai_edge_litert import interpreter

from keras_regnet.export import litert
from keras_regnet.export import runners
from tests.support import export_testing


def _tensors(contents):
    loaded = interpreter.Interpreter(
        model_content=contents,
        experimental_op_resolver_type=(
            interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        ),
    )
    loaded.allocate_tensors()
    return {t["name"]: t for t in loaded.get_tensor_details()}, loaded


class QuantizationTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.models = {
            kind: export_testing.network(kind)
            for kind in export_testing.NETWORKS
        }
        # Never black nor white, as a dull set of photographs.
        cls.representative = 20 + export_testing.images(32) // 2
        cls.held_out = export_testing.images(48)
        cls.files = {}
        cls.reports = {}
        for kind, model in cls.models.items():
            cls.files[kind], cls.reports[kind] = litert.convert_int8(
                model, representative=export_testing.images(33), image_size=32
            )

    @parameterized.parameters(*export_testing.NETWORKS)
    def test_close_to_the_model(self, kind):
        expected = self.models[kind].predict_on_batch(
            self.held_out.astype("float32")
        )
        found = runners.LiteRTRunner(self.files[kind]).run(self.held_out)
        self.assertLess(np.abs(found - expected).mean(), 0.04)
        agree = found.argmax(-1) == expected.argmax(-1)
        self.assertGreaterEqual(agree.mean(), 0.85)

    def test_weights_are_int8_per_channel(self):
        contents, _ = litert.convert_int8(
            self.models["y"],
            representative="random",
            image_size=32,
            keep_float=(),
        )
        tensors, loaded = _tensors(contents)
        (images,) = loaded.get_input_details()
        (outputs,) = loaded.get_output_details()
        self.assertEqual(images["dtype"], np.uint8)
        self.assertEqual(outputs["dtype"], np.float32)
        convolutions = [
            op for op in loaded._get_ops_details() if op["op_name"] == "CONV_2D"
        ]
        by_index = {t["index"]: t for t in tensors.values()}
        for operation in convolutions:
            kernel = by_index[operation["inputs"][1]]
            self.assertEqual(kernel["dtype"], np.int8)
            scales = kernel["quantization_parameters"]["scales"]
            self.assertLen(scales, kernel["shape"][0])

    def test_all_pixels_are_in_range(self):
        contents = litert.convert(
            self.models["x"],
            quantize="int8",
            representative=self.representative,
            keep_float=(),
            image_size=32,
        )
        _, loaded = _tensors(contents)
        (images,) = loaded.get_input_details()
        self.assertEqual(images["quantization"], (1.0, 0))
        tensors, _ = _tensors(contents)
        (scale,) = [
            tensor["quantization"][0]
            for name, tensor in tensors.items()
            if name.endswith("pixels_1/sub")
        ]
        # From the darkest red, whose mean is 123.7, to the brightest blue.
        self.assertAlmostEqual(scale, (255 - 103.53 + 123.675) / 255, places=4)

    @parameterized.parameters("float", "int8")
    def test_other_inputs_give_the_same(self, kind):
        images = self.held_out[:8]
        contents = litert.convert(
            self.models["x"],
            quantize="int8",
            representative=export_testing.images(33),
            input=kind,
            image_size=32,
        )
        np.testing.assert_allclose(
            runners.LiteRTRunner(contents).run(images),
            runners.LiteRTRunner(self.files["x"]).run(images),
            atol=1e-6,
        )

    def test_report(self):
        report = self.reports["y"]
        names = [layer.name for layer in self.models["y"].layers]
        worst, errors = zip(*report.layers, strict=True)
        self.assertEqual(list(errors), sorted(errors, reverse=True))
        known = [name for name in worst if name in [*names, "pixels"]]
        self.assertLen(known, len(worst))
        self.assertLess(errors[0], 0.5)
        self.assertGreater(errors[0], 0.001)
        self.assertLessEqual(report.final_error, report.error)
        groups = dict(report.groups)
        self.assertIn("squeeze-and-excitation", groups)
        self.assertNotIn(
            "squeeze-and-excitation", dict(self.reports["x"].groups)
        )
        for name in report.kept:
            self.assertLess(groups[name], 1.0)
        self.assertIn(worst[0], report.table())

    def test_layers_by_name_stay_in_float(self):
        contents, report = litert.convert_int8(
            self.models["x"],
            representative="random",
            image_size=32,
            keep_float=["head_fc", "stage1_block1_conv2_act"],
        )
        tensors, _ = _tensors(contents)
        kept = [
            t["dtype"]
            for name, t in tensors.items()
            if "/stage1_block1_conv2_act" in name or "/head_fc" in name
        ]
        self.assertIn(np.float32, kept)
        self.assertEqual(report.kept, ("head_fc", "stage1_block1_conv2_act"))
        with self.assertRaisesRegex(ValueError, r"Received: \['nowhere'\]"):
            litert.convert(
                self.models["x"],
                quantize="int8",
                representative="random",
                image_size=32,
                keep_float=["nowhere"],
            )

    def test_same_bytes_again(self):
        again = litert.convert(
            self.models["y"],
            quantize="int8",
            representative=export_testing.images(33),
            image_size=32,
        )
        self.assertEqual(again, self.files["y"])

    @parameterized.parameters(
        (None, "for quantize=int8: images as the model"),
        ([], "`representative` must be of shape"),
        (np.zeros([2, 40, 32, 3]), r"\(n, 32, 32, 3\).*\(2, 40, 32, 3\)"),
        (np.full([2, 32, 32, 3], 0.3), "`representative` must have RGB"),
        (np.full([2, 32, 32, 3], 300), "from 300 to 300"),
    )
    def test_refuses(self, representative, message):
        with self.assertRaisesRegex(ValueError, message):
            litert.convert(
                self.models["x"],
                quantize="int8",
                representative=representative,
                image_size=32,
            )


if __name__ == "__main__":
    absltest.main()
