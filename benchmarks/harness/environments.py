"""Environments of benchmark cases, made once from pinned requirements.

`benchmarks/requirements/NAME.txt` is installed into a folder that is named
after its contents: a changed file has a new environment. What stands below the
line `# --no-deps` is installed without what it would bring.
"""

import hashlib
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable

from benchmarks.harness import child
from benchmarks.harness import spec

REQUIREMENTS = child.ROOT / "benchmarks/requirements"
_NO_DEPS = "# --no-deps\n"
_MARK = "made"


class Environments:
    """The environments of a run; each is made when it is first needed.

    Args:
      folder: where they are kept.
      report: called with a line before one is made.
      requirements: folder of the files.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        report: Callable[[str], None],
        requirements: pathlib.Path = REQUIREMENTS,
    ) -> None:
        self._folder = folder.resolve()
        self._report = report
        self._requirements = requirements
        self._errors: dict[str, child.CaseError] = {}

    def python(self, name: str) -> str:
        """Returns the path of an environment's interpreter.

        Raises:
          CaseError: if the environment cannot be made; says why.
        """
        if name == spec.HERE:
            return sys.executable
        if name in self._errors:
            raise self._errors[name]
        try:
            return self._made(name)
        except child.CaseError as error:
            self._errors[name] = error
            raise

    def _made(self, name):
        text = (self._requirements / f"{name}.txt").read_text()
        # Python's version too: its packages are in the folder.
        digest = hashlib.sha256((text + sys.version).encode()).hexdigest()
        folder = self._folder / f"{name}-{digest[:12]}"
        python = folder / "bin/python"
        if not (folder / _MARK).exists():
            self._report(f"making the environment {name}")
            shutil.rmtree(folder, ignore_errors=True)
            self._make(folder, python, text)
            (folder / _MARK).write_text(text)
        return str(python)

    def _make(self, folder, python, text):
        _run([sys.executable, "-m", "venv", str(folder)])
        with_deps, _, without = text.partition(_NO_DEPS)
        for part, options in ((with_deps, []), (without, ["--no-deps"])):
            if part.strip():
                file = folder / "requirements.txt"
                file.write_text(part)
                pip = [str(python), "-m", "pip", "install", "--quiet"]
                _run([*pip, *options, "-r", str(file)])


def _run(command):
    """Runs a command; raises a CaseError with its error line if it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    said = (errors or lines or ["it said nothing"])[-1]
    raise child.CaseError(f"its environment cannot be made: {said.strip()}")
