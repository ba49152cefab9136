"""What GitHub, PyPI and citation tools read of the repository."""

import configparser
import importlib
import re

import yaml
from absl.testing import absltest
from absl.testing import parameterized

import keras_regnet
from tests.support import modules
from tests.support import paths

_GITHUB = paths.ROOT / ".github"
_FORMS = sorted(_GITHUB.glob("ISSUE_TEMPLATE/*.yml"))


def _yaml(path):
    return yaml.safe_load(path.read_text())


def _parts():
    """Returns the parts that .ci/run runs, in their order."""
    script = (paths.ROOT / ".ci" / "run").read_text()
    return re.search(r"^parts=\((.*)\)$", script, re.MULTILINE)[1].split()


class WorkflowTest(absltest.TestCase):
    def test_runs_every_part(self):
        job = _yaml(_GITHUB / "workflows" / "ci.yml")["jobs"]["ci"]
        self.assertEqual(job["strategy"]["matrix"]["part"], _parts())
        commands = [step.get("run") for step in job["steps"]]
        self.assertIn(".ci/run ${{ matrix.part }}", commands)

    def test_every_part_is_a_function(self):
        script = (paths.ROOT / ".ci" / "run").read_text()
        found = re.findall(r"^(\w+)\(\) \{$", script, re.MULTILINE)
        self.assertContainsSubset(_parts(), found)


class FormsTest(parameterized.TestCase):
    def test_there_are_three(self):
        names = {form.stem for form in _FORMS} - {"config"}
        self.assertEqual(names, {"bug", "feature", "weights"})

    @parameterized.parameters(*[f for f in _FORMS if f.stem != "config"])
    def test_form(self, path):
        """By the rules of GitHub's forms; it shows no form that breaks them."""
        form = _yaml(path)
        self.assertContainsSubset(("name", "description", "body"), form)
        ids = [field["id"] for field in form["body"]]
        self.assertLen(set(ids), len(ids))
        for field in form["body"]:
            self.assertIn(field["type"], ("input", "textarea", "dropdown"))
            self.assertTrue(field["attributes"]["label"])
        required = [
            field.get("validations", {}).get("required")
            for field in form["body"]
        ]
        self.assertIn(True, required)


class CitationTest(absltest.TestCase):
    def test_citation(self):
        citation = _yaml(paths.ROOT / "CITATION.cff")
        self.assertEqual(citation["version"], keras_regnet.__version__)
        self.assertEqual(citation["license"], "Apache-2.0")
        paper = citation["preferred-citation"]
        self.assertLen(paper["authors"], 5)
        (identifier,) = paper["identifiers"]
        self.assertEqual(identifier["value"], "arXiv:2003.13678")
        # What the schema of version 1.2.0 requires.
        for entry in (citation, paper):
            self.assertContainsSubset(("authors", "title"), entry)
        self.assertContainsSubset(("cff-version", "message"), citation)


class SetupTest(absltest.TestCase):
    def test_classifiers(self):
        setup = configparser.ConfigParser()
        setup.read(paths.ROOT / "setup.cfg")
        classifiers = setup["metadata"]["classifiers"].split("\n")
        for version in ("3.11", "3.12", "3.13"):
            self.assertIn(
                f"Programming Language :: Python :: {version}", classifiers
            )
        self.assertIn("Typing :: Typed", classifiers)
        self.assertEqual(
            setup["metadata"]["author"], "The keras_regnet authors"
        )


class ReferenceTest(absltest.TestCase):
    """What .ci/run builds with every warning an error."""

    def test_every_public_name_is_in_the_reference(self):
        """By automodule, which takes what `__all__` names."""
        documented, excluded = set(), {}
        for page in (paths.ROOT / "docs" / "reference").glob("*.rst"):
            text = page.read_text()
            for block in re.split(r"^\.\. automodule:: ", text, flags=re.M)[1:]:
                name, _, options = block.partition("\n")
                documented.add(name)
                left_out = re.search(r":exclude-members: (.*)", options)
                excluded[name] = left_out[1].split(", ") if left_out else []
        public = {
            name
            for name in modules.of_the_package()
            if hasattr(importlib.import_module(name), "__all__")
        }
        self.assertLessEqual(public, documented)
        for name, names in excluded.items():
            for member in names:
                elsewhere = (
                    f"{name}.{member}" in documented
                    or member in keras_regnet.__all__
                )
                self.assertTrue(elsewhere, f"{name}.{member}")

    def test_start_page_leads_to_every_page(self):
        start = (paths.ROOT / "docs" / "index.md").read_text()
        for page in paths.PAGES:
            if page.stem != "index":
                self.assertIn(f"]({page.name})", start)
                self.assertIn(f"\n{page.stem}\n", start)
        index = (paths.ROOT / "docs" / "reference" / "index.rst").read_text()
        for page in (paths.ROOT / "docs" / "reference").glob("*.rst"):
            if page.stem != "index":
                self.assertIn(f"   {page.stem}\n", index)


if __name__ == "__main__":
    absltest.main()
