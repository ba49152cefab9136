"""What files of other projects' names hold, and what cannot be written."""

import dataclasses
import pathlib
import tempfile

import keras
import numpy as np
import safetensors.numpy
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from keras_regnet.weights import save
from tests.support import oracle_weights

_SHAPE = (32, 32, 3)


_SMALL = keras_regnet.AnyNetConfig((1, 1), (8, 16), group_widths=4, block="y")


class ExportingTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.model = keras_regnet.build(_SMALL, input_shape=_SHAPE, classes=3)
        oracle_weights.fill(cls.model)

    @parameterized.parameters("torchvision", "pycls")
    def test_other_formats_load_back(self, file_format):
        path = self.folder / f"{file_format}.safetensors"
        keras_regnet.weights.export(self.model, path, file_format)
        again = keras_regnet.build(
            _SMALL, weights=path, input_shape=_SHAPE, classes=3
        )
        for left, right in zip(self.model.weights, again.weights, strict=True):
            np.testing.assert_array_equal(left, right)

    def test_adapters_become_part_of_their_kernels(self):
        model = keras_regnet.build(_SMALL, input_shape=_SHAPE, classes=3)
        for name in ("stem_conv", "stage2_block1_conv3", "head_fc"):
            model.get_layer(name).enable_lora(2)
        oracle_weights.fill(model)
        path = self.folder / "adapted.safetensors"
        keras_regnet.weights.export(model, path, "timm")
        again = keras_regnet.build(
            _SMALL, weights=path, input_shape=_SHAPE, classes=3
        )
        images = oracle_weights.photos(32)
        np.testing.assert_allclose(again(images), model(images), atol=1e-5)
        with tempfile.TemporaryDirectory() as folder:
            model.save(f"{folder}/adapted.h5")
            with self.assertRaisesRegex(ValueError, "has a 'lora_kernel_"):
                keras_regnet.build(
                    _SMALL,
                    weights=f"{folder}/adapted.h5",
                    input_shape=_SHAPE,
                    classes=3,
                )

    def test_what_was_folded_is_refused(self):
        folded = keras_regnet.export.fold_batch_norm(self.model)
        with self.assertRaisesRegex(ValueError, "Missing: stem_conv_bn/gamma"):
            keras_regnet.weights.export(
                folded, self.folder / "folded.safetensors"
            )

    def test_quantized_weights_are_refused(self):
        model = keras_regnet.build(_SMALL, input_shape=_SHAPE, classes=3)
        model.get_layer("head_fc").quantize("int8")
        with self.assertRaisesRegex(ValueError, "float weights.*'head_fc'"):
            keras_regnet.weights.export(
                model, self.folder / "quantized.safetensors"
            )

    def test_layout_of_pytorch(self):
        state = save.state_dict(self.model, "torchvision")
        ours = {v.path: np.asarray(v) for v in self.model.weights}
        kernel = state["trunk_output.block1.block1-0.f.b.0.weight"]
        self.assertEqual(kernel.shape, (8, 4, 3, 3))
        self.assertEqual(
            kernel[5, 3, 0, 2], ours["stage1_block1_conv2/kernel"][0, 2, 3, 5]
        )
        np.testing.assert_array_equal(
            state["fc.weight"], ours["head_fc/kernel"].T
        )
        counters = [
            name for name in state if name.endswith("num_batches_tracked")
        ]
        norms = [path for path in ours if path.endswith("/gamma")]
        self.assertLen(counters, len(norms))
        self.assertEqual(state[counters[0]].dtype, "int64")

    def test_pycls_takes_blue_first(self):
        pycls = save.state_dict(self.model, "pycls")["stem.conv.weight"]
        timm = save.state_dict(self.model, "timm")["stem.conv.weight"]
        np.testing.assert_array_equal(pycls, timm[:, ::-1])

    def test_normalization_comes_back(self):
        """timm's RegNetZ are published with another one than ImageNet's."""
        options = {"input_shape": _SHAPE, "classes": 3}
        model = keras_regnet.RegNetZ("C16-EvoNorm", **options)
        self.assertEqual(model.record.mean, (123.675, 116.28, 103.53))
        path = self.folder / "c16.safetensors"
        keras_regnet.weights.export(model, path)
        again = keras_regnet.RegNetZ("C16-EvoNorm", weights=path, **options)
        self.assertEqual(again.record.mean, model.record.mean)
        self.assertEqual(again.record.std, model.record.std)

    @parameterized.parameters("1 2", "1 2 nan", "1 2 x", "1 2 0")
    def test_damaged_normalization(self, std):
        path = self.folder / "damaged.safetensors"
        keras_regnet.weights.export(self.model, path)
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = {**file.metadata(), "keras_regnet.std": std}
        tensors = safetensors.numpy.load_file(path)
        safetensors.numpy.save_file(tensors, path, metadata)
        with self.assertRaisesRegex(ValueError, "damaged.safetensors"):
            keras_regnet.build(
                _SMALL, weights=path, input_shape=_SHAPE, classes=3
            )

    def test_file_says_that_it_is_pytorch_s(self):
        path = self.folder / "meta.safetensors"
        keras_regnet.weights.export(self.model, path)
        with safetensors.safe_open(path, framework="numpy") as file:
            self.assertEqual(file.metadata()["format"], "pt")
        self.assertEmpty(list(self.folder.glob(".*")))

    @parameterized.parameters(
        (dict(format="tim"), "Unknown `format`. Did you mean 'timm'"),
        (
            dict(path="a.onnx"),
            "Unknown `path`.*Allowed: '.safetensors', '.pth'",
        ),
        (dict(model=keras.Sequential()), "that keras_regnet's builders made"),
    )
    def test_refuses(self, arguments, message):
        arguments = {"model": self.model, "path": "a.safetensors", **arguments}
        with self.assertRaisesRegex(ValueError, message):
            keras_regnet.weights.export(**arguments)

    def test_refuses_padding_that_pytorch_does_not_have(self):
        config = keras_regnet.AnyNetConfig((1,), (8,), padding="same")
        model = keras_regnet.build(config, input_shape=_SHAPE, classes=3)
        path = self.folder / "same.safetensors"
        with self.assertRaisesRegex(ValueError, "must have symmetric padding"):
            keras_regnet.weights.export(model, path)
        self.assertFalse(path.exists())

    def test_refuses_widths_that_torchvision_does_not_have(self):
        config = keras_regnet.RegNetConfig(2, 16, 12.5, 2.54, 16, stem_width=8)
        for rounding, fits in (("pycls", False), ("torchvision", True)):
            rounded = dataclasses.replace(config, width_rounding=rounding)
            model = keras_regnet.build(rounded, input_shape=_SHAPE, classes=3)
            path = self.folder / f"{rounding}.safetensors"
            if fits:
                keras_regnet.weights.export(model, path, "torchvision")
                continue
            with self.assertRaisesRegex(ValueError, "which rounds them other"):
                keras_regnet.weights.export(model, path, "torchvision")


if __name__ == "__main__":
    absltest.main()
