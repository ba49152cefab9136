"""Tests of conversions in a process of their own: same files, limits, ends."""

import os
import pathlib
import signal
import tempfile
from unittest import mock

import keras
from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import export
from keras_regnet.export import child
from keras_regnet.export import latency_meter
from keras_regnet.export import litert
from tests.support import export_testing


class ChildTest(parameterized.TestCase):
    def test_answers_one_job_after_the_other(self):
        with child.Child("json") as process:
            self.assertEqual(process.answer("loads", 60, s="[1]"), [1])
            with self.assertRaisesRegex(ValueError, "Expecting value"):
                process.answer("loads", 60, s="[")
            self.assertEqual(process.answer("dumps", 60, obj=2), "2")
            self.assertGreater(process.peak_bytes, 1e6)

    def test_ends_what_takes_too_long(self):
        with (
            child.Child("subprocess") as process,
            self.assertRaisesRegex(TimeoutError, "run took longer than 0.2 s"),
        ):
            process.answer("run", 0.2, args=["sleep", "60"])

    def test_says_why_it_ended(self):
        with (
            child.Child("json") as process,
            self.assertRaisesRegex(ChildProcessError, "has no attribute 'no'"),
        ):
            process.answer("no", 60)
        with child.Child("json") as process:
            os.kill(process.pid, signal.SIGKILL)
            with self.assertRaisesRegex(ChildProcessError, "ended by SIGKILL"):
                process.answer("loads", 60, s="[1]")


class ConversionTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = export_testing.network("y", size=32)

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )

    @parameterized.parameters("none", "float16", "dynamic")
    def test_gives_the_same_bytes(self, quantize):
        here = litert.convert(self.model, quantize=quantize)
        there = litert.convert(self.model, quantize=quantize, time_limit=120)
        self.assertEqual(here, there)

    def test_a_limit_leaves_nothing(self):
        with self.assertRaisesRegex(TimeoutError, "longer than 0.01 s"):
            litert.save(self.model, self.folder / "m.tflite", time_limit=0.01)
        self.assertEqual(os.listdir(self.folder), [])

    def test_an_operation_that_litert_lacks(self):
        inputs = keras.Input((8, 8, 3))
        x = keras.ops.erfinv(inputs)
        model = keras.Model(inputs, keras.layers.GlobalMaxPooling2D()(x))
        with self.assertRaisesRegex(ValueError, "LiteRT lacks: Erfinv"):
            litert.convert(model, time_limit=120)

    def test_refuses(self):
        with self.assertRaisesRegex(ValueError, "`time_limit` must be a num"):
            litert.convert(self.model, time_limit=0)


class LatencyMeterTest(absltest.TestCase):
    def test_a_process_gives_way_to_a_new_one(self):
        networks = export_testing.NETWORKS
        pids = []
        with export.LatencyMeter((32, 32, 3), classes=4, calls=3) as meter:
            first = meter.latency(networks["x"])
            pids.append(meter.process.pid)
            self.assertGreater(meter(networks["y"]), 0)
            pids.append(meter.process.pid)
            with mock.patch.object(latency_meter, "_MAX_BYTES", 1):
                meter(networks["x"])
            self.assertIsNone(meter.process)
        self.assertEqual((first.calls, first.delegate), (3, "XNNPACK"))
        self.assertEqual(pids[0], pids[1])

    def test_says_what_is_wrong(self):
        network = export_testing.NETWORKS["x"]
        with (
            export.LatencyMeter((32, 32, 3), group_width=0) as meter,
            self.assertRaisesRegex(ValueError, "`group_width` must be"),
        ):
            meter(network)
        with self.assertRaisesRegex(ValueError, "what JSON can have"):
            export.LatencyMeter(keep_float=object())
        with (
            export.LatencyMeter((32, 32, 3), time_limit=0.1) as meter,
            self.assertRaisesRegex(TimeoutError, "longer than 0.1 s"),
        ):
            meter(network)


if __name__ == "__main__":
    absltest.main()
