"""The page on design spaces runs, and prints what it says it prints."""

import contextlib
import io
import re

from absl.testing import absltest

from keras_regnet import design_space
from tests.support import paths

_PAGE = paths.ROOT / "docs/design_spaces.md"
_PAIR = re.compile(
    r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", flags=re.DOTALL
)


def blocks():
    """Returns pairs of code and what it prints, None where it is not said."""
    return [match.groups() for match in _PAIR.finditer(_PAGE.read_text())]


def printed(code, namespace):
    """Returns what a block of code prints."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, _PAGE.name, "exec"), namespace)
    return output.getvalue()


class PageTest(absltest.TestCase):
    def test_blocks_print_what_the_page_says(self):
        namespace = {}
        self.assertGreater(len(blocks()), 6)
        for code, expected in blocks():
            self.assertEqual(printed(code, namespace), expected or "", code)

    def test_sizes(self):
        rows = re.findall(
            r"\| `(\w+)` \|.*\| ([\d.]+e\d+) \|", _PAGE.read_text()
        )
        self.assertLen(rows, 6)
        for name, size in rows:
            found = f"{design_space.space(name).size():.1e}"
            self.assertEqual(float(found), float(size), name)


if __name__ == "__main__":
    absltest.main()
