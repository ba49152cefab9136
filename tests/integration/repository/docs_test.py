"""The examples in docstrings and README run and say what they print."""

import contextlib
import doctest
import importlib
import io
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import warnings
from unittest import mock

import keras
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from keras_regnet.weights import fetch
from tests.support import keras_h5_testing
from tests.support import modules
from tests.support import paths
from tests.support import training_testing

_ROOT = paths.ROOT
_EXAMPLE = re.compile(r"```python\n(.*?)```", re.DOTALL)


class DocstringTest(parameterized.TestCase):
    @parameterized.parameters(*modules.of_the_package(), *modules.of_extras())
    def test_examples(self, name):
        module = importlib.import_module(name)
        result = doctest.testmod(
            module, optionflags=doctest.ELLIPSIS, verbose=False
        )
        self.assertEqual(result.failed, 0)


def _stand_in(record, include_top=True):
    """Writes a file such as the published one, of random weights."""
    del include_top
    model = keras_regnet.build(record.variant)
    path = pathlib.Path(f"{record.variant}.safetensors").resolve()
    keras_regnet.weights.export(model, path, format=record.format)
    return path


def _smaller(block):
    """Returns an example with a smaller network, which trains less."""
    for old, new in {
        '"3.2GF"': '"200MF"',
        '"400MF"': '"200MF"',
        "epochs=5": "epochs=1",
    }.items():
        block = block.replace(old, new)
    return block


def _write_photos(folder):
    folder = pathlib.Path(folder)
    for name in ("ant", "bee"):
        (folder / name).mkdir(parents=True)
        for index in range(5):
            path = folder / name / f"{index}.jpg"
            path.write_bytes(training_testing.jpeg(seed=index))


class ReadmeTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.enter_context(
            contextlib.chdir(self.enter_context(tempfile.TemporaryDirectory()))
        )

    def test_python_examples(self):
        blocks = _EXAMPLE.findall((_ROOT / "README.md").read_text())
        self.assertLen(blocks, 2)
        # These networks have such weights; smaller ones run.
        names = re.findall(
            r'RegNetY\("(.*?)", weights="default"\)', "".join(blocks)
        )
        self.assertEqual(names, ["3.2GF", "400MF"])
        for name in names:
            records = keras_regnet.list_weights(f"RegNetY-{name}")
            self.assertTrue(any(record.is_default for record in records))
        pathlib.Path("photo.jpg").write_bytes(training_testing.jpeg())
        _write_photos("photos")
        self.enter_context(mock.patch.object(fetch, "fetch", _stand_in))
        printed = io.StringIO()
        namespace = {}
        with warnings.catch_warnings(), contextlib.redirect_stdout(printed):
            # Keras warns of its own default, of any data set.
            warnings.filterwarnings("ignore", "`shuffle=True` was passed")
            for block in blocks:
                exec(compile(_smaller(block), "README.md", "exec"), namespace)
        self.assertRegex(printed.getvalue(), r"class_id='n\d{8}', name='\w+'")
        saved = keras.saving.load_model("photos.keras")
        self.assertEqual(saved.class_names, ("ant", "bee"))

    def test_command_of_the_trainer(self):
        """README's flags are a run's: the data and the network are found."""
        text = (_ROOT / "README.md").read_text()
        (command,) = re.findall("^python (training/main.py .*)$", text, re.M)
        _write_photos("photos")
        program, *flags = shlex.split(command)
        file = _stand_in(keras_regnet.list_weights("RegNetY-400MF")[0])
        flags = [flag.replace("=default", f"={file}") for flag in flags]
        test_flags = ["--dry_run", "--global_batch_size=4"]
        done = subprocess.run(
            [sys.executable, _ROOT / program, *flags, *test_flags],
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("RegNetY-400MF", done.stdout)


class PagesTest(parameterized.TestCase):
    """The examples of docs/, each page in a folder of its own."""

    def setUp(self):
        super().setUp()
        self.enter_context(
            contextlib.chdir(self.enter_context(tempfile.TemporaryDirectory()))
        )

    def write_files(self):
        """Puts the files there that the page on migration speaks of."""
        folder = keras_h5_testing.unpack(type(self))
        shutil.copy(folder / "two_dense.h5", "fine_tuned.h5")
        model = keras_regnet.applications.RegNetX002(weights=None, classes=5)
        keras_h5_testing.write(model, "my_weights.h5", "regnetx002")

    @parameterized.named_parameters(
        (page.stem, page)
        for page in paths.PAGES
        if _EXAMPLE.search(page.read_text())
    )
    def test_python_examples(self, page):
        if page.stem == "migration":
            self.write_files()
        if page.stem == "sweeps":
            os.symlink(_ROOT / "experiments", "experiments")
        blocks = _EXAMPLE.findall(page.read_text())
        namespace = {}
        for block in blocks:
            exec(compile(block, page.name, "exec"), namespace)


if __name__ == "__main__":
    absltest.main()
