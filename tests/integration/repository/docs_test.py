"""The examples in docstrings and README run and say what they print."""

import contextlib
import doctest
import importlib
import os
import re
import shutil
import tempfile

import keras
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from tests.support import keras_h5_testing
from tests.support import modules
from tests.support import paths

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


class ReadmeTest(absltest.TestCase):
    def test_python_examples(self):
        text = (_ROOT / "README.md").read_text()
        blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
        self.assertGreaterEqual(len(blocks), 3)
        self.addCleanup(keras.config.set_dtype_policy, "float32")
        namespace = {}
        for block in blocks:
            exec(compile(block, "README.md", "exec"), namespace)


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
