"""Who decides whether TensorFlow uses oneDNN, and what is said about it."""

import os
import platform
import sys
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import onednn


def _environment(value):
    """Replaces the variable for a while; None takes it away."""
    others = {k: v for k, v in os.environ.items() if k != onednn.VARIABLE}
    given = {} if value is None else {onednn.VARIABLE: value}
    return mock.patch.dict(os.environ, {**others, **given}, clear=True)


def _machine(name):
    return mock.patch.object(platform, "machine", return_value=name)


class EnableTest(parameterized.TestCase):
    def _enabled(self, value, machine="x86_64", imported=False):
        """Returns what the variable is after `enable`."""
        modules = {k: v for k, v in sys.modules.items() if k != "tensorflow"}
        if imported:
            modules["tensorflow"] = mock.Mock()
        with (
            _environment(value),
            _machine(machine),
            mock.patch.dict(sys.modules, modules, clear=True),
        ):
            onednn.enable()
            return os.environ.get(onednn.VARIABLE)

    @parameterized.parameters("x86_64", "AMD64")
    def test_before_tensorflow(self, machine):
        self.assertEqual(self._enabled(None, machine), "1")

    @parameterized.parameters("0", "1", "")
    def test_users_choice_stays(self, value):
        self.assertEqual(self._enabled(value), value)

    def test_behind_tensorflow_nothing_changes(self):
        self.assertIsNone(self._enabled(None, imported=True))

    def test_other_processors_are_left_alone(self):
        self.assertIsNone(self._enabled(None, "aarch64"))


class WarnTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        onednn.warn_if_left_off.cache_clear()
        self.addCleanup(onednn.warn_if_left_off.cache_clear)

    def _warn(self, value, is_on, machine="x86_64"):
        with (
            _environment(value),
            _machine(machine),
            mock.patch.object(onednn, "is_on", return_value=is_on),
        ):
            onednn.warn_if_left_off()
            onednn.warn_if_left_off()

    def test_says_once_what_to_set(self):
        with self.assertLogs("keras_regnet", "WARNING") as logs:
            self._warn(None, is_on=False)
        (line,) = logs.output
        self.assertIn("TF_ENABLE_ONEDNN_OPTS=1", line)
        self.assertIn("Import keras_regnet before TensorFlow and Keras", line)

    @parameterized.parameters(
        ("0", False, "x86_64"),  # The user's own choice.
        (None, True, "x86_64"),
        (None, None, "x86_64"),  # Another backend.
        (None, False, "aarch64"),
    )
    def test_is_silent(self, value, is_on, machine):
        with self.assertNoLogs("keras_regnet"):
            self._warn(value, is_on, machine)


class IsOnTest(absltest.TestCase):
    def test_without_tensorflow(self):
        others = {k: v for k, v in sys.modules.items() if k != "tensorflow"}
        with mock.patch.dict(sys.modules, others, clear=True):
            self.assertIsNone(onednn.is_on())


if __name__ == "__main__":
    absltest.main()
