"""The examples in docstrings and README run and say what they print."""

import contextlib
import doctest
import importlib
import inspect
import os
import pkgutil
import re
import shutil
import tempfile

import keras
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from tests.support import keras_h5_testing
from tests.support import paths

_ROOT = paths.ROOT
_PAGES = sorted((_ROOT / "docs").glob("*.md"))
_EXAMPLE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def _modules():
    names = [
        module.name
        for module in pkgutil.walk_packages(
            keras_regnet.__path__, "keras_regnet."
        )
    ]
    return ["keras_regnet", *names]


def _public():
    """Yields what packages list in `__all__`: name and function or class."""
    for name in _modules():
        module = importlib.import_module(name)
        for attribute in getattr(module, "__all__", ()):
            value = getattr(module, attribute)
            if inspect.isfunction(value) or inspect.isclass(value):
                yield f"{name}.{attribute}", value


class DocstringTest(parameterized.TestCase):
    @parameterized.parameters(*_modules())
    def test_examples(self, name):
        module = importlib.import_module(name)
        result = doctest.testmod(
            module, optionflags=doctest.ELLIPSIS, verbose=False
        )
        self.assertEqual(result.failed, 0)

    def test_there_are_examples(self):
        finder = doctest.DocTestFinder(exclude_empty=True)
        examples = sum(
            len(test.examples)
            for name in _modules()
            for test in finder.find(importlib.import_module(name))
        )
        self.assertGreater(examples, 30)

    def test_public_names_are_documented(self):
        public = dict(_public())
        self.assertGreater(len(public), 50)
        for name, value in public.items():
            doc = inspect.getdoc(value) or ""
            self.assertTrue(doc, f"{name} has no docstring")
            if inspect.isclass(value):
                continue
            signature = inspect.signature(value)
            if not signature.parameters:
                continue
            self.assertIn("Args:", doc, name)
            if signature.return_annotation is not None:
                self.assertRegex(doc, "Returns:|Yields:", name)

    def test_public_names_are_annotated(self):
        for name, value in _public():
            if not inspect.isfunction(value):
                continue
            signature = inspect.signature(value)
            for parameter in signature.parameters.values():
                self.assertIsNot(parameter.annotation, parameter.empty, name)
            self.assertIsNot(signature.return_annotation, signature.empty, name)

    def test_functions_of_the_package_have_examples(self):
        for name in keras_regnet.__all__:
            value = getattr(keras_regnet, name)
            if inspect.isfunction(value):
                self.assertIn(">>>", value.__doc__, name)


class ReadmeTest(absltest.TestCase):
    def test_python_examples(self):
        text = (_ROOT / "README.md").read_text()
        blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
        self.assertGreaterEqual(len(blocks), 3)
        self.addCleanup(keras.config.set_dtype_policy, "float32")
        namespace = {}
        for block in blocks:
            exec(compile(block, "README.md", "exec"), namespace)

    def test_links_lead_somewhere(self):
        pages = [_ROOT / "README.md", _ROOT / "CONTRIBUTING.md"]
        for page in (*pages, *_PAGES):
            for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
                target = page.parent / link
                self.assertTrue(target.exists(), f"{page}: {link}")


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
        for page in _PAGES
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
