"""Public names are documented, and links lead somewhere."""

import doctest
import importlib
import inspect
import re

from absl.testing import absltest

import keras_regnet
from tests.support import modules
from tests.support import paths


def _public():
    """Yields what packages list in `__all__`: name and function or class."""
    for name in modules.of_the_package():
        module = importlib.import_module(name)
        for attribute in getattr(module, "__all__", ()):
            value = getattr(module, attribute)
            if inspect.isfunction(value) or inspect.isclass(value):
                yield f"{name}.{attribute}", value


class DocstringTest(absltest.TestCase):
    def test_there_are_examples(self):
        finder = doctest.DocTestFinder(exclude_empty=True)
        examples = sum(
            len(test.examples)
            for name in modules.of_the_package()
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


class LinksTest(absltest.TestCase):
    def test_links_lead_somewhere(self):
        pages = [paths.ROOT / "README.md", paths.ROOT / "CONTRIBUTING.md"]
        for page in (*pages, *paths.PAGES):
            for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
                target = page.parent / link
                self.assertTrue(target.exists(), f"{page}: {link}")


if __name__ == "__main__":
    absltest.main()
