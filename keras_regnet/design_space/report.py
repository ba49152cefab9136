"""The page of a sweep: one HTML file that needs no network.

Pictures first: error EDFs, differences of spaces, error against properties of
the networks, each network on a click. Words, tables and failures below.
"""

import html
import os
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence

from keras_regnet import atomic
from keras_regnet.design_space import charts
from keras_regnet.design_space import page_data
from keras_regnet.design_space import summary
from keras_regnet.design_space.records import Record

_TEMPLATE = pathlib.Path(__file__).with_name("report.html")


def write(
    path: str | os.PathLike,
    records: Sequence[Record],
    missing: Mapping[str, int] | None = None,
    title: str | None = None,
    training: str = "--dataset=folder:PHOTOS",
) -> None:
    """Writes the page; the file appears whole or not at all.

    Args:
      path: of the page.
      records: all attempts of the sweep.
      missing: how many trials of each space have no record yet.
      title: of the page.
      training: flags of training/main.py in the command that trains a network
        of the page.

    Raises:
      ValueError: if there are no records, or of several regimes.
    """
    found = summary.populations(records, missing)
    summarized = summary.summarize(records, missing)
    title = title or f"Design spaces: {records[0].regime}"
    parts = {
        "title": html.escape(title),
        "counts": _counts(found),
        "lead": html.escape(summary.lead(summarized)),
        "words": "".join(
            f"<li>{html.escape(line)}</li>"
            for line in summary.sentences(summarized)
        ),
        "failures": _failures(found),
        "css": _TEMPLATE.with_suffix(".css").read_text(encoding="utf-8"),
        "vega": charts.script(),
        "js": _TEMPLATE.with_suffix(".js").read_text(encoding="utf-8"),
        "data": page_data.to_json(
            _data(found, summarized) | {"training": training}
        ),
    }
    page = _filled(_TEMPLATE.read_text(encoding="utf-8"), parts)
    with atomic.replacing(path) as partial:
        partial.write_text(page, encoding="utf-8")


def _filled(template, parts):
    """Returns the template with its parts, in which nothing is replaced."""
    pieces = template.split("{{")
    made = [pieces[0]]
    for piece in pieces[1:]:
        name, rest = piece.split("}}", 1)
        made += [parts[name], rest]
    return "".join(made)


def _data(found, summarized):
    data = page_data.content(found, summarized)
    for number, space in enumerate(data["spaces"]):
        space.update(charts.style(number))
    data["charts"] = charts.specifications([p.space for p in found])
    return data


def _counts(found):
    """Returns how many trials there are, in a sentence; failures stand out."""
    failed = sum(len(p.failed) for p in found)
    text = (
        f"{sum(len(p.done) for p in found)} networks trained, {failed} failed "
        f"for good, {sum(p.missing for p in found)} not run yet."
    )
    return f'<p class="{"failed" if failed else ""}">{text}</p>'


def _failures(found):
    failed = [record for p in found for record in p.failed]
    if not failed:
        return ""
    cells = (
        f"<tr><td>{html.escape(record.space)}</td>"
        f'<td class="number">{record.index}</td>'
        f'<td class="number">{record.attempt}</td>'
        f'<td class="long">{html.escape(record.reason)}</td></tr>'
        for record in failed
    )
    return (
        f"<details><summary>Failed trials ({len(failed)})</summary>"
        '<div class="wide" tabindex="0"><table><thead><tr><th>space</th>'
        "<th>index</th><th>attempts</th><th>reason</th></tr></thead>"
        f"<tbody>{''.join(cells)}</tbody></table></div></details>"
    )
