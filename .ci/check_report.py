"""Fails unless a sweep's page works in a browser: `chromium --headless`.

python .ci/check_report.py [chromium]

A page of 10,000 trials is opened from a file; a script that is appended to a
copy of it filters, sorts and clicks, and leaves what it saw in the document.
"""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

if __name__ == "__main__":
    _root = pathlib.Path(__file__).resolve().parents[1]
    sys.path.insert(0, str(_root))

import numpy as np

from keras_regnet import design_space
from keras_regnet.design_space import report
from tests.support import design_space_testing as testing

_PROBE = """
<script>
const seen = {};
const body = () => [...get("trials").tBodies[0].rows];
const column_of = name => body().map(
  row => row.cells[column(name)].textContent);
seen.count = get("count").textContent;
seen.rows = body().length;
seen.errors = column_of("error").map(Number);
const start = performance.now();
get("space").value = "space 3";
get("space").onchange();
seen.filtered = [get("count").textContent, ...new Set(column_of("space"))];
get("trials").tHead.rows[0].cells[column("depth")].onclick();
get("trials").tHead.rows[0].cells[column("depth")].onclick();
seen.depths = column_of("depth").map(Number);
get("next").onclick();
seen.page = get("page").textContent;
get("status").value = "failed";
get("space").value = "";
get("status").onchange();
seen.failed = get("count").textContent;
get("status").value = "";
get("text").value = "space 5";
get("text").oninput();
seen.text = get("count").textContent;
const box = get("points").getBoundingClientRect();
const [x, y, point] = places[places.length - 1];
get("points").onclick({clientX: box.left + x, clientY: box.top + y});
const mark = document.querySelector("#trials tr.chosen");
seen.linked = [rows[chosen][column("error")] === rows[point][column("error")],
  mark !== null && Number(mark.dataset.row) === chosen];
body()[3].onclick();
seen.row = Number(body()[3].dataset.row) === chosen;
seen.milliseconds = performance.now() - start;
seen.outside = performance.getEntriesByType("resource").filter(
  e => !e.name.startsWith("data:")).length;
document.title = "SEEN" + JSON.stringify(seen) + "END";
</script>
"""


def _look(chromium: str, path: pathlib.Path) -> dict:
    """Returns what the probe saw."""
    path.write_text(path.read_text().replace("</body>", _PROBE + "</body>"))
    with tempfile.TemporaryDirectory() as profile:
        result = subprocess.run(
            [
                chromium,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={profile}",
                "--dump-dom",
                path.as_uri(),
            ],
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
    found = re.search("<title>SEEN(.*)END</title>", result.stdout)
    if not found:
        sys.exit(f"the page's scripts failed:\n{result.stderr[-2000:]}")
    return json.loads(found[1].replace("&amp;", "&"))


def _check(seen: dict) -> None:
    """Exits unless the page did what it should."""
    failures = [
        name
        for name, right in {
            "all trials": seen["count"] == "10001 of 10001 trials",
            "one page of rows": seen["rows"] == 100,
            "sorted by error": seen["errors"] == sorted(seen["errors"]),
            "filter": seen["filtered"] == ["1250 of 10001 trials", "space 3"],
            "sorted falling": seen["depths"]
            == sorted(seen["depths"], reverse=True),
            "pages": seen["page"] == "page 2 of 13",
            "failed": seen["failed"] == "1 of 10001 trials",
            "text": seen["text"] == "1250 of 10001 trials",
            "point to row": seen["linked"] == [True, True],
            "row to point": seen["row"],
            "nothing from outside": seen["outside"] == 0,
            "quick": seen["milliseconds"] < 3000,
        }.items()
        if not right
    ]
    if failures:
        sys.exit(f"report.html fails: {', '.join(failures)}. Seen: {seen}")


def main() -> None:
    """Writes a page, looks at it, checks what was seen."""
    chromium = sys.argv[1] if len(sys.argv) > 1 else "chromium"
    many = [
        record
        for k in range(8)
        for record in testing.population(f"space {k}", 1250, 40 + k, k)
    ]
    many.append(dataclasses.replace(testing.FAILED, space="space 0"))
    # No two networks are alike, as in a real sweep: that takes longest.
    networks = design_space.space("RegNetX").sample(
        np.random.default_rng(0), n=len(many)
    )
    many = [
        dataclasses.replace(record, config=network.to_json())
        for record, network in zip(many, networks, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "report.html"
        start = time.perf_counter()
        report.write(path, many)
        written = time.perf_counter() - start
        seen = _look(chromium, path)
    _check(seen)
    print(
        f"report.html: 10,001 trials, written in {written:.1f} s; eight "
        f"interactions took {seen['milliseconds']:.0f} ms in {chromium}"
    )


if __name__ == "__main__":
    main()
