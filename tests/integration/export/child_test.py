"""Tests of conversions in a process of their own: same files, limits, ends."""

import os
import signal
from unittest import mock

import keras
from absl.testing import absltest

from keras_regnet import export
from keras_regnet.export import child
from keras_regnet.export import converter
from keras_regnet.export import inference_model
from keras_regnet.export import latency_meter
from keras_regnet.export import litert
from tests.support import export_testing


class ChildTest(absltest.TestCase):
    def test_answers_one_job_after_the_other(self):
        with child.Child("json") as process:
            self.assertEqual(process.answer("loads", 60, s="[1]"), [1])
            with self.assertRaisesRegex(ValueError, "Expecting value"):
                process.answer("loads", 60, s="[")
            self.assertEqual(process.answer("dumps", 60, obj=2), "2")
            self.assertGreater(process.peak_bytes, 1e6)

    def test_ends_what_takes_too_long(self):
        with (
            child.Child("signal") as process,
            self.assertRaisesRegex(TimeoutError, "pause took longer than 0.2"),
        ):
            process.answer("pause", 0.2)

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


class ConversionTest(absltest.TestCase):
    def test_gives_the_same_bytes(self):
        model = export_testing.network("y", size=32)
        network = inference_model.inference_model(model, export.ExportSpec())
        inputs = keras.Input((8, 8, 3), batch_size=1)
        lacking = keras.layers.Flatten()(keras.ops.erfinv(inputs))
        with (
            converter.writing(None) as here,
            converter.writing(120) as elsewhere,
        ):
            self.assertEqual(
                here(network, "float16"), elsewhere(network, "float16")
            )
            with self.assertRaisesRegex(ValueError, "LiteRT lacks: Erfinv"):
                elsewhere(keras.Model(inputs, lacking), "none")

    def test_refuses(self):
        with self.assertRaisesRegex(ValueError, "`time_limit` must be a num"):
            litert.convert(export_testing.network("y"), time_limit=0)


class LatencyMeterTest(absltest.TestCase):
    def test_a_process_gives_way_to_a_new_one(self):
        networks = export_testing.NETWORKS
        with export.LatencyMeter((32, 32, 3), classes=4, calls=3) as meter:
            with mock.patch.object(latency_meter, "_MAX_BYTES", 1):
                found = meter.latency(networks["x"])
            self.assertIsNone(meter.process)
        self.assertGreater(found.milliseconds, 0)
        self.assertEqual((found.calls, found.delegate), (3, "XNNPACK"))

    def test_says_what_is_wrong(self):
        with self.assertRaisesRegex(ValueError, "what JSON can have"):
            export.LatencyMeter(keep_float=object())
        with (
            export.LatencyMeter((32, 32, 3), time_limit=0.1) as meter,
            self.assertRaisesRegex(TimeoutError, "longer than 0.1 s"),
        ):
            meter(export_testing.NETWORKS["x"])


if __name__ == "__main__":
    absltest.main()
