"""Tests of what a process of its own answers, and why it does not."""

import io
import json
import math
import subprocess
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet.export import child
from keras_regnet.export import child_main


class _Process:
    """Stands for a process that has written `stdout` and `words`."""

    pid = 1

    def __init__(self, stdout="", words="", status=0):
        self._words, self._status = words, status
        self.stdin, self.stdout = io.StringIO(), io.StringIO(stdout)

    def started(self, command, *, stderr, **unused):
        del command
        stderr.write(self._words.encode())
        return self

    def kill(self):
        pass

    def wait(self):
        return self._status


def _child(**says):
    process = _Process(**says)
    with mock.patch.object(subprocess, "Popen", process.started):
        return child.Child("module"), process


class ChildTest(parameterized.TestCase):
    def test_result(self):
        line = json.dumps({"result": [1], "peak_bytes": 5}) + "\n"
        process, fake = _child(stdout=line)
        with process:
            self.assertEqual(process.answer("job", 60, a="b"), [1])
            self.assertEqual(
                json.loads(fake.stdin.getvalue()),
                {"job": "job", "time_limit": 60, "a": "b"},
            )
            self.assertEqual(process.peak_bytes, 5)

    def test_an_interrupted_job_ends_the_process(self):
        """Or its answer would be taken for that of the next one."""
        process, fake = _child()
        reads = mock.Mock()
        reads.readline.side_effect = KeyboardInterrupt
        process._pipes = (fake.stdin, reads)
        with process, mock.patch.object(fake, "kill") as kill:
            with self.assertRaises(KeyboardInterrupt):
                process.answer("job", 60)
            kill.assert_called_once()

    @parameterized.parameters(
        (dict(status=-9), "of job was ended by SIGKILL; .* lack of memory"),
        (dict(status=-6), "of job was ended by SIGABRT$"),
        (dict(status=-99), "of job was ended by signal 99$"),
        (dict(status=1, words="a\nOSError: no\n"), "job ended: OSError: no$"),
        (dict(status=3), "of job ended with status 3$"),
        (dict(status=1, stdout='{"resul'), "of job ended with status 1$"),
    )
    def test_end(self, says, message):
        process, _ = _child(**says)
        with process, self.assertRaisesRegex(ChildProcessError, message):
            process.answer("job", 60)

    def test_error(self):
        line = json.dumps({"error": "no such thing", "peak_bytes": 5}) + "\n"
        process, _ = _child(stdout=line)
        with process, self.assertRaisesRegex(ValueError, "^no such thing$"):
            process.answer("job", 60)

    @parameterized.parameters(0, -1, "60", True, math.nan, math.inf)
    def test_refuses(self, time_limit):
        with self.assertRaisesRegex(ValueError, "`time_limit` must be a num"):
            child.check_time_limit(time_limit)


class AnswerTest(absltest.TestCase):
    def test_of_the_process(self):
        line = json.dumps({"job": "loads", "time_limit": 60, "s": "[2]"})
        self.assertEqual(child_main.answer(json, line), {"result": [2]})
        line = json.dumps({"job": "loads", "time_limit": 60, "s": "["})
        error = child_main.answer(json, line)["error"]
        self.assertStartsWith(error, "Expecting value")


if __name__ == "__main__":
    absltest.main()
