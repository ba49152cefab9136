"""Tests of what is chosen for a target; no file is made or timed here."""

import json
import pathlib
import platform
import subprocess
import tempfile
import types
from unittest import mock

import keras
from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import layers
from keras_regnet import model_record
from keras_regnet import record_files
from keras_regnet.export import quantization
from keras_regnet.export import targets
from keras_regnet.export.spec import Choice
from keras_regnet.export.spec import ExportSpec

_INT8 = {"quantize": "int8", "representative": "random"}


def _model(channels, groups):
    images = keras.Input((8, 8, channels))
    outputs = layers.GroupedConv2D(channels, 3, groups=groups)(images)
    return keras.Model(images, outputs)


def _times(milliseconds):
    """Returns a stand-in for the timing: seconds by what is in the files."""

    def timed(files):
        return {form: milliseconds[name] for form, name in files.items()}

    return mock.patch.object(targets, "_timed", timed)


def _make(group_width, every):
    stages = range(4 if every else 1)
    # The last one is too large for an int8 file.
    ends = ("0", "1", "2", "3 is larger")
    return [f"{group_width} {ends[stage]}" for stage in stages]


class TargetsTest(parameterized.TestCase):
    @parameterized.parameters(
        (dict(target="x86", **_INT8), None, 3),
        (dict(target="x86", keep_float=(), **_INT8), None, 0),
        (dict(target="x86", group_width=64, **_INT8), 64, 3),
        (dict(target="x86"), None, 0),
        (dict(target="arm", **_INT8), None, 0),
    )
    def test_rule(self, options, group_width, float_stages):
        choice = targets.choose(None, ExportSpec(**options), _make)
        self.assertEqual(
            (choice.group_width, choice.float_stages),
            (group_width, float_stages),
        )
        self.assertIn("by rule", choice.line())

    def test_widths_that_change_the_groups(self):
        spec = ExportSpec(target="auto")
        # 32 makes 3 groups of 32 of 6 of 16; 64 does not divide them further.
        for channels, groups, expected in (
            (96, 6, [None, 32, 64]),
            (32, 4, [None, 16, 32]),
            (64, 1, [None]),
            (128, 2, [None]),
        ):
            model = _model(channels, groups)
            self.assertEqual(targets.widths(model, spec), expected)
        given = ExportSpec(target="auto", group_width=8)
        self.assertEqual(targets.widths(model, given), [8])

    def test_the_fastest_is_chosen(self):
        spec = ExportSpec(target="auto", **_INT8)
        times = {
            "None 0": 10.0, "32 0": 9.8, "64 0": 8.0,
            "64 1": 7.0, "64 2": 7.5,
        }  # fmt: skip
        with _times(times):
            choice = targets.choose(_model(96, 6), spec, _make)
        self.assertEqual((choice.group_width, choice.float_stages), (64, 1))
        self.assertLen(choice.milliseconds, 5)
        self.assertRegex(
            choice.line(),
            r"^target auto: groups up to 64, stem in float32 \(ms .* 1 thread: "
            r"groups as they are 10.00, .*stem in float32 7.00, ",
        )

    def test_what_is_hardly_faster_is_not_chosen(self):
        spec = ExportSpec(target="auto", **_INT8)
        times = {
            "None 0": 10.0, "32 0": 9.8, "64 0": 9.9,
            "None 1": 9.75, "None 2": 11.0,
        }  # fmt: skip
        with _times(times):
            choice = targets.choose(_model(96, 6), spec, _make)
        self.assertEqual((choice.group_width, choice.float_stages), (None, 0))

    def test_in_float_only_groups_are_chosen(self):
        times = {"None 0": 10.0, "32 0": 9.0, "64 0": 11.0}
        with _times(times):
            choice = targets.choose(
                _model(96, 6), ExportSpec(target="auto"), _make
            )
        self.assertEqual((choice.group_width, choice.float_stages), (32, 0))

    @parameterized.parameters(
        (subprocess.TimeoutExpired(["/home/me"], 90), "took longer than 90 s"),
        (subprocess.CalledProcessError(-4, ["/home/me"]), "exit status -4"),
    )
    def test_a_timing_that_fails_leaves_the_rule(self, error, reason):
        spec = ExportSpec(target="auto", **_INT8)
        with (
            mock.patch.object(subprocess, "run", side_effect=error),
            mock.patch.object(platform, "machine", return_value="aarch64"),
        ):
            choice = targets.choose(_model(96, 6), spec, lambda *_: [b"", b""])
        self.assertEqual((choice.target, choice.float_stages), ("auto", 0))
        self.assertRegex(choice.line(), rf"\(by rule, not measured: .*{reason}")
        # The record goes where the file goes.
        self.assertNotIn("/home/me", choice.reason)

    def test_times_of_two_processes_are_not_compared(self):
        """A machine that was slower the second time is no reason to change."""
        first = {"None 0": 10.0, "32 0": 9.8, "64 0": 9.6}
        second = {"64 0": 12.0, "64 1": 11.9, "64 2": 12.0}
        runs = iter([first, second])
        with mock.patch.object(
            targets,
            "_timed",
            lambda files: dict(zip(files, next(runs).values(), strict=True)),
        ):
            choice = targets.choose(
                _model(96, 6), ExportSpec(target="auto", **_INT8), _make
            )
        self.assertEqual((choice.group_width, choice.float_stages), (64, 0))

    def test_a_single_form_is_not_measured(self):
        spec = ExportSpec(target="auto", group_width=64)
        choice = targets.choose(_model(96, 6), spec, self.fail)
        self.assertEqual((choice.group_width, choice.processor), (64, ""))
        self.assertIn("not measured: there is but one form", choice.line())


class StagesTest(absltest.TestCase):
    def test_operations_of_several_outputs(self):
        """A split: what is behind it is a stage, when all of it is read."""
        # (kind, inputs, outputs), then names and sizes of the tensors.
        operations = [
            ("CONV_2D", [0], [1]), ("SPLIT", [1], [2, 3]),
            ("CONV_2D", [2], [4]), ("ADD", [3, 4], [5]),
            ("CONV_2D", [5], [6]), ("MEAN", [6], [7]),
        ]  # fmt: skip
        sizes = [16, 8, 8, 8, 8, 8, 4, None]
        interpreter = types.SimpleNamespace(
            _get_ops_details=lambda: [
                {"op_name": kind, "inputs": inputs, "outputs": outputs}
                for kind, inputs, outputs in operations
            ],
            _get_tensor_details=lambda index, _: {
                "name": str(index),
                "shape": [1, sizes[index], 8, 8] if sizes[index] else [1, 8],
            },
        )
        source = types.SimpleNamespace(
            _runner=types.SimpleNamespace(interpreter=interpreter)
        )
        self.assertEqual(
            quantization.Source.stages(source),
            [set(), set("12345"), set("123456")],
        )


class RecordTest(absltest.TestCase):
    def test_the_choice_stands_in_the_shared_record(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        record = model_record.ModelRecord()
        choice = Choice("auto", 64, 1, (("groups as they are", 2.5),), "AVX2")

        def write(name, *made):
            with record_files.replacing(folder / name, record, 2, *made) as f:
                f.write_bytes(b"")
            text = (folder / "model.record.json").read_text("utf-8")
            self.assertEqual(record_files.find(folder / name), record)
            return json.loads(text).get("litert")

        stored = write("model.tflite", choice.record())
        self.assertEqual(stored["group_width"], 64)
        self.assertEqual(stored["milliseconds"], {"groups as they are": 2.5})
        # An ONNX file of that name leaves it, a LiteRT file replaces it.
        self.assertEqual(write("model.onnx"), stored)
        self.assertIsNone(write("model.tflite"))


if __name__ == "__main__":
    absltest.main()
