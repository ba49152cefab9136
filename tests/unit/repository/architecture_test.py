"""What may import what, and what every file of a kind has in common."""

import ast
import functools
import pathlib
import re

from absl.testing import absltest
from absl.testing import parameterized

from tests.support import paths

# Modules of keras_regnet that a sampler, or a worker without Keras, imports.
_WITHOUT_KERAS = (
    "keras_regnet/atomic.py",
    "keras_regnet/center_crop.py",
    "keras_regnet/class_names.py",
    "keras_regnet/complexity.py",
    "keras_regnet/config.py",
    "keras_regnet/digits.py",
    "keras_regnet/errors.py",
    "keras_regnet/imagenet.py",
    "keras_regnet/model_record.py",
    "keras_regnet/plan.py",
    "keras_regnet/rows.py",
    "keras_regnet/safe_files.py",
    "keras_regnet/variants.py",
    "keras_regnet/weights/records.py",
    "keras_regnet/widths.py",
    "keras_regnet/design_space",
)
_FRAMEWORKS = ("keras", "tensorflow", "jax", "torch")

# (what, what it never imports).
_NEVER = (
    ("keras_regnet", "training"),
    ("keras_regnet", "benchmarks"),
    ("keras_regnet", "experiments"),
    ("keras_regnet", "tests"),
    ("keras_regnet/weights", "keras_regnet/models.py"),
    ("keras_regnet/export", "keras_regnet/models.py"),
    ("training", "benchmarks"),
    ("training", "experiments"),
    ("training", "tests"),
    *(
        (f"training/{lower}", f"training/{upper}")
        for lower, *uppers in (
            ("config", "data", "evaluate", "workdir", "trainer"),
            ("data", "evaluate", "workdir", "trainer"),
            ("workdir", "trainer"),
            ("evaluate", "workdir", "trainer"),
            ("sweeps", "evaluate", "workdir", "trainer"),
        )
        for upper in (*uppers, "sweeps")
        if upper != lower
    ),
)
_PROGRAMS = ("main", "validate", "sweep", "make_shards")
_MAX_BUILD_LINES = 150


@functools.cache
def _files():
    """Returns the Python files of the repository, by path from its root."""
    folders = ("keras_regnet", "training", "benchmarks", "experiments", "tests")
    return tuple(
        str(path.relative_to(paths.ROOT))
        for folder in folders
        for path in sorted((paths.ROOT / folder).rglob("*.py"))
    )


@functools.cache
def _tree(file):
    return ast.parse((paths.ROOT / file).read_text())


@functools.cache
def _imported(file):
    """Returns the dotted names that a file imports, wherever it does so."""
    names = set()
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(names)


@functools.cache
def _imported_files(file):
    """Returns the files of the repository that a file imports."""
    files = set(_files())
    found = set()
    for name in _imported(file):
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            path = "/".join(parts[:length])
            hits = {f"{path}.py", f"{path}/__init__.py"} & files
            if hits:
                found |= hits
                break
    return frozenset(found)


def _inside(file, place):
    return file == place or file.startswith(f"{place}/")


def _inside_any(file, places):
    return any(_inside(file, place) for place in places)


class ImportsTest(parameterized.TestCase):
    @parameterized.parameters(*_NEVER)
    def test_never(self, importer, imported):
        for file in filter(lambda f: _inside(f, importer), _files()):
            found = [f for f in _imported_files(file) if _inside(f, imported)]
            self.assertEmpty(found, file)

    def test_pairs_name_what_exists(self):
        for place in {place for pair in _NEVER for place in pair}:
            self.assertTrue((paths.ROOT / place).exists(), place)

    @parameterized.parameters(*_WITHOUT_KERAS)
    def test_without_keras(self, place):
        for file in filter(lambda f: _inside(f, place), _files()):
            roots = {name.split(".")[0] for name in _imported(file)}
            self.assertEmpty(roots.intersection(_FRAMEWORKS), file)
            # Nor by way of another module of the package.
            ours = [
                imported
                for imported in _imported_files(file)
                if imported != "keras_regnet/__init__.py"
                and not _inside_any(imported, _WITHOUT_KERAS)
            ]
            self.assertEmpty(ours, file)

    def test_extra_stands_alone(self):
        """Only what lies within it, and its tests, needs KerasHub."""
        place = "keras_regnet/hub"
        tests = "tests/integration/hub"
        for file in _files():
            if _inside_any(file, (place, tests)):
                continue
            roots = {name.split(".")[0] for name in _imported(file)}
            self.assertNotIn("keras_hub", roots, file)
            if file != "keras_regnet/__init__.py":  # For type checkers.
                found = [f for f in _imported_files(file) if _inside(f, place)]
                self.assertEmpty(found, file)

    def test_no_circles(self):
        done = set()

        def visit(file, path):
            self.assertNotIn(file, path, " -> ".join((*path, file)))
            if file not in done:
                for imported in _imported_files(file):
                    if not imported.endswith("__init__.py"):
                        visit(imported, (*path, file))
                done.add(file)

        for file in _files():
            visit(file, ())

    def test_programs_are_imported_by_no_module(self):
        programs = {f"training/{name}.py" for name in _PROGRAMS}
        for file in _files():
            if file.startswith(("training/", "keras_regnet/")):
                self.assertEmpty(programs & _imported_files(file), file)


class ClassesTest(absltest.TestCase):
    def test_attributes_are_made_in_init(self):
        """Whoever reads `__init__` of a class of the trainer sees its state."""
        for file in filter(lambda f: _inside(f, "training"), _files()):
            for node in ast.walk(_tree(file)):
                if isinstance(node, ast.ClassDef):
                    late = _assigned(node, in_init=False)
                    late -= _assigned(node, in_init=True)
                    late -= _declared(node)
                    self.assertEmpty(late, f"{file}: {node.name}")


def _assigned(node, in_init):
    """Returns the attributes of self that methods of a class assign."""
    found = set()
    for method in node.body:
        if not isinstance(method, ast.FunctionDef):
            continue
        if (method.name in ("__init__", "__post_init__")) != in_init:
            continue
        for child in ast.walk(method):
            if (
                isinstance(child, ast.Attribute)
                and isinstance(child.ctx, ast.Store)
                and isinstance(child.value, ast.Name)
                and child.value.id == "self"
            ):
                found.add(child.attr)
    return found


def _declared(node):
    """Returns names in the body of a class, such as a dataclass's fields."""
    found = set()
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign):
            found.add(statement.target.id)
        elif isinstance(statement, ast.Assign):
            found.update(target.id for target in statement.targets)
        elif isinstance(statement, ast.FunctionDef):
            found.add(statement.name)  # A property with a setter.
    return found


class FilesTest(absltest.TestCase):
    def test_build_is_coarse(self):
        lines = (paths.ROOT / "BUILD").read_text().splitlines()
        self.assertLessEqual(len(lines), _MAX_BUILD_LINES)

    def test_every_test_runs_itself(self):
        """Under Bazel a file without it runs nothing, and passes."""
        tests = [f for f in _files() if f.endswith("_test.py")]
        self.assertGreater(len(tests), 80)
        for file in tests:
            self.assertRegex(
                (paths.ROOT / file).read_text(),
                r'\nif __name__ == "__main__":\n'
                r"(    .*\n)*? +absltest\.main\(\)\n$",
                file,
            )

    def test_every_test_is_in_a_tier(self):
        tiers = {"unit", "integration", "system", "cluster"}
        for file in _files():
            if file.endswith("_test.py"):
                self.assertIn(pathlib.Path(file).parts[1], tiers, file)

    def test_no_skipped_tests(self):
        pattern = re.compile(r"skip(Test|If|Unless)|\.skip\(|import" + "orskip")
        this = str(pathlib.Path(__file__).resolve())
        for file in _files():
            path = paths.ROOT / file
            if file.endswith("_test.py") and str(path.resolve()) != this:
                self.assertNotRegex(path.read_text(), pattern, file)


if __name__ == "__main__":
    absltest.main()
