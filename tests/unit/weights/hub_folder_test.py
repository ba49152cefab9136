"""Folders and repositories of the hub: what is written, read and refused."""

import dataclasses
import json
import pathlib
import tempfile
import warnings
from unittest import mock

import numpy as np
import safetensors
from absl.testing import absltest
from absl.testing import parameterized
from huggingface_hub import constants

import keras_regnet
from keras_regnet import open_model
from keras_regnet.center_crop import CenterCrop
from keras_regnet.weights import fetch
from keras_regnet.weights import records
from keras_regnet.weights import resolve
from keras_regnet.weights import save
from keras_regnet.weights import save_folder
from tests.support import hub_testing
from tests.support import oracle_weights

_LINE = keras_regnet.RegNetConfig(6, 16, 16, 2, 8, block="y")
_SHAPE = (64, 96, 3)
_NAMES = ("ant", "honey_bee", "cat")
_MEAN, _STD = (120.0, 110.5, 100.25), (50.0, 60.0, 70.0)
_CROP = CenterCrop(0.9, "bicubic", antialias=True, rounding="even")


def _build(config=_LINE, names=_NAMES, **options):
    """Returns a model whose weights, names and crop are like no other's."""
    if isinstance(config, str):
        config = keras_regnet.get_config(config)
    resolved = keras_regnet.weights.ResolvedWeights(config, _MEAN, _STD)
    options = {"classes": 3, "input_shape": _SHAPE, **options}
    model = keras_regnet.build(config, resolved, **options)
    oracle_weights.fill(model)
    record = dataclasses.replace(
        model.record, class_names=names, image_size=_SHAPE[:2], crop=_CROP
    )
    model.set_record(record)
    return model


class FolderTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        parent = self.enter_context(tempfile.TemporaryDirectory())
        self.folder = pathlib.Path(parent) / "mine"

    def config(self):
        return json.loads((self.folder / "config.json").read_text())

    def card(self):
        return (self.folder / "README.md").read_text()

    def edit(self, change):
        values = self.config()
        change(values)
        (self.folder / "config.json").write_text(json.dumps(values))

    def assert_same(self, model, other):
        for left, right in zip(model.weights, other.weights, strict=True):
            np.testing.assert_array_equal(left, right, left.path)

    def test_timm_s_fields(self):
        """As timm writes them for a fine-tuned network with labels."""
        save_folder(_build("RegNetY-200MF"), self.folder, licence="mit")
        config = self.config()
        del config["keras_regnet"]
        self.assertEqual(
            config,
            {
                "architecture": "regnety_002",
                "num_classes": 3,
                "num_features": 368,
                "global_pool": "avg",
                "label_names": list(_NAMES),
                "pretrained_cfg": {
                    "custom_load": False,
                    "input_size": [3, 64, 96],
                    "fixed_input_size": False,
                    "interpolation": "bicubic",
                    "crop_pct": 0.9,
                    "crop_mode": "center",
                    "mean": [round(x / 255, 10) for x in _MEAN],
                    "std": [round(x / 255, 10) for x in _STD],
                    "num_classes": 3,
                    "pool_size": None,
                    "first_conv": "stem.conv",
                    "classifier": "head.fc",
                    "license": "mit",
                },
            },
        )
        file = self.folder / "model.safetensors"
        with safetensors.safe_open(file, framework="numpy") as tensors:
            self.assertIn("s1.b1.conv1.conv.weight", tensors.keys())
        self.assertLen(list(self.folder.iterdir()), 3)

    @parameterized.parameters(
        dict(config=_LINE),
        dict(config="RegNetX-200MF"),
        dict(config=dataclasses.replace(_LINE, width_rounding="torchvision")),
        dict(config=_LINE, input_shape=(64, 96, 1)),
        dict(config=_LINE, include_top=False, pooling="avg", names=None),
    )
    def test_round_trip(self, config, **options):
        model = _build(config, **options)
        save_folder(model, self.folder)
        built = {k: v for k, v in options.items() if k != "names"}
        built = {"classes": 3, "input_shape": _SHAPE, **built}
        again = keras_regnet.build(config, self.folder, **built)
        self.assert_same(model, again)
        self.assertEqual(again.network, model.network)
        if model.input_shape[-1] == 3:
            self.assertEqual(again.record, model.record)
        for name in ("class_names", "image_size", "crop"):
            self.assertEqual(
                getattr(again.record, name), getattr(model.record, name)
            )
        images = np.random.default_rng(0).uniform(
            0, 255, (1, *model.input_shape[1:])
        )
        np.testing.assert_allclose(
            model(images, training=False), again(images, training=False), 1e-5
        )

    def test_a_folder_tells_its_network(self):
        model = _build()
        save_folder(model, self.folder)
        for source in (self.folder, str(self.folder)):
            opened = open_model.open_model(source)
            self.assertEqual(opened.keras_model.network, _LINE)
            self.assertEqual(opened.class_names, _NAMES)
            self.assertEqual(opened.evaluation_size, _SHAPE[:2])
            self.assertEqual(opened.crop, _CROP)
        self.assertEqual(resolve(self.folder / "model.safetensors").mean, _MEAN)

    def test_a_fine_tuned_network_of_timm_s(self):
        """Its file has none of our fields; that of before 0.9 is flat."""
        save_folder(_build("RegNetX-200MF"), self.folder)
        self.edit(lambda values: values.pop("keras_regnet"))
        for is_flat in (False, True):
            if is_flat:
                self.edit(lambda v: v.update(v.pop("pretrained_cfg")))
            record = keras_regnet.RegNetX(
                "200MF", str(self.folder), classes=3
            ).record
            self.assertEqual(record.class_names, _NAMES)
            self.assertEqual((record.mean, record.std), (_MEAN, _STD))
            self.assertEqual(record.image_size, _SHAPE[:2])
            self.assertEqual(
                record.crop, CenterCrop(0.9, "bicubic", True, "even", True)
            )

    def test_the_size_of_tests_comes_before_that_of_training(self):
        save_folder(_build(), self.folder)

        def change(values):
            del values["keras_regnet"]["image_size"]
            values["pretrained_cfg"]["test_input_size"] = [3, 288, 320]
            values["pretrained_cfg"]["test_crop_pct"] = 1.0

        self.edit(change)
        record = resolve(self.folder).model_record(3)
        self.assertEqual(record.image_size, (288, 320))
        self.assertEqual(record.crop.fraction, 1)

    def test_the_origin_stays_known(self):
        model = _build("RegNetX-200MF")
        origin = records.find("RegNetX-200MF", "pycls_in1k")
        model.set_record(dataclasses.replace(model.record, weights=origin))
        save_folder(model, self.folder)
        self.assertEqual(resolve(self.folder).model_record(3).weights, origin)
        self.assertIn('license: "mit"\nbase_model: "timm/regnetx', self.card())
        self.assertNotIn("Accuracy", self.card())

    def test_licenses_without_commercial_use_are_said_again(self):
        model = _build("RegNetX-200MF")
        origin = dataclasses.replace(
            records.find("RegNetX-200MF", "pycls_in1k"), licence="seer-license"
        )
        model.set_record(dataclasses.replace(model.record, weights=origin))
        save_folder(model, self.folder)
        self.assertIn('"other"\nlicense_name: "seer-license"', self.card())
        with (
            mock.patch.object(records, "find", return_value=origin),
            self.assertWarnsRegex(UserWarning, "allows no commercial use"),
        ):
            resolve(self.folder)

    def test_accuracy_of_the_published_numbers_alone(self):
        model = _build("RegNetX-200MF")
        origin = records.find("RegNetX-200MF", "pycls_in1k")
        model.set_record(dataclasses.replace(model.record, weights=origin))
        path = self.folder.with_name("published.safetensors")
        save.export(model, path)
        with mock.patch.object(fetch, "cached", return_value=path):
            save_folder(model, self.folder)
            self.assertIn("as published for 224 x 224", self.card())
            self.assertIn(f": {origin.top1:g}\n", self.card())
            bias = model.get_layer("head_fc").bias
            bias.assign(bias + 1)
            save_folder(model, self.folder, metrics={"top-1 on ants": 97.5})
        self.assertNotIn("as published", self.card())
        self.assertIn("- top-1 on ants: 97.5\n", self.card())

    @parameterized.parameters(
        ({"top-1": "97"},),
        ({"top-1": None},),
        ({"top-1": np.nan},),
        ({1: 97.0},),
        ([97.0],),
    )
    def test_metrics_that_are_no_numbers(self, metrics):
        with self.assertRaisesRegex(ValueError, "`metrics` must be finite"):
            save_folder(_build(), self.folder, metrics=metrics)
        self.assertFalse(self.folder.exists())

    def test_card_of_a_run(self):
        run = self.folder.with_name("run")
        run.mkdir()
        settings = {"dataset": "my|set", "epochs": 12, "recipe": ""}
        (run / "config.json").write_text(json.dumps({"config": settings}))
        save_folder(_build(), self.folder, run_folder=run)
        self.assertIn(
            "| `dataset` | my\\|set |\n| `epochs` | 12 |", self.card()
        )
        self.assertNotIn("`recipe`", self.card())

    def test_card_holds_no_markup_of_others(self):
        names = ("<script>", "a|b", "[x](http://y)")
        save_folder(_build(names=names), self.folder)
        self.assertIn(r"\<script\>, a\|b, \[x\](http://y).", self.card())

    def test_replaces_its_own_folder_alone(self):
        save_folder(_build(), self.folder)
        other = _build("RegNetX-200MF")
        save_folder(other, self.folder)
        again = keras_regnet.RegNetX("200MF", self.folder, classes=3)
        self.assert_same(other, again)
        (self.folder / "mine.txt").touch()
        with self.assertRaisesRegex(
            ValueError, "`path` must be a new or empty"
        ):
            save_folder(other, self.folder)
        self.assertEqual(
            [p.name for p in self.folder.parent.iterdir()], ["mine"]
        )

    @parameterized.parameters(
        (dict(stem="cifar"), "no names for a network with stem='cifar'"),
        (dict(padding="same"), "symmetric padding"),
        (dict(activation="softplus"), "Unknown `activation`"),
        (dict(se_activation="silu"), "has one activation"),
        (dict(strides=(1, 2, 2, 2)), "halves the image in every stage"),
        (dict(w_0=20), "makes 4 stages"),
        (dict(depth=3, w_a=8), "makes 4 stages"),
        (dict(block="v", group_width=None, se_ratio=0), "with block='v'"),
    )
    def test_refuses_networks_that_timm_does_not_have(self, changes, message):
        changes = {"block": "y", **changes}
        model = _build(dataclasses.replace(_LINE, **changes))
        with self.assertRaisesRegex(ValueError, message):
            save_folder(model, self.folder)
        self.assertFalse(self.folder.exists())

    def test_refuses_networks_given_by_stages(self):
        config = keras_regnet.AnyNetConfig((1,) * 4, (8, 16, 24, 32))
        with self.assertRaisesRegex(
            ValueError, "networks given stage by stage"
        ):
            save_folder(_build(config), self.folder)

    @parameterized.parameters(
        (dict(output_stride=16), {}, "`model` must have the strides"),
        ({}, dict(licence="MIT License"), "`licence` must be an identifier"),
        ({}, dict(run_folder="/nowhere"), "`run_folder` must be a folder"),
    )
    def test_refuses(self, options, arguments, message):
        model = _build(**options)
        with self.assertRaisesRegex(ValueError, message):
            save_folder(model, self.folder, **arguments)

    def test_refuses_what_is_no_model_of_ours(self):
        model = keras_regnet.prefix_layer_names(_build(), "left_")
        with self.assertRaisesRegex(ValueError, "layers of its network"):
            save_folder(model, self.folder)

    @parameterized.parameters(
        lambda values: values.update(pretrained_cfg=[]),
        lambda values: values.update(label_names=[1, 2, 3]),
        lambda values: values["pretrained_cfg"].update(crop_pct=7),
        lambda values: values["pretrained_cfg"].update(mean=["a"] * 3),
        lambda values: values["pretrained_cfg"].update(mean=[0.1, 0.2]),
        lambda values: (
            values["pretrained_cfg"].update(input_size=[3, -1, 5])
            or values["keras_regnet"].pop("image_size")
        ),
        lambda values: values["pretrained_cfg"].update(interpolation="best"),
        lambda values: values["keras_regnet"].update(image_size=[9, 9999]),
        lambda values: values["keras_regnet"].update(network={"type": "x"}),
        lambda values: values["keras_regnet"].update(crop={"smooth": 1}),
        lambda values: values.update(keras_regnet="ours"),
    )
    def test_damaged_descriptions_are_named(self, change):
        save_folder(_build(), self.folder)
        self.edit(change)
        with self.assertRaisesRegex(
            ValueError, "cannot be loaded: .*config.json' does not describe"
        ):
            resolve(self.folder)

    def test_other_modes_of_cropping_are_said(self):
        save_folder(_build(), self.folder)
        self.edit(lambda v: v["pretrained_cfg"].update(crop_mode="squash"))
        with self.assertWarnsRegex(UserWarning, "crop_mode='squash'"):
            resolve(self.folder)

    def test_descriptions_of_other_projects_are_not_looked_at(self):
        save_folder(_build("RegNetX-200MF"), self.folder)
        (self.folder / "config.json").write_text('{"architectures": ["A"]}')
        resolved = resolve(self.folder)
        self.assertIsNone(resolved.saved)
        # That is in the metadata of the tensors.
        self.assertEqual(resolved.mean, _MEAN)


class HubTest(hub_testing.HubTestCase):
    def setUp(self):
        super().setUp()
        for name, value in (
            ("ENDPOINT", self.host.url()),
            (
                "HUGGINGFACE_CO_URL_TEMPLATE",
                self.host.url("/{repo_id}/resolve/{revision}/{filename}"),
            ),
            ("HF_HUB_CACHE", str(self.home / "hub")),
        ):
            self.enter_context(mock.patch.object(constants, name, value))

    def push(self, model, repo="owner/mine", **options):
        return keras_regnet.weights.push(
            model, repo, endpoint=self.host.url(), token="hf_none", **options
        )

    def test_pushed_and_opened(self):
        model = _build()
        url = self.push(model, licence="mit", private=True)
        self.assertEqual(
            url, self.host.url(f"/owner/mine/commit/{hub_testing.COMMIT}")
        )
        (created,) = self.host.created
        self.assertEqual(created["name"], "mine")
        self.assertIn("private", str(created))
        for source in ("hf://owner/mine", "hf-hub:owner/mine@main"):
            again = open_model.open_model(source)
            self.assertEqual(again.class_names, _NAMES)
            self.assertEqual(again.keras_model.network, _LINE)
        card = self.host.files["/owner/mine/resolve/main/README.md"]
        self.assertIn(b'weights="hf://owner/mine"', card.content)
        self.assertIn(b'"hf-hub:owner/mine"', card.content)

    def test_nothing_is_sent_of_what_cannot_be_written(self):
        model = _build(dataclasses.replace(_LINE, stem="cifar"))
        with self.assertRaisesRegex(ValueError, "stem='cifar'"):
            self.push(model)
        with self.assertRaisesRegex(ValueError, "`repo` must be spelled"):
            self.push(_build(), "mine")
        self.assertEmpty(self.host.posts)

    def test_refusals_of_the_hub(self):
        self.host.refusals["/api/repos/create"] = 403
        with self.assertRaisesRegex(
            OSError, "Cannot push to 'hf://owner/mine' at 'http://127.*403"
        ):
            self.push(_build())

    def test_descriptions_that_cannot_be_looked_for(self):
        self.push(_build("RegNetX-200MF"))
        fetch.from_hub("hf:owner/mine")
        with (
            mock.patch.object(constants, "HF_HUB_OFFLINE", True),
            self.assertWarnsRegex(UserWarning, "could not be looked for"),
        ):
            resolved = resolve("hf:owner/mine")
        self.assertIsNone(resolved.saved)

    def test_repositories_without_a_description(self):
        self.push(_build("RegNetX-200MF"))
        for path in list(self.host.files):
            if path.endswith("config.json"):
                del self.host.files[path]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            resolved = resolve("hf:owner/mine")
        self.assertIsNone(resolved.saved)


if __name__ == "__main__":
    absltest.main()
