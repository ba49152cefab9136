"""The page of a sweep: one HTML file that needs no network.

Summary, plots, a table of all trials that can be sorted and
filtered and whose rows are linked with the points, and the failed trials.
"""

import base64
import html
import io
import json
import os
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence

from keras_regnet import atomic
from keras_regnet import plan
from keras_regnet.design_space import plots
from keras_regnet.design_space import summary
from keras_regnet.design_space.records import Record
from keras_regnet.design_space.summary import Population

_TEMPLATE = pathlib.Path(__file__).with_name("report.html")
# Columns of the table, around those of the networks' parameters.
_FIRST = ("space", "index", "status", "error")
_LAST = ("network", "seconds", "attempt", "trial")
# Networks drawn at each end of a space, and spaces whose networks are drawn.
_DRAWN_NETWORKS = 4
_DRAWN_SPACES = 16
_SVG_SALT = "keras_regnet"


def write(
    path: str | os.PathLike,
    records: Sequence[Record],
    missing: Mapping[str, int] | None = None,
    title: str | None = None,
) -> None:
    """Writes the page; the file appears whole or not at all.

    Args:
      path: of the page.
      records: all attempts of the sweep.
      missing: how many trials of each space have no record yet.
      title: of the page.

    Raises:
      ValueError: if there are no records, or of several regimes.
    """
    found = summary.populations(records, missing)
    title = title or f"Design spaces: {records[0].regime}"
    page = _TEMPLATE.read_text(encoding="utf-8")
    for name, content in _parts(found, records, missing, title).items():
        page = page.replace("{{" + name + "}}", content)
    with atomic.replacing(path) as partial:
        partial.write_text(page, encoding="utf-8")


def _parts(found, records, missing, title):
    """Returns the contents of the template's fields, data last."""
    together = _together(found)
    lines = summary.sentences(summary.summarize(records, missing))
    return {
        "title": html.escape(title),
        "failed_class": "failed" if together.failed else "",
        "failed_line": (
            f"{len(together.done)} networks trained, {len(together.failed)} "
            f"failed for good, {together.missing} not run yet."
        ),
        "words": "".join(f"<li>{html.escape(line)}</li>" for line in lines),
        "distributions": _distributions(found),
        "scatters": _scatters(together),
        "drawings": "".join(map(_drawings, found[:_DRAWN_SPACES])),
        "failures": _failures(found),
        "data": _data(found, together.parameters),
    }


def _together(found):
    """Returns all spaces as one population."""
    return Population(
        "all",
        tuple(record for p in found for record in p.done),
        tuple(record for p in found for record in p.failed),
        sum(p.missing for p in found),
    )


# --- Pictures ---------------------------------------------------------------


def _image(axes, alternative):
    """Returns a figure as an image inside the page."""
    stream = io.StringIO()
    with plots.reproducible(_SVG_SALT):
        axes.figure.savefig(stream, format="svg", metadata={"Date": None})
    encoded = base64.b64encode(stream.getvalue().encode()).decode()
    return (
        f'<img alt="{html.escape(alternative)}" '
        f'src="data:image/svg+xml;base64,{encoded}">'
    )


def _distributions(found):
    counts = {p.space: p.counts() for p in found}
    edf = plots.new_axes()
    plots.edf(edf, {p.space: p.errors for p in found}, counts)
    images = _image(edf, "error EDFs")
    curves = {p.space: [r.test_errors for r in p.done] for p in found}
    # Of networks that were trained elsewhere they may not be known.
    if any(map(any, curves.values())):
        axes = plots.new_axes()
        plots.learning_curves(axes, curves, counts)
        images += _image(axes, "learning curves")
    return images


def _scatters(together):
    if not together.done:
        return "<p>No network has been trained yet.</p>"
    images = []
    for parameter in together.parameters:
        axes = plots.new_axes()
        plots.scatter(
            axes,
            together.values(parameter),
            together.errors,
            parameter,
            together.counts(),
            summary.repeats(len(together.done)),
        )
        images.append(_image(axes, f"error against {parameter}"))
    return "".join(images)


def _drawings(population):
    if not population.done:
        return ""
    ranked = sorted(population.done, key=lambda record: record.error)
    count = min(_DRAWN_NETWORKS, (len(ranked) + 1) // 2)
    drawn = ranked[:count] + ranked[max(count, len(ranked) - count) :]
    grid = plots.new_grid(len(drawn))
    for axes, record in zip(grid, drawn, strict=True):
        plots.widths(
            axes, record.network, f"#{record.index}: {record.error:.1f} %"
        )
    name = html.escape(f"{population.space} ({population.counts()})")
    image = _image(grid[0], f"widths of networks of {population.space}")
    return f"<h3>{name}</h3>{image}"


# --- Tables -----------------------------------------------------------------


def _data(found, parameters):
    """Returns the rows of all trials as JSON that a script element may hold."""
    columns = (*_FIRST, *parameters, *_LAST)
    rows = [
        _row(record, columns)
        for population in found
        for record in (*population.done, *population.failed)
    ]
    content = {
        "columns": columns,
        "numeric": ("index", "error", *parameters, "seconds", "attempt"),
        "across": (*parameters, "index", "seconds"),
        "spaces": [population.space for population in found],
        "rows": rows,
    }
    text = json.dumps(content, separators=(",", ":"))
    return text.replace("</", "<\\/").replace("<!--", "<\\!--")


def _row(record, columns):
    values = vars(record.network) | record.to_dict()
    values["network"] = describe(record)
    return [values[column] for column in columns]


def describe(record: Record) -> str:
    """Returns the stages of a record's network, in one short line."""
    stages = plan.stages(record.network)
    depths = " ".join(str(stage.depth) for stage in stages)
    widths = " ".join(str(stage.width) for stage in stages)
    groups = " ".join(str(stage.group_width) for stage in stages)
    ratios = " ".join(f"{s.width / s.inner_width:g}" for s in stages)
    return f"d {depths}; w {widths}; g {groups}; b {ratios}"


def _failures(found):
    failed = [record for p in found for record in p.failed]
    if not failed:
        return "<p>None.</p>"
    cells = (
        f"<tr><td>{html.escape(record.space)}</td>"
        f'<td class="number">{record.index}</td>'
        f'<td class="number">{record.attempt}</td>'
        f'<td class="long">{html.escape(record.reason)}</td>'
        f"<td>{html.escape(describe(record))}</td></tr>"
        for record in failed
    )
    return (
        '<div class="wide"><table><tr><th>space</th><th>index</th>'
        "<th>attempts</th><th>reason</th><th>network</th></tr>"
        f"{''.join(cells)}</table></div>"
    )
