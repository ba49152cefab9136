"""The notebooks run from top to bottom, and are stored with what they show."""

import nbformat
from absl.testing import absltest
from absl.testing import parameterized

from notebooks import execute

_MAX_BYTES = 200_000
_EACH = [(path.stem, path) for path in execute.paths()]


class NotebooksTest(parameterized.TestCase):
    def test_there_are_two(self):
        self.assertLen(_EACH, 2)

    @parameterized.named_parameters(*_EACH)
    def test_runs(self, path):
        executed = execute.execute(path)
        stored = nbformat.read(path, as_version=4)
        self.assertEqual(_shown(executed), _shown(stored))

    @parameterized.named_parameters(*_EACH)
    def test_is_stored_as_it_was_executed(self, path):
        """If not: python notebooks/execute.py."""
        text = path.read_text()
        self.assertLess(len(text), _MAX_BYTES)
        for private in ("/tmp", "/home", "/root", "/work"):
            self.assertNotIn(private, text)
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        cells = [c for c in notebook.cells if c.cell_type == "code"]
        self.assertEqual(
            [cell.execution_count for cell in cells],
            list(range(1, len(cells) + 1)),
        )
        pictures = [kind for kinds in _shown(notebook) for kind in kinds]
        self.assertIn("image/png", pictures)


def _shown(notebook):
    """Returns of each cell the kinds of its outputs, whatever the numbers."""
    return [
        [
            kind
            for output in cell.get("outputs", ())
            for kind in sorted(output.get("data", [output.output_type]))
        ]
        for cell in notebook.cells
    ]


if __name__ == "__main__":
    absltest.main()
