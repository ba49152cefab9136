"""Weights mean the same to the package, the trainer, validate and exports.

The files are small networks in the names of every project
(`weight_fixtures`, `keras_h5_testing`, and those of kimm and kecam), and two
of torchvision's networks whose widths are rounded otherwise.
"""

import dataclasses
import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from unittest import mock

import keras
import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from keras_regnet import open_model
from keras_regnet.weights import fetch
from keras_regnet.weights import locate
from keras_regnet.weights import records
from tests.support import keras_h5_testing
from tests.support import oracle_weights
from tests.support import paths
from tests.support import training_testing
from tests.support import weight_fixtures
from training.config import config as train_config
from training.config import network as network_lib
from training.data import dataset
from training.data import load
from training.evaluate import evaluate
from training.evaluate import predictors
from training.trainer import dry_run
from training.trainer import hooks
from training.trainer import train
from training.workdir import checkpoint
from training.workdir import export

_DATA = paths.DATA
_CLASSES = weight_fixtures.CLASSES
_LINE = keras_regnet.RegNetConfig(
    **weight_fixtures.LINE, block="y", stem_width=weight_fixtures.STEM_WIDTH
)
_DEPTHS, _WIDTHS, _STRIDES = zip(*weight_fixtures.BYOBNET, strict=True)
# The network of each project's file, as one who does not know its padding and
# rounding writes it.
_NETWORKS = {
    "byobnet": keras_regnet.AnyNetConfig(
        _DEPTHS,
        _WIDTHS,
        _STRIDES,
        bottleneck_ratios=0.25,
        group_widths=4,
        stem_width=2 * weight_fixtures.STEM_WIDTH,
        **weight_fixtures.NETWORKS["byobnet"][1],
    ),
    "kecam": keras_regnet.AnyNetConfig(
        (2, 1, 1, 1), (8, 16, 16, 24), group_widths=8, block="y", stem_width=8
    ),
    "keras_applications": keras_h5_testing.config("weights_y"),
    "kimm": keras_regnet.RegNetConfig(
        depth=3, w_0=32, w_a=4.0, w_m=1.25, group_width=8, block="y"
    ),
}
# Who rounds widths as torchvision does: the name of a network and the file.
_ROUNDED = {
    "timm": ("RegNetX-400MF", "x400.safetensors"),
    "torchvision": ("RegNetY-800MF", "y800.safetensors"),
}


def _rules(record):
    """Returns what a network must know of a file, which names a case."""
    return (
        record.format,
        record.padding,
        record.mean,
        record.std,
        record.channel_order,
        record.width_rounding,
    )


_CASES = {_rules(record): record for record in records.all_records()}
# One file for each set of rules, whatever the names in it: these runs end.
_TRAINED = {rules[1:]: record for rules, record in _CASES.items()}


def _write(config, path, file_format, classes=_CLASSES):
    """Writes computed weights, whose logits for our images are about 1."""
    model = keras_regnet.build(
        config,
        input_shape=(64, 64, 3),
        classes=classes,
        classifier_activation=None,
    )
    oracle_weights.fill(model)
    kernel = model.get_layer("head_fc").kernel
    logits = np.asarray(model(_images(), training=False))
    kernel.assign(kernel / logits.std())
    keras_regnet.weights.export(model, path, file_format)


@functools.cache
def _folder():
    """Returns a folder with the files, which lives as long as the tests."""
    temporary = tempfile.TemporaryDirectory()
    _folder.keep = temporary
    folder = pathlib.Path(temporary.name)
    for path in weight_fixtures.FOLDER.glob("*.safetensors"):
        shutil.copy(path, folder / path.name.replace("_y.", "."))
    shutil.copy(_DATA / "kimm.keras", folder)
    for name, member in (
        ("kecam.zip", "y.h5"),
        ("keras_h5.zip", "weights_y.h5"),
    ):
        with zipfile.ZipFile(_DATA / name) as archive:
            archive.extract(member, folder)
    for file_format, (variant, name) in _ROUNDED.items():
        config = dataclasses.replace(
            keras_regnet.get_config(variant), width_rounding="torchvision"
        )
        _write(config, folder / name, file_format)
    for file_format, network in {**_NETWORKS, "line": _LINE}.items():
        (folder / f"{file_format}.json").write_text(network.to_json())
    return folder


def _source(record):
    """Returns what --variant and --weights are for a record's file."""
    file_format = record.format
    if record.width_rounding == "torchvision":
        variant, name = _ROUNDED[file_format]
        return variant, str(_folder() / name)
    name = {
        "kecam": "y.h5",
        "keras_applications": "weights_y.h5",
        "kimm": "kimm.keras",
    }.get(file_format, f"{file_format}.safetensors")
    network = file_format if file_format in _NETWORKS else "line"
    return str(_folder() / f"{network}.json"), str(_folder() / name)


def _network(variant):
    if variant.endswith(".json"):
        text = pathlib.Path(variant).read_text()
        return keras_regnet.config.from_json(text)
    return keras_regnet.get_config(variant)


@functools.cache
def _images():
    return oracle_weights.photos(64)


def _expected(variant, weights):
    """Returns the probabilities of the package's own model."""
    model = keras_regnet.build(
        _network(variant),
        weights=weights,
        input_shape=(None, None, 3),
        classes=_CLASSES,
    )
    return model, np.asarray(model(_images(), training=False))


def _noise(classes=_CLASSES):
    """Returns a data set of as many images as classes."""
    data = training_testing.noise_set(classes, classes)
    return dataclasses.replace(data, class_names=data.class_names[:classes])


class _Begin(hooks.Hooks):
    """Ends a run before its first step, and keeps the model."""

    def before_steps(self, state):
        self.model = state.model
        raise training_testing.Killed


class WeightsPathTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.temp = self.enterContext(tempfile.TemporaryDirectory())
        self.workdir = pathlib.Path(self.temp, "run")
        self.enterContext(mock.patch.object(export.saved_model, "save"))
        self.use_data(_noise())

    def use_data(self, data):
        self.enterContext(
            mock.patch.object(load, "load_dataset", return_value=data)
        )

    def known_as(self, record):
        """Makes files known by their hash."""
        return mock.patch.object(locate, "record_of_hash", return_value=record)

    def config(self, variant, weights, **fields):
        fields = {
            "total_steps": 1,
            "global_batch_size": 4,
            "base_learning_rate": 0.0,
            "frozen_bn": True,
            **fields,
        }
        return training_testing.tiny_config(
            self.temp, variant=variant, weights=weights, **fields
        )

    def train(self, *source, **fields):
        train.train_and_evaluate(self.config(*source, **fields))
        return keras.saving.load_model(self.workdir / "model.keras")

    def begin(self, *source):
        """Returns what a run would train: a step at rate 0 changes nothing."""
        begin = _Begin()
        with self.assertRaises(training_testing.Killed):
            train.train_and_evaluate(self.config(*source), begin)
        return begin.model

    @parameterized.named_parameters(
        ("_".join(map(str, (rules[0], *rules[2:3], *rules[4:]))), record)
        for rules, record in _CASES.items()
    )
    def test_every_kind_of_file(self, record):
        source = _source(record)
        trains = record in _TRAINED.values()
        with self.known_as(record):
            model, expected = _expected(*source)
            trained = self.train(*source) if trains else self.begin(*source)
            validated = predictors.load(*source)
        self.assertGreater(np.ptp(expected, axis=0).max(), 1e-3)
        np.testing.assert_allclose(
            trained(_images(), training=False), expected, atol=1e-5
        )
        np.testing.assert_allclose(
            validated.predict(_images()), expected, atol=1e-5
        )
        self.assertEqual(trained.network, model.network)
        self.assertEqual(trained.network.padding, record.padding)
        stored = json.loads((self.workdir / "config.json").read_text())
        self.assertEqual(
            stored["normalization"],
            {"mean": list(record.mean), "std": list(record.std)},
        )
        self.assertEqual(stored["network"], json.loads(model.network.to_json()))
        if not trains:
            return
        # What the run left is weights, too.
        again = keras_regnet.build(
            _network(source[0]),
            weights=self.workdir,
            input_shape=(None, None, 3),
            classes=_CLASSES,
        )
        np.testing.assert_allclose(
            again(_images(), training=False), expected, atol=1e-5
        )

    def test_the_rules_differ(self):
        """Without them the probabilities would be others."""
        seen = {}
        for record in _CASES.values():
            variant, weights = _source(record)
            with self.known_as(record):
                resolved = network_lib.resolve(weights, _network(variant))
            seen.setdefault(resolved.config.padding, set()).add(resolved.mean)
            if record.width_rounding == "torchvision":
                self.assertEqual(resolved.config.width_rounding, "torchvision")
        self.assertEqual(set(seen), {"symmetric", "same"})
        self.assertLen(set.union(*seen.values()), 3)

    def test_other_classes_keep_the_fresh_classifier(self):
        self.use_data(_noise(7))
        source = _source(records.find("RegNetX-200MF", "keras_in1k"))
        with self.assertLogs("absl") as logs:
            model = self.train(*source)
        self.assertIn("classifies 5 classes and the model 7", str(logs.output))
        donor, _ = _expected(*source)
        for ours, theirs in zip(model.weights, donor.weights, strict=True):
            if not ours.path.startswith("head_fc"):
                np.testing.assert_array_equal(ours, theirs, ours.path)
        self.assertEqual(model.output_shape, (None, 7))
        kernel = np.asarray(model.get_layer("head_fc").kernel)
        self.assertLess(np.abs(kernel).max(), 0.1)

    def test_another_network_is_named_with_the_one_asked_for(self):
        _, weights = _source(records.find("RegNetX-400MF", "tv2_in1k"))
        message = "holds RegNetX-400MF in .* but RegNetY-200MF was requested"
        for start in (self.train, dry_run.report):
            arguments = ("RegNetY-200MF", weights)
            if start is dry_run.report:
                arguments = (self.config(*arguments),)
            with self.assertRaisesRegex(ValueError, message) as raised:
                start(*arguments)
            self.assertNotIn("\n", str(raised.exception))
        with self.assertRaisesRegex(ValueError, message):
            predictors.load("RegNetY-200MF", weights)

    def test_a_run_goes_on_without_its_weights(self):
        variant, weights = _source(records.find("RegNetX-200MF", "keras_in1k"))
        copy = pathlib.Path(self.temp, "weights.h5")
        shutil.copy(weights, copy)
        fields = {
            "total_steps": 3,
            "checkpoint_steps": 1,
            "base_learning_rate": 0.05,
            "frozen_bn": False,
            "dropout_rate": 0.2,
        }
        config = self.config(variant, str(copy), **fields)
        whole = dataclasses.replace(config, workdir=f"{self.temp}/whole")
        train.train_and_evaluate(whole)
        training_testing.train_until_killed(config, "before_steps", 3)
        copy.unlink()
        self.assertIn("would resume from step 2", dry_run.report(config))
        train.train_and_evaluate(config)
        one, other = (
            checkpoint.newest(pathlib.Path(c.workdir) / "checkpoints").arrays
            for c in (whole, config)
        )
        self.assertEqual(set(one), set(other))
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name], name)
        stored = json.loads((self.workdir / "config.json").read_text())
        self.assertEqual(stored["network"]["padding"], "same")
        self.assertEqual(stored["normalization"]["std"], [255.0] * 3)
        # Without a checkpoint there is nothing to go on from.
        shutil.rmtree(self.workdir / "checkpoints")
        with self.assertRaisesRegex(ValueError, "does not exist.*weights.h5"):
            train.train_and_evaluate(config)

    def test_a_run_from_before_normalization_was_stored(self):
        variant, weights = _source(records.find("RegNetX-200MF", "keras_in1k"))
        config = self.config(variant, weights)
        train.train_and_evaluate(config)
        path = self.workdir / "config.json"
        stored = json.loads(path.read_text())
        del stored["normalization"]
        path.write_text(json.dumps(stored))
        longer = dataclasses.replace(config, total_steps=2)
        train.train_and_evaluate(longer)
        stored = json.loads(path.read_text())
        self.assertEqual(
            stored["normalization"]["mean"], list(records.IMAGENET_MEAN)
        )


def _published(name, variant, file_format, classes=_CLASSES):
    """Returns the path of a file of a published network."""
    path = _folder() / name
    if not path.exists():
        _write(variant, path, file_format, classes)
    return str(path)


class ModelsTest(parameterized.TestCase):
    """What validate and exports make of weights."""

    def settings(self, model, weights="", **given):
        """Returns the predictor, and how validate would evaluate it."""
        predictor = predictors.load(model, weights)
        fields = evaluate.settings(predictor, given)
        config = train_config.TrainConfig(**fields)
        return predictor, (
            config.evaluation_size()[0],
            config.eval_crop_fraction,
            config.interpolation,
            config.antialias,
        )

    @parameterized.parameters("tv2_in1k@timm", "pycls_in1k@pycls")
    def test_a_tag_is_evaluated_as_its_record_says(self, tag):
        record = records.find("RegNetX-400MF", tag)
        path = _published("x400_pycls.safetensors", "RegNetX-400MF", "pycls")
        if record.width_rounding == "torchvision":
            _, path = _source(record)
        source = ("RegNetX-400MF", tag)
        with mock.patch.object(fetch, "fetch", return_value=path):
            predictor, found = self.settings(*source)
            _, with_flags = self.settings(
                *source,
                eval_image_size=64,
                eval_crop_fraction=0.5,
                interpolation="area",
                antialias=None,
            )
        crop = record.test_size / record.resize
        by_pillow = record.source != "pycls"
        self.assertEqual(
            found, (record.test_size, crop, record.interpolation, by_pillow)
        )
        self.assertEqual(with_flags, (64, 0.5, "area", by_pillow))
        self.assertEqual(predictor.weights, tag)

    def test_a_file_tells_its_network(self):
        path = _published("x200.safetensors", "RegNetX-200MF", "timm")
        record = records.find("RegNetX-200MF", "pycls_in1k@timm")
        predictor, found = self.settings(path)
        # Of five classes: what it was trained on is not known.
        self.assertEqual(found, (224, 224 / 256, "bilinear", False))
        _, expected = _expected("RegNetX-200MF", path)
        np.testing.assert_allclose(
            predictor.predict(_images()), expected, atol=1e-5
        )
        # Of 1000, it can be the one published set alone.
        path = _published(
            "x200_1000.safetensors", "RegNetX-200MF", "timm", classes=1000
        )
        _, found = self.settings(path)
        self.assertEqual(found[2:], (record.interpolation, True))

    def test_a_file_of_an_unpublished_network_asks_for_it(self):
        path = str(_folder() / "swag.safetensors")
        with self.assertRaisesRegex(
            ValueError, "--model=VARIANT and the file as --weights=FILE"
        ) as raised:
            predictors.load(path)
        self.assertNotIn("\n", str(raised.exception))

    def test_exports_take_the_same(self):
        for path, variant in (
            (_published("x200.safetensors", "RegNetX-200MF", "timm"), None),
            _source(records.find("RegNetX-400MF", "tv2_in1k"))[::-1],
        ):
            opened = (
                open_model.open_model(variant, path)
                if variant
                else open_model.open_model(path)
            )
            _, expected = _expected(variant or "RegNetX-200MF", path)
            np.testing.assert_allclose(
                opened.keras_model(_images(), training=False),
                expected,
                atol=1e-5,
            )


class CommandsTest(absltest.TestCase):
    def test_train_and_validate(self):
        """A file of Keras 2 trains on another set, and is evaluated."""
        record = records.find("RegNetX-200MF", "keras_in1k")
        variant, weights = _source(record)
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        data = training_testing.noise_set(8, 8)
        arrays = folder / "noise.npz"
        images = [
            np.stack(dataset.sample_images(split, 8))
            for split in (data.train, data.val)
        ]
        np.savez(
            arrays,
            train_images=images[0],
            train_labels=np.arange(8) % 3,
            val_images=images[1],
            val_labels=np.arange(8) % 3,
        )
        options = (f"--dataset=arrays:{arrays}", f"--weights={weights}")
        errors = self.start(
            "main.py",
            *options,
            f"--variant={variant}",
            "--recipe=finetune",
            "--total_steps=1",
            "--global_batch_size=4",
            "--image_size=32",
            "--strategy=one_device",
            f"--workdir={folder / 'run'}",
        ).stderr
        self.assertIn("classifies 5 classes and the model 3", errors)
        model = keras.saving.load_model(folder / "run" / "model.keras")
        self.assertEqual(model.network.padding, "same")
        np.testing.assert_allclose(
            np.ravel(model.get_layer("normalise").variance), 255**2
        )
        shown = self.start("validate.py", f"--model={folder / 'run'}").stdout
        self.assertRegex(shown, r"image_size +32\n")
        failed = self.start(
            "validate.py", *options, f"--model={variant}", code=1
        )
        self.assertRegex(failed.stderr, "error: .*5 classes of .* for 3 of")

    def start(self, program, *arguments, code=0):
        tool = paths.ROOT / "training" / program
        result = subprocess.run(
            [sys.executable, str(tool), *arguments],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(result.returncode, code, result.stderr)
        return result


if __name__ == "__main__":
    absltest.main()
