"""Weights of networks with group norm or EvoNorm: files, names, detection."""

import os
import tempfile

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from keras_regnet.weights import detect
from keras_regnet.weights import formats
from keras_regnet.weights import mapping
from keras_regnet.weights import save
from keras_regnet.weights import transforms
from keras_regnet.weights.readers import tensors
from tests.support import oracle_weights

_CONFIGS = {
    norm: keras_regnet.AnyNetConfig(
        (1, 2),
        (8, 16),
        block="y",
        stem_width=8,
        norm=norm,
        norm_group_width=4,
    )
    for norm in ("group", "evonorm_s0a")
}
_VARIANTS = (
    ("RegNetY-4.0GF-GroupNorm", "timm"),
    ("RegNetZ-B16-EvoNorm", "byobnet"),
    ("RegNetZ-C16-EvoNorm", "byobnet"),
    ("RegNetZ-C16-EvoNorm", "kecam"),
    ("RegNetZ-D8-EvoNorm", "byobnet"),
    ("RegNetZ-D8-EvoNorm", "kecam"),
)


def _build(norm, weights=None, classes=3):
    return keras_regnet.build(
        _CONFIGS[norm], weights, input_shape=(32, 32, 3), classes=classes
    )


def _names_and_shapes(variant, file_format):
    """Returns what a file has, but for its numbers."""
    config = keras_regnet.get_config(variant)
    sources = mapping.of_format(config, file_format)
    shapes = {}
    for path, shape in mapping.shapes(config, 1000).items():
        spread = np.broadcast_to(np.float32(0), shape)
        name, transform = sources[path]
        shapes[name] = transforms.from_keras(transform, spread).shape
    return tensors.Tensors(shapes, None)


class ImageNormsTest(parameterized.TestCase):
    @parameterized.product(
        norm=[*_CONFIGS],
        suffix=[".keras", ".weights.h5", ".h5", ".safetensors"],
    )
    def test_files_of_ours_and_of_timm_s_names(self, norm, suffix):
        model = _build(norm)
        oracle_weights.fill(model)
        folder = self.enterContext(tempfile.TemporaryDirectory())
        path = os.path.join(folder, f"model{suffix}")
        if suffix == ".safetensors":
            keras_regnet.weights.export(model, path, format="timm")
        elif suffix == ".weights.h5":
            model.save_weights(path)
        else:
            model.save(path)
        again = _build(norm, path)
        self.assertEqual(
            [variable.path for variable in again.weights],
            [variable.path for variable in model.weights],
        )
        for one, other in zip(again.weights, model.weights, strict=True):
            np.testing.assert_array_equal(one, other, one.path)

    def test_names_of_timm(self):
        names = save.state_dict(_build("evonorm_s0a"), "timm")
        block = {name for name in names if name.startswith("s1.b1.conv")}
        self.assertEqual(
            {name.removeprefix("s1.b1.") for name in block if ".bn." in name},
            {
                *("conv1.bn.weight", "conv1.bn.bias", "conv1.bn.v"),
                *("conv2.bn.weight", "conv2.bn.bias", "conv2.bn.v"),
                # No activation stands behind it.
                *("conv3.bn.weight", "conv3.bn.bias"),
            },
        )

    def test_formats_of_batch_norm_have_no_names(self):
        with self.assertRaisesRegex(ValueError, "no names.*norm='group'"):
            save.state_dict(_build("group"), "pycls")

    @parameterized.parameters(*_VARIANTS)
    def test_the_norm_tells_the_network(self, variant, file_format):
        """RegNetZ-C16 has the same stages with batch norm."""
        found = detect.detect(_names_and_shapes(variant, file_format))
        self.assertEqual(found.format, file_format)
        self.assertEqual(found.variant(), variant)
        plain = variant.rpartition("-")[0]
        found = detect.detect(_names_and_shapes(plain, file_format))
        self.assertEqual(found.variant(), plain)

    @parameterized.parameters(*_VARIANTS)
    def test_a_published_file_fits_nothing_else(self, variant, file_format):
        found = detect.detect(_names_and_shapes(variant, file_format))
        fitting = [
            name
            for name in keras_regnet.list_variants()
            if found.fits(keras_regnet.get_config(name))
        ]
        self.assertEqual(fitting, [variant])

    def test_another_norm_was_requested(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        path = os.path.join(folder, "model.safetensors")
        keras_regnet.weights.export(_build("group"), path)
        with self.assertRaisesRegex(
            ValueError, "norm 'group' in the file, 'evonorm_s0a' in what was"
        ):
            _build("evonorm_s0a", path)

    def test_every_layout_names_all_variables(self):
        for layouts in formats.FORMATS.values():
            for layout in layouts:
                for kind, variables in layout.variables.items():
                    self.assertEqual(
                        tuple(variables), formats.VARIABLES[kind], kind
                    )


if __name__ == "__main__":
    absltest.main()
