"""Tests of the strategies that need more than this machine."""

import json
import os
import tempfile
from unittest import mock

import tensorflow as tf
from absl.testing import absltest
from absl.testing import parameterized

from tests.support import training_testing
from training.trainer import strategy


class WorkersTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.enterContext(mock.patch.dict(os.environ))
        os.environ.pop("TF_CONFIG", None)

    def config(self, **fields):
        fields = {"strategy": "multi_worker", **fields}
        return training_testing.tiny_config(self.folder, **fields)

    def test_hosts(self):
        config = self.config(worker_hosts="a:1, [::1]:22", task_index=1)
        self.assertEqual(strategy.worker_hosts(config), ["a:1", "[::1]:22"])

    @parameterized.parameters(
        ({"worker_hosts": "a:1,b"}, "host:port.*Received: 'b'"),
        ({"worker_hosts": "a:1,b:65536"}, "host:port.*Received: 'b:65536'"),
        ({"worker_hosts": "a:1,a:1"}, "each worker once"),
        ({"worker_hosts": "a:1", "task_index": 1}, "task_index=1, 1 hosts"),
        (
            {"worker_hosts": "a:1", "strategy": "mirrored"},
            "needs strategy='multi_worker'",
        ),
    )
    def test_wrong_hosts(self, fields, message):
        with self.assertRaisesRegex(ValueError, message):
            strategy.make(self.config(**fields))

    @parameterized.parameters(
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, '
        '"task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"]}, '
        '"task": {"type": "worker", "index": -1}}',
        '{"cluster": {"worker": "a:1"}, '
        '"task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a"]}, '
        '"task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1"]}, '
        '"task": {"type": "chief", "index": 0}}',
    )
    def test_wrong_tf_config(self, text):
        os.environ["TF_CONFIG"] = text
        with self.assertRaisesRegex(ValueError, "TF_CONFIG must be like"):
            strategy.make(self.config())

    def test_a_cluster_that_is_not_asked_for(self):
        cluster = {"worker": ["a:1", "b:1"]}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster})
        with self.assertLogs(level="WARNING") as logs:
            strategy.make(self.config(strategy="one_device"))
        self.assertIn("each machine would train alone", logs.output[0])

    def test_the_cluster_is_given_once(self):
        os.environ["TF_CONFIG"] = json.dumps({})
        with self.assertRaisesRegex(ValueError, "given once"):
            strategy.make(self.config(worker_hosts="a:1,b:1"))


class TPUTest(parameterized.TestCase):
    """As far as it goes without one: the calls, in TensorFlow's order."""

    def test_the_order_of_calls(self):
        calls = mock.Mock()
        calls.strategy.return_value.num_replicas_in_sync = 8
        distribute = tf.distribute
        with (
            tempfile.TemporaryDirectory() as folder,
            mock.patch.object(
                distribute.cluster_resolver,
                "TPUClusterResolver",
                calls.resolver,
            ),
            mock.patch.object(
                tf.config, "experimental_connect_to_cluster", calls.connect
            ),
            mock.patch.object(
                tf.tpu.experimental, "initialize_tpu_system", calls.initialize
            ),
            mock.patch.object(distribute, "TPUStrategy", calls.strategy),
        ):
            made = strategy.make(
                training_testing.tiny_config(
                    folder, strategy="tpu", tpu="node-1"
                )
            )
        resolver = calls.resolver.return_value
        self.assertEqual(
            calls.mock_calls[:4],
            [
                mock.call.resolver(tpu="node-1"),
                mock.call.connect(resolver),
                mock.call.initialize(resolver),
                mock.call.strategy(resolver),
            ],
        )
        self.assertIs(made, calls.strategy.return_value)

    def test_no_tpu(self):
        with (
            tempfile.TemporaryDirectory() as folder,
            mock.patch.object(
                tf.distribute.cluster_resolver,
                "TPUClusterResolver",
                side_effect=ValueError("Please provide a TPU Name"),
            ),
            self.assertRaisesRegex(ValueError, "No TPU was found.*tpu='x'"),
        ):
            strategy.make(
                training_testing.tiny_config(folder, strategy="tpu", tpu="x")
            )


if __name__ == "__main__":
    absltest.main()
