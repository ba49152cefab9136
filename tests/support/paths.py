"""Where things are in the checkout."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
DATA = TESTS / "data"
PAGES = sorted((ROOT / "docs").glob("*.md"))
