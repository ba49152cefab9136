"""Fails unless a sweep's page works in a browser: headless Chromium.

python .ci/check_report.py [chromium [FOLDER]]

A page of 1,001 trials is opened from a file and used as a person does: spaces
are ticked, curves pointed at, points clicked, sliders moved by keys, texts
copied; then a page of 2,005 trials of hostile names. FOLDER keeps pictures of
the first on a desk, on a phone and in print.
"""

import dataclasses
import pathlib
import sys
import tempfile
import time

if __name__ == "__main__":
    _root = pathlib.Path(__file__).resolve().parents[1]
    sys.path.insert(0, str(_root))

import browser
import numpy as np

from keras_regnet import config
from keras_regnet import design_space
from keras_regnet.design_space import report
from keras_regnet.design_space import summary
from tests.support import design_space_testing as testing

_HOSTILE = "</script><img src=x onerror=alert(1)>{{js}}"
_SAYS = "document.querySelector('%s').textContent === '%s'"
# The number of the network that has a ring around it: drawn last.
_MARKED = (
    "[...document.querySelectorAll('#scatter .mark-symbol path')].at(-1)"
    ".__data__.datum.index"
)
_SHOWN = "document.getElementById('shown').textContent"
_OF_ALL = "document.getElementById('of-all').hidden"
# The middle of a curve, and what is there.
_ON_CURVE = """(() => {
const path = document.querySelectorAll("#edf .mark-line path")[%d];
path.scrollIntoView({block: "center"});
const point = path.getPointAtLength(path.getTotalLength() / 2);
const {x, y} = point.matrixTransform(path.getScreenCTM());
return [x, y, document.elementFromPoint(x, y).__data__.datum.space];
})()"""
_ON_POINT = """(() => {
const path = document.querySelectorAll("#scatter .mark-symbol path")[%d];
path.scrollIntoView({block: "center"});
const box = path.getBoundingClientRect();
const x = box.x + box.width / 2, y = box.y + box.height / 2;
const {space, index} = document.elementFromPoint(x, y).__data__.datum;
return [x, y, space, index];
})()"""


def _records(count: int, names: list[str]) -> list:
    """Returns trials of unlike networks, as in a real sweep; one failed."""
    found = [
        record
        for k, name in enumerate(names)
        for record in testing.population(name, count, 40 + k, k)
    ]
    networks = design_space.space("RegNetX").sample(
        np.random.default_rng(0), n=len(found)
    )
    found = [
        dataclasses.replace(record, config=network.to_json())
        for record, network in zip(found, networks, strict=True)
    ]
    failed = dataclasses.replace(
        testing.FAILED, space=names[0], reason=_HOSTILE
    )
    return [*found, failed]


def _text(page, identifier):
    return page.value(f"document.getElementById({identifier!r}).textContent")


def _count(page, selector):
    return page.value(f"document.querySelectorAll({selector!r}).length")


def _use(page, records):
    """Yields what was done, and whether the page did what it should."""
    by_id = {(r.space, r.index): r for r in records if r.done}
    yield "all networks", page.value(_SHOWN) == "1000 of 1000 networks shown"
    yield "lead", page.value(_OF_ALL)
    # Each curve is drawn, and once more where it can be touched.
    yield "a curve for each", _count(page, "#edf .mark-line path") == 16
    yield "no band", _count(page, "#edf .mark-area path") == 0
    x, y, space = page.value(_ON_CURVE % 2)
    page.move(x, y)
    page.wait("document.querySelectorAll('#edf .mark-area path').length === 1")
    yield "hover: its band", _text(page, "edf-said").startswith(f"{space}: n =")
    yield "differences", _differences_are_right(page, records)
    yield "best value", _best_depth_is_right(page, records)

    page.click_on("#spaces label:nth-child(3) input")
    page.wait(f"{_SHOWN} === '875 of 1000 networks shown'")
    page.wait("document.querySelectorAll('#edf .mark-line path').length === 14")
    yield "unticked", _count(page, "#differences tbody tr") == 7
    page.press(" ", 32, " ")
    page.wait(f"{_SHOWN} === '1000 of 1000 networks shown'")

    x, y, space, index = page.value(_ON_POINT % 500)
    page.click(x, y)
    title = f"{space} #{index}: {by_id[space, index].error:.2f} % error"
    page.wait(_SAYS % ("#network h3", title))
    page.wait(f"{_MARKED} === {index}")
    yield "drawn", _count(page, "#network svg rect") > 3
    page.click_on("#copy-config")
    page.wait(_SAYS % ("#copy-config", "copied"))
    copied = page.value("navigator.clipboard.readText()")
    yield "copied", config.from_json(copied) == by_id[space, index].network
    page.click_on("#copy-command")
    page.wait(_SAYS % ("#copy-command", "copied"))
    copied = page.value("navigator.clipboard.readText()")
    yield "command", "main.py --variant=network.json --dataset=" in copied
    page.click_on("#worse")
    yield "next network", title not in _text(page, "network")

    page.value("document.getElementById('flops-at-most').focus()")
    page.press("PageDown", 34)
    page.wait(f"{_SHOWN} !== '1000 of 1000 networks shown'")
    yield "budget", "within the budget" in _text(page, "differences-said")
    yield "lead: of the whole", not page.value(_OF_ALL)
    page.click_on("#whole")
    page.wait(f"{_SHOWN} === '1000 of 1000 networks shown'")
    page.value("document.querySelector('#properties input').focus()")
    page.press("ArrowDown", 40)
    yield "property", "multiply-adds" in _text(page, "best-said")

    page.click_on("#list summary")
    page.wait("document.querySelectorAll('#trials tbody tr').length === 100")
    page.click_on("#sort-depth")
    depths = page.value(
        "[...document.querySelectorAll('#trials tbody tr')].map("
        "r => Number(r.cells[3].textContent))"
    )
    yield "sorted", depths == sorted(depths) and len(set(depths)) > 1
    yield "no failures", page.errors == []
    yield "nothing from outside", _all_local(page)


def _all_local(page):
    return all(url.startswith(("file:", "data:")) for url in page.requests)


def _differences_are_right(page, records):
    """Whether cells are colored, both ways, where a difference is certain."""
    pairs = summary.summarize(records)["comparisons"]
    certain = sum(pair["low"] > 0 or pair["high"] < 0 for pair in pairs)
    cells = page.value(
        "[...document.querySelectorAll('#differences td')].map("
        "c => c.childNodes[0].textContent)"
    )
    expected = {
        f"{pair['difference']:+.1f}".replace("-", "\u2212") for pair in pairs
    }
    return (
        _count(page, "#differences td.better") == certain
        and _count(page, "#differences td.worse") == certain
        and len(cells) == 64
        and expected <= set(cells)
    )


def _best_depth_is_right(page, records):
    done = [record for record in records if record.done]
    expected = design_space.bootstrap_best(
        [record.depth for record in done],
        [record.error for record in done],
        np.random.default_rng(0),
    )
    words = _text(page, "best-said").replace(",", "").split()
    low, median, high = float(words[7]), float(words[3]), float(words[9])
    return np.allclose((low, median, high), expected, atol=1)


def _check(seen) -> int:
    """Exits unless all was right; returns how much that was."""
    seen = dict(seen)
    failures = [name for name, right in seen.items() if not right]
    if failures:
        sys.exit(f"report.html fails: {', '.join(failures)}")
    return len(seen)


def _keep_pictures(page, path, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, width, height, mobile in (
        ("desk", 1280, 900, False),
        ("tablet", 900, 1000, False),
        ("phone", 390, 844, True),
    ):
        page.open(path, width, height, mobile=mobile)
        page.picture(folder / f"{name}.png")
    page.open(path, 1280, 900)
    page.print(folder / "print.pdf")


def main() -> None:
    """Writes pages, uses them, checks what they did."""
    chromium, *folder = sys.argv[1:] or ["chromium"]
    start = time.perf_counter()
    records = _records(125, [f"space {k}" for k in range(8)])
    hostile = _records(501, [f"{_HOSTILE}{k}" for k in range(4)])
    with (
        tempfile.TemporaryDirectory() as temporary,
        browser.page(chromium) as page,
    ):
        path = pathlib.Path(temporary) / "report.html"
        report.write(path, records)
        written, size = time.perf_counter() - start, path.stat().st_size
        page.call(
            "Browser.grantPermissions",
            permissions=["clipboardReadWrite", "clipboardSanitizedWrite"],
        )
        start = time.perf_counter()
        page.open(path, 1280, 900)
        opened = time.perf_counter() - start
        uses = _check(_use(page, records))
        used = time.perf_counter() - start - opened
        _check([("under 3 MB", size < 3_000_000)])
        if folder:
            _keep_pictures(page, path, pathlib.Path(folder[0]))
        report.write(path, hostile, title=_HOSTILE)
        page.open(path, 1280, 900)
        # A click on pixels; names are text.
        page.click_on("#scatter canvas")
        _check(
            [
                ("hostile: no images", _count(page, "img") == 0),
                ("hostile: no failures", page.errors == []),
                ("hostile: local", _all_local(page)),
                (
                    "hostile: shown as text",
                    _HOSTILE in _text(page, "spaces")
                    and _HOSTILE in page.value("document.title"),
                ),
            ]
        )
    print(
        f"report.html: 1,001 trials, {size / 1e6:.1f} MB, written in "
        f"{written:.1f} s; opened in {opened:.1f} s, {uses} checks took "
        f"{used:.1f} s in {chromium}"
    )


if __name__ == "__main__":
    main()
