"""Tables in Markdown."""

from collections.abc import Iterable
from collections.abc import Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns the lines of a table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
