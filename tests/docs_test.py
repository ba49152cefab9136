"""The examples in docstrings and README run and say what they print."""

import doctest
import importlib
import inspect
import pathlib
import pkgutil
import re

import keras
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet

_ROOT = pathlib.Path(__file__).resolve().parents[1]


def _modules():
    names = [
        module.name
        for module in pkgutil.walk_packages(
            keras_regnet.__path__, "keras_regnet."
        )
    ]
    return ["keras_regnet", *names]


def _public_functions():
    for name in _modules():
        module = importlib.import_module(name)
        for attribute, value in vars(module).items():
            is_ours = getattr(value, "__module__", None) == name
            if inspect.isfunction(value) and is_ours and attribute[0] != "_":
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

    def test_public_functions_are_documented(self):
        functions = dict(_public_functions())
        self.assertGreater(len(functions), 20)
        for name, function in functions.items():
            doc = inspect.getdoc(function) or ""
            self.assertTrue(doc, f"{name} has no docstring")
            if inspect.signature(function).parameters:
                self.assertIn("Args:", doc, name)


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
        for page in (_ROOT / "README.md", _ROOT / "CONTRIBUTING.md"):
            for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
                self.assertTrue((_ROOT / link).exists(), f"{page}: {link}")


if __name__ == "__main__":
    absltest.main()
