"""The rules of the house: what imports what, and what BUILD says of it."""

import ast
import pathlib
import re
import subprocess
import sys

from absl.testing import absltest
from absl.testing import parameterized

from tests.support import paths

_ROOT = paths.ROOT
_FOLDERS = ("keras_regnet", "training", "benchmarks", "experiments", "tests")
_NO_KERAS = (
    "atomic",
    "config",
    "variants",
    "plan",
    "complexity",
    "errors",
    "digits",
)
_DESIGN_SPACE = tuple(
    f"design_space/{path.stem}"
    for path in sorted((_ROOT / "keras_regnet" / "design_space").glob("*.py"))
)
_FRAMEWORKS = {"keras", "tensorflow", "jax", "torch"}

# What importing the package must not load.
_LAZY = ("matplotlib", "torch", "tensorflow_datasets", "ray", "jax")


def _sources():
    paths = [
        path
        for folder in _FOLDERS
        for path in sorted((_ROOT / folder).rglob("*.py"))
    ]
    return {str(path.relative_to(_ROOT)): path for path in paths}


def _imports(path):
    """Returns the dotted names that a file imports, wherever it does so."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def _own_modules(path, modules):
    """Returns those imported names that are files of this repository."""
    found = set()
    folder = f"{path.parent.relative_to(_ROOT)}/"
    # Tests and programs import what lies beside them by bare names.
    prefixes = ["", "tests/"]
    if not folder.startswith("keras_regnet/"):
        prefixes.append(folder)
    for name in _imports(path):
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            candidate = "/".join(parts[:length])
            for file in (f"{candidate}.py", f"{candidate}/__init__.py"):
                for prefix in prefixes:
                    if prefix + file in modules:
                        found.add(prefix + file)
            if found & {f"{candidate}.py", f"{candidate}/__init__.py"}:
                break
    return found


def _build_rules():
    """Returns the rules of BUILD: name -> (kind, sources, dependencies)."""
    rules = {}
    for statement in ast.parse((_ROOT / "BUILD").read_text()).body:
        call = getattr(statement, "value", None)
        if not isinstance(call, ast.Call) or not call.keywords:
            continue
        kind = call.func.id
        values = {
            keyword.arg: ast.literal_eval(keyword.value)
            for keyword in call.keywords
            if keyword.arg in ("name", "srcs", "deps")
        }
        if kind.startswith("py_"):
            rules[values["name"]] = (
                kind,
                values["srcs"],
                [label.lstrip(":") for label in values.get("deps", [])],
            )
    return rules


class ImportsTest(parameterized.TestCase):
    @parameterized.parameters(*_NO_KERAS, *_DESIGN_SPACE)
    def test_imports_no_framework(self, name):
        path = _ROOT / "keras_regnet" / f"{name}.py"
        roots = {imported.split(".")[0] for imported in _imports(path)}
        self.assertEmpty(roots & _FRAMEWORKS)
        # Nor by way of another of our modules.
        ours = {
            imported.split(".")[1]
            for imported in _imports(path)
            if imported.startswith("keras_regnet.")
        }
        self.assertEmpty(ours - {*_NO_KERAS, "design_space"})

    def test_direction(self):
        for name, path in _sources().items():
            imported = {full.split(".")[0] for full in _imports(path)}
            if name.startswith("keras_regnet/"):
                self.assertNotIn("training", imported, name)
                self.assertNotIn("benchmarks", imported, name)
            if name.startswith(("keras_regnet/weights", "keras_regnet/export")):
                self.assertNotIn("keras_regnet.models", _imports(path), name)

    def test_import_loads_nothing_heavy(self):
        code = (
            "import sys, keras; before = set(sys.modules); "
            "import keras_regnet; "
            f"print([m for m in {_LAZY!r} if m in set(sys.modules) - before])"
        )
        result = subprocess.run(
            [sys.executable, "-c", code],
            cwd=_ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual(result.stdout.strip(), "[]")

    def test_import_is_quick(self):
        # Of the processor, so that a busy machine changes nothing.
        code = (
            "import keras, time; start = time.process_time(); "
            "import keras_regnet; print(time.process_time() - start)"
        )
        seconds = [
            float(
                subprocess.run(
                    [sys.executable, "-c", code],
                    cwd=_ROOT,
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
            )
            for _ in range(3)
        ]
        self.assertLess(min(seconds), 0.15)


class BuildTest(absltest.TestCase):
    def test_programs_name_their_main(self):
        """Bazel would look for a file of the rule's name beside BUILD."""
        text = (_ROOT / "BUILD").read_text()
        found = re.findall(r"^py_(?:binary|test)\((.*?)^\)", text, re.M | re.S)
        self.assertGreater(len(found), 50)
        for rule in found:
            (source,) = re.findall(r'srcs = \["([^"]+)"\]', rule)
            self.assertIn(f'main = "{source}"', rule)

    def test_every_file_has_its_rule(self):
        rules = _build_rules()
        built = [
            source for _, sources, _ in rules.values() for source in sources
        ]
        files = [
            name for name in _sources() if not name.startswith("tests/oracles/")
        ]
        self.assertCountEqual(built, files)

    def test_dependencies_are_the_imports(self):
        rules = _build_rules()
        owner = {
            source: name
            for name, (_, sources, _) in rules.items()
            for source in sources
        }
        for name, (_, sources, dependencies) in rules.items():
            imported = set()
            for source in sources:
                imported |= _own_modules(_ROOT / source, owner)
            expected = {owner[file] for file in imported} - {name}
            self.assertEqual(set(dependencies), expected, name)
            self.assertEqual(dependencies, sorted(dependencies), name)

    def test_every_test_runs_itself(self):
        for path in sorted((_ROOT / "tests").glob("*_test.py")):
            self.assertRegex(
                path.read_text(),
                r'\nif __name__ == "__main__":\n'
                r"(    .*\n)*? +absltest\.main\(\)\n$",
                path.name,
            )

    def test_no_skipped_tests(self):
        pattern = re.compile(r"skipTest|\.skip\(|skipIf|importorskip")
        for path in sorted((_ROOT / "tests").glob("*_test.py")):
            if path.name != pathlib.Path(__file__).name:
                self.assertNotRegex(path.read_text(), pattern, path.name)


if __name__ == "__main__":
    absltest.main()
