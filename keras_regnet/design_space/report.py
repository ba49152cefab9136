"""The page of a sweep: one HTML file that needs no network.

Summary in words, plots, a table of all trials that can be sorted and
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

from keras_regnet import plan
from keras_regnet.design_space import plots
from keras_regnet.design_space import summary
from keras_regnet.design_space.records import Record
from keras_regnet.design_space.summary import Population

_TEMPLATE = pathlib.Path(__file__).with_name("report.html")
_COLUMNS = (
    "space",
    "index",
    "status",
    "error",
    "depth",
    "flops",
    "params",
    "activations",
    "network",
    "seconds",
    "attempt",
    "trial",
)
_NUMERIC = (
    "index",
    "error",
    *summary.PARAMETERS,
    "seconds",
    "attempt",
)
_ACROSS = (*summary.PARAMETERS, "index", "seconds")
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
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(path)


def _parts(found, records, missing, title):
    """Returns what the template's places are filled with, data last."""
    failed = sum(len(population.failed) for population in found)
    words = summary.in_words(summary.summarize(records, missing))
    return {
        "title": html.escape(title),
        "failed_class": "failed" if failed else "",
        "failed_line": _failed_line(found, failed),
        "words": "".join(f"<li>{html.escape(line)}</li>" for line in words),
        "distributions": _distributions(found),
        "scatters": _scatters(found),
        "drawings": "".join(map(_drawings, found[:_DRAWN_SPACES])),
        "failures": _failures(found),
        "data": _data(found),
    }


def _failed_line(found, failed):
    done = sum(len(population.done) for population in found)
    missing = sum(population.missing for population in found)
    return (
        f"{done} networks trained, {failed} failed for good, "
        f"{missing} not run yet."
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
    curves = plots.new_axes()
    plots.learning_curves(
        curves,
        {p.space: [r.test_errors for r in p.done] for p in found},
        counts,
    )
    return _image(edf, "error EDFs") + _image(curves, "learning curves")


def _scatters(found):
    together = Population(
        "all",
        tuple(record for p in found for record in p.done),
        tuple(record for p in found for record in p.failed),
        sum(p.missing for p in found),
    )
    if not together.done:
        return "<p>No network has been trained yet.</p>"
    images = []
    for parameter in summary.PARAMETERS:
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


def _data(found):
    """Returns the rows of all trials as JSON that a script element may hold."""
    rows = [
        _row(record)
        for population in found
        for record in (*population.done, *population.failed)
    ]
    content = {
        "columns": _COLUMNS,
        "numeric": _NUMERIC,
        "across": _ACROSS,
        "spaces": [population.space for population in found],
        "rows": rows,
    }
    text = json.dumps(content, separators=(",", ":"))
    return text.replace("</", "<\\/").replace("<!--", "<\\!--")


def _row(record):
    values = {**vars(record), "network": describe(record)}
    return [values[column] for column in _COLUMNS]


def describe(record: Record) -> str:
    """Returns the stages of a record's network, in one short line.

    Args:
      record: of any trial.

    Returns:
      Depths, widths, group widths and bottleneck ratios of the stages.
    """
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
