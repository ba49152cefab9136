"""The commands of docs/fine_tuning.md run as written, on few photographs."""

import contextlib
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

import pytest
from absl.testing import absltest

import keras_regnet
from tests.support import paths
from tests.support import training_testing

_PAGE = paths.ROOT / "docs/fine_tuning.md"
# Given after the page's own flags, these count.
_SMALLER = {
    "training/main.py": [
        "--epochs=2",
        "--global_batch_size=4",
        "--image_size=32",
        "--strategy=one_device",
    ],
    "keras_regnet.export": ["--image_size=32"],
}
_CLASSES = ("daisy", "roses")


def _write_flowers():
    for index, name in enumerate(_CLASSES):
        for split, count in (("train", 4), ("val", 2)):
            folder = pathlib.Path("flowers", split, name)
            folder.mkdir(parents=True)
            for photo in range(count):
                content = training_testing.jpeg(seed=10 * index + photo)
                (folder / f"{photo}1.jpg").write_bytes(content)


def _run(command):
    """Runs a command of the page; returns its status and what it printed."""
    words = shlex.split(command)
    words[0] = sys.executable
    for program, flags in _SMALLER.items():
        if program in words:
            words += flags
    done = subprocess.run(
        [word for pattern in words for word in _expanded(pattern)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(paths.ROOT)},
    )
    return done.returncode, done.stdout + done.stderr


def _expanded(word):
    if "*" not in word:
        return [word]
    return [str(path) for path in sorted(pathlib.Path().glob(word))]


class PageTest(absltest.TestCase):
    @pytest.mark.long
    def test_commands(self):
        folder = self.enter_context(tempfile.TemporaryDirectory())
        self.enter_context(contextlib.chdir(folder))
        for name in ("training", "examples"):
            os.symlink(paths.ROOT / name, name)
        _write_flowers()
        keras_regnet.weights.export(
            keras_regnet.RegNetX("200MF"),
            "regnetx_002.safetensors",
            format="timm",
        )
        blocks = re.findall(r"```bash\n(.*?)```", _PAGE.read_text(), re.DOTALL)
        verify, train, export, classify = map(str.strip, blocks)

        status, printed = _run(verify)
        self.assertEqual(status, 1, printed)  # Random weights: it says so.
        self.assertIn("RegNetX-200MF", printed)
        self.assertIn("Untrained", printed)
        self.assertEqual(_run(train)[0], 0)
        status, printed = _run(export)
        self.assertEqual(status, 0, printed)
        self.assertIn("within tolerance", printed)
        status, printed = _run(classify)
        self.assertEqual(status, 0, printed)
        names = re.findall(r"^ +[\d.]+%  (\w+)$", printed, re.MULTILINE)
        self.assertLen(names, 2 * 4)
        self.assertEqual(set(names), set(_CLASSES))


if __name__ == "__main__":
    absltest.main()
