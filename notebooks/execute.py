"""Runs notebooks from top to bottom, and stores what they show.

    python notebooks/execute.py [NAME.ipynb ...]

They are stored with their outputs, so that a reader on a code host sees the
pictures, but without what changes each time: times, log lines, versions.
"""

import os
import pathlib
import sys
import tempfile
from unittest import mock

import nbclient
import nbformat

FOLDER = pathlib.Path(__file__).resolve().parent
_TIMEOUT = 300  # Seconds of one cell.
_ENVIRONMENT = {
    # The package of this checkout, wherever the notebook runs.
    "PYTHONPATH": str(FOLDER.parent),
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def paths() -> list[pathlib.Path]:
    """Returns the notebooks."""
    return sorted(FOLDER.glob("*.ipynb"))


def execute(path: pathlib.Path) -> nbformat.NotebookNode:
    """Returns a notebook as it is after all its cells, run in a new folder.

    Args:
      path: the notebook, which stays as it is.

    Raises:
      nbclient.exceptions.CellExecutionError: if a cell raises an error.
    """
    notebook = nbformat.read(path, as_version=4)
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ, _ENVIRONMENT),
    ):
        nbclient.NotebookClient(
            notebook,
            timeout=_TIMEOUT,
            kernel_name="python3",
            record_timing=False,
            resources={"metadata": {"path": folder}},
        ).execute()
    return _stripped(notebook)


def _stripped(notebook):
    """Returns a notebook without what changes from run to run."""
    kernel = {"name": "python3", "display_name": "Python 3"}
    notebook.metadata = {"kernelspec": {**kernel, "language": "python"}}
    for index, cell in enumerate(notebook.cells):
        cell.id = f"cell-{index}"
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [
                output for output in cell.outputs if not _is_log(output)
            ]
    return notebook


def _is_log(output):
    """TensorFlow logs to the standard output of a notebook, too."""
    is_info = output.get("text", "").startswith("INFO:tensorflow:")
    return output.get("name") == "stderr" or is_info


def main() -> None:
    """Runs the notebooks that are named, or all."""
    for path in map(pathlib.Path, sys.argv[1:] or paths()):
        nbformat.write(execute(path), path)
        print(path.name)


if __name__ == "__main__":
    main()
