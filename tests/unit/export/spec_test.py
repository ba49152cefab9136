"""Tests of the options of an export."""

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet.export import rewrites
from keras_regnet.export.spec import Choice
from keras_regnet.export.spec import ExportSpec
from keras_regnet.export.spec import spec_of


class SpecTest(parameterized.TestCase):
    @parameterized.parameters(
        (dict(quantize="int4"), "Did you mean 'int8'"),
        (dict(input="uint9"), "Did you mean 'uint8'"),
        (dict(batch=0), "`batch` must be an integer above 0"),
        (dict(batch="any"), "or 'dynamic'. Received: batch='any'"),
        (dict(image_size=(32, 32, 3)), "a pair of them"),
        (dict(image_size=-1), "Received: image_size=-1"),
        (dict(group_width=0), "`group_width` must be an integer above 0"),
        (dict(representative=[]), "for quantize=int8 alone"),
        (
            dict(format="onnx", quantize="int8"),
            "`quantize` is for format=litert",
        ),
        (dict(quantize="int8"), "`representative` must be given"),
        (dict(keep_float=["head_fc"]), "for quantize=int8 alone"),
        (dict(target="x68"), "Did you mean 'x86'"),
        (dict(format="onnx", target="arm"), "`target` is for format=litert"),
        (
            dict(target=Choice("auto", 64), group_width=16),
            "`group_width` must be that of the choice",
        ),
        (
            dict(target=Choice("x86", float_stages=3)),
            "stages in float32, which is for quantize=int8 alone",
        ),
        (dict(format="onnx", opset=13), "`opset` must be 14 to 18, or None"),
        (dict(opset=17), "`opset` is for format=onnx"),
        (dict(bfloat16=True), "`bfloat16` is for format=saved_model"),
    )
    def test_wrong_arguments(self, arguments, message):
        with self.assertRaisesRegex(ValueError, message):
            ExportSpec(**arguments)

    @parameterized.parameters(
        (("x68",), "Did you mean 'x86'"),
        (("auto", 0), "`group_width` must be an integer above 0 or None"),
        (("auto", None, -1), "`float_stages` must be an integer of 0 or more"),
        (("auto", None, 1.5), "Received: float_stages=1.5"),
    )
    def test_wrong_choices(self, values, message):
        with self.assertRaisesRegex(ValueError, message):
            Choice(*values)

    def test_batch_shape(self):
        for options, shape in (
            (dict(), (1, 48, 40, 3)),
            (dict(batch=4, image_size=32), (4, 32, 32, 3)),
            (dict(batch="dynamic", image_size=(32, 64)), (None, 32, 64, 3)),
            (dict(image_size="dynamic"), (1, None, None, 3)),
        ):
            spec = ExportSpec(**options)
            self.assertEqual(spec.batch_shape((48, 40, 3)), shape)

    def test_precision(self):
        self.assertEqual(ExportSpec(quantize="float16").precision, "float16")
        spec = ExportSpec(format="saved_model", bfloat16=True)
        self.assertEqual(spec.precision, "bfloat16")

    def test_what_a_function_was_given(self):
        spec = spec_of("litert", None, {"batch": 4})
        self.assertEqual((spec.batch, spec.format), (4, "litert"))
        spec = spec_of("litert", spec, {"input": "float"})
        self.assertEqual((spec.batch, spec.input), (4, "float"))
        for arguments, message in (
            (("onnx", spec, {}), "`format` must be 'onnx' here"),
            (("litert", None, {"format": "onnx"}), "must be 'litert' here"),
            (("litert", "int8", {}), "Received: spec='int8'"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                spec_of(*arguments)
        with self.assertRaisesRegex(TypeError, "quantise"):
            spec_of("litert", None, {"quantise": "int8"})


class MergedGroupsTest(parameterized.TestCase):
    @parameterized.parameters(
        # (groups, width, largest), groups left: a divisor, none too wide.
        ((4, 16, 64), 1),
        ((10, 16, 64), 5),
        ((24, 16, 64), 6),
        ((46, 8, 64), 23),
        ((19, 8, 64), 19),
        ((3, 100, 64), 3),
    )
    def test_merged_kernel_computes_the_same(self, arguments, left):
        groups, width, _ = arguments
        self.assertEqual(rewrites.merged_groups(*arguments), left)
        rng = np.random.default_rng(0)
        kernel = rng.normal(size=(1, 1, width, 2 * groups))
        pixel = rng.normal(size=groups * width)

        def convolved(kernel, groups):
            per_group = zip(
                np.split(pixel, groups),
                np.split(kernel[0, 0], groups, axis=1),
                strict=True,
            )
            return np.concatenate([own @ filters for own, filters in per_group])

        merged = rewrites.merged_kernel(kernel, groups, left)
        np.testing.assert_allclose(
            convolved(merged, left), convolved(kernel, groups), atol=1e-12
        )


if __name__ == "__main__":
    absltest.main()
