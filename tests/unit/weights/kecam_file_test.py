"""Files of kecam load and compute what kecam computes.

`oracles/make_kecam.py` made them; images are normalised as ImageNet's.
"""

import dataclasses
import functools
import pathlib
import tempfile
import zipfile

import h5py
import keras
import numpy as np
import pytest
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from keras_regnet.weights import fetch
from keras_regnet.weights import inspect
from keras_regnet.weights import records
from keras_regnet.weights.readers import kecam_file
from tests.support import oracle_weights
from tests.support import paths

pytestmark = pytest.mark.versions

_ZIP = paths.DATA / "kecam.zip"
_CONFIGS = {
    "y": keras_regnet.AnyNetConfig(
        (2, 1, 1, 1),
        (8, 16, 16, 24),
        group_widths=8,
        block="y",
        stem_width=8,
    ),
    "z": keras_regnet.AnyNetConfig(
        (1, 2),
        (8, 16),
        strides=(1, 2),
        bottleneck_ratios=0.25,
        group_widths=4,
        block="z",
        se_ratio=0.25,
        se_from="inner",
        se_activation="relu",
        expand_from="input",
        stem="tiered",
        stem_width=16,
        activation="silu",
        head_width=16,
    ),
}
_CONFIGS["z_evonorm"] = dataclasses.replace(
    _CONFIGS["z"], stem="deep", norm="evonorm_s0a", norm_group_width=8
)


@functools.cache
def _folder():
    """Returns a folder with the files, which lives as long as the tests."""
    folder = tempfile.TemporaryDirectory()
    zipfile.ZipFile(_ZIP).extractall(folder.name)
    _folder.keep = folder
    return pathlib.Path(folder.name)


def _build(name, path=None, **arguments):
    return keras_regnet.build(
        _CONFIGS[name],
        weights=path or _folder() / f"{name}.h5",
        input_shape=(None, None, 3),
        classifier_activation=None,
        **{"classes": 5, **arguments},
    )


class KecamFileTest(parameterized.TestCase):
    @parameterized.parameters(*_CONFIGS)
    def test_computes_the_same(self, name):
        model = _build(name)
        self.assertEqual(model.network.padding, "symmetric")
        stages = list(model.pyramid_outputs.values())
        stages = stages[-len(model.network.depths) :]
        network = keras.Model(model.input, [*stages, model.output])
        stored = np.load(_folder() / f"{name}.npz")
        for size in (48, 45):
            got = network(oracle_weights.photos(size), training=False)
            keys = [f"stage{n}" for n in range(1, len(stages) + 1)]
            for key, value in zip([*keys, "logits"], got, strict=True):
                wanted = stored[f"{size}/{key}"]
                scale = np.abs(wanted).max()
                np.testing.assert_allclose(
                    np.asarray(value) / scale, wanted / scale, atol=1e-5
                )

    def test_names(self):
        tensors = kecam_file.read(_folder() / "y.h5")
        # One group in the first stage, two in the second.
        for stage, kernel in ((1, (3, 3, 8, 8)), (2, (3, 3, 8, 16))):
            name = f"stack{stage}_block1_deep_2_conv/kernel"
            self.assertEqual(tensors.shapes[name], kernel)
        self.assertEqual(tensors.shapes["predictions/bias"], (5,))

    def test_whose_a_file_is(self):
        ours = _folder() / "ours.weights.h5"
        _build("y").save_weights(ours)
        self.assertTrue(kecam_file.is_of_kecam(_folder() / "z.h5"))
        self.assertFalse(kecam_file.is_of_kecam(ours))
        self.assertFalse(kecam_file.is_of_kecam(__file__))

    def test_other_classes(self):
        with self.assertWarnsRegex(UserWarning, "'y.h5' classifies 5 classes"):
            model = _build("y", classes=7)
        np.testing.assert_array_equal(
            model.get_layer("stem_conv").kernel,
            _build("y").get_layer("stem_conv").kernel,
        )

    def test_another_network(self):
        with self.assertRaisesRegex(
            ValueError, "widths 8-16-16-24 in the names of 'kecam', but Reg"
        ):
            keras_regnet.RegNetY("4.0GF", weights=_folder() / "y.h5")

    def test_missing_tensor(self):
        path = _folder() / "missing.h5"
        path.write_bytes((_folder() / "y.h5").read_bytes())
        with h5py.File(path, "a") as file:
            layer = file["model_weights/stack2_block1_3_bn"]
            del layer["stack2_block1_3_bn/moving_variance:0"]
        with self.assertRaisesRegex(
            ValueError, "missing in the file: stack2_block1_3_bn/moving_var"
        ):
            _build("y", path)

    def test_another_norm(self):
        with self.assertRaisesRegex(
            ValueError,
            "norm 'evonorm_s0a' in the file, 'batch' in what was requested.*"
            "z_evonorm.h5",
        ):
            _build("z", _folder() / "z_evonorm.h5")


class RecordsTest(absltest.TestCase):
    def test_published_files(self):
        record = records.find("RegNetZ-D8", "ra3_in1k@kecam")
        self.assertEqual(record.md5, "1fa2de5606f33b503cedda4689b8bddd")
        self.assertEqual(record.mean, (127.5, 127.5, 127.5))
        self.assertEqual(records.by_digest(record.md5), (record,))
        self.assertLen(records.list_weights(source="kecam"), 12)

    def test_sets_are_timm_s_or_only_kecam_s(self):
        for record in records.list_weights(source="kecam"):
            if record.tag != "kecam_in1k":
                twin = records.find(record.variant, f"{record.tag}@timm")
                self.assertEqual(record.licence, twin.licence)

    def test_a_published_file_is_known_by_its_md5(self):
        path = _folder() / "y.h5"
        record = records.find("RegNetY-16GF", "kecam_in1k")
        with absltest.mock.patch.object(fetch, "md5", return_value=record.md5):
            known = inspect.published_as(path, [record])
        self.assertEqual(known, (record,))


if __name__ == "__main__":
    absltest.main()
