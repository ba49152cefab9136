"""The charts of a sweep's page, as specifications of Vega-Lite.

The one module that needs Vega-Altair: `pip install 'keras_regnet[design]'`.
What a chart shows, its page gives it: data are named, not held.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

try:
    import altair as alt
    import vl_convert
except ImportError as error:
    raise ImportError(
        "The page of a sweep needs Vega-Altair and vl-convert: "
        "pip install 'keras_regnet[design]'"
    ) from error

# Told apart by people who do not see all colors: Okabe and Ito's, with gray
# instead of yellow, which is too light for lines on white.
COLORS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#e69f00",
    "#000000",
    "#808080",
)
# Color is not the only sign.
_DASHES = ((1, 0), (7, 3), (2, 2), (9, 3, 2, 3))
_SHAPES = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "cross",
    "triangle-down",
)
# Heights in pixels.
_TALL, _LOW = 460, 300
_PICTURE_WIDTH = 600
# Wide enough for a finger.
_TOUCH_WIDTH = 16
_FAINT = 0.2


def style(number: int) -> dict[str, Any]:
    """Returns how a space is drawn: color, dash and shape by its number."""
    around = number + number // len(COLORS)
    return {
        "color": COLORS[number % len(COLORS)],
        "dash": list(_DASHES[around % len(_DASHES)]),
        "shape": _SHAPES[around % len(_SHAPES)],
    }


def specifications(spaces: Sequence[str]) -> dict[str, Any]:
    """Returns the charts of a page by their names: edf, scatter and curves.

    Args:
      spaces: their names, in the order of their styles.

    Returns:
      Vega-Lite, as JSON holds it. The data are named "edf" and "band";
      "points", "best" and "chosen"; "curves" and "band". The parameter "focus"
      is the space whose band is shown, "" for none.
    """
    look = _Look(spaces)
    return {
        "edf": _finish(_edf(look), _TALL),
        "scatter": _finish(_scatter(look), _TALL),
        "curves": _finish(_curves(look), _LOW),
    }


def edf_picture(
    spaces: Sequence[str],
    data: Mapping[str, Sequence[Mapping[str, Any]]],
    title: str,
) -> str:
    """Returns the chart "edf" as SVG, with its data and a legend.

    Args:
      spaces: their names, in the order of their styles.
      data: rows by the names of data; here the band is that of all spaces.
      title: of the picture.
    """
    lines = _legend(symbolType="stroke", symbolSize=500, symbolStrokeWidth=2.2)
    return _svg(_edf(_Look(spaces, lines)), data, title)


def scatter_picture(
    spaces: Sequence[str],
    data: Mapping[str, Sequence[Mapping[str, Any]]],
    title: str,
    label: str,
) -> str:
    """Returns the chart "scatter" as SVG, with its data and a legend.

    Args:
      spaces: their names, in the order of their styles.
      data: rows by the names of data.
      title: of the picture.
      label: of the property.
    """
    chart = _scatter(_Look(spaces, _legend()), label)
    return _svg(chart, {"chosen": [], **data}, title)


def _legend(**symbols):
    return alt.Legend(
        title=None,
        orient="bottom",
        direction="vertical",
        labelLimit=0,
        labelFontSize=12,
        symbolOpacity=1,
        **symbols,
    )


def _svg(chart, data, title):
    specification = _finish(chart, _LOW, width=_PICTURE_WIDTH, title=title)
    specification["datasets"] = data
    major, minor, *_ = alt.SCHEMA_VERSION.lstrip("v").split(".")
    return vl_convert.vegalite_to_svg(specification, f"{major}.{minor}")


def script() -> str:
    """Returns the JavaScript that draws the charts, for a script element."""
    major, minor, *_ = alt.SCHEMA_VERSION.lstrip("v").split(".")
    bundle = vl_convert.javascript_bundle(None, f"{major}.{minor}")  # type: ignore[arg-type]
    return bundle.replace("</script", "<\\/script")


class _Look:
    """Channels that all charts have in common."""

    def __init__(self, spaces, legend=None):
        styles = [style(number) for number in range(len(spaces))]

        def scale(key):
            return alt.Scale(
                domain=list(spaces), range=[style[key] for style in styles]
            )

        def channel(kind, key):
            return kind("space:N", scale=scale(key), legend=legend)

        self.color = channel(alt.Color, "color")
        self.dash = channel(alt.StrokeDash, "dash")
        self.shape = channel(alt.Shape, "shape")
        self.faded = alt.condition(
            "focus == '' || datum.space == focus",
            alt.value(1),
            alt.value(_FAINT),
        )


def _data(name):
    return alt.Chart(alt.NamedData(name))


def _finish(chart, height, width="container", **properties):
    chart = chart.properties(
        width=width,
        height=height,
        **properties,
        # Again whenever other data bring other labels.
        autosize=alt.AutoSizeParams(
            type="fit-x", contains="padding", resize=True
        ),
    ).configure(
        font="system-ui, sans-serif",
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            labelFontSize=12,
            titleFontSize=13,
            titleFontWeight="normal",
            gridColor="#e6e6e6",
            labelColor="#333",
            titleColor="#222",
        ),
    )
    specification = chart.to_dict()
    # An address that a page without network does not need.
    del specification["$schema"]
    return specification


def _lines(name, x, field, title, scale, look, interpolate):
    """Lines of all spaces, the band of the focused one; easy to point at."""

    def up(field):
        return alt.Y(f"{field}:Q", title=title, scale=scale)

    lines, y = _data(name), up(field)
    drawn = lines.mark_line(interpolate=interpolate, strokeWidth=2.2).encode(
        x, y, look.color, look.dash, opacity=look.faded
    )
    area = (
        _data("band")
        .mark_area(interpolate=interpolate, opacity=0.25)
        .encode(x, up("low"), alt.Y2("high:Q"), look.color)
    )
    near = lines.mark_line(
        interpolate=interpolate,
        strokeWidth=_TOUCH_WIDTH,
        opacity=0.01,
        clip=True,
    ).encode(x, y, look.color)
    focus = alt.param(name="focus", value="")
    return alt.layer(area, drawn, near).add_params(focus)


def _edf(look):
    x = alt.X(
        "error:Q", title="error (%)", scale=alt.Scale(zero=False, nice=False)
    )
    title = "fraction of networks below"
    whole = alt.Scale(domain=[0, 1])
    return _lines("edf", x, "share", title, whole, look, "step-after")


def _curves(look):
    x = alt.X(
        "epoch:Q",
        title="epoch",
        scale=alt.Scale(zero=False, nice=False),
        axis=alt.Axis(tickMinStep=1, format="d"),
    )
    title = "mean test error (%)"
    seen = alt.Scale(zero=False)
    return _lines("curves", x, "error", title, seen, look, "linear")


def _scatter(look, label="value"):
    def across(field):
        return alt.X(
            f"{field}:Q",
            title=label,
            scale=alt.Scale(zero=False),
            axis=alt.Axis(
                labelExpr="abs(datum.value) >= 1e4 ? format(datum.value, '~s')"
                " : format(datum.value, '~r')"
            ),
        )

    y = alt.Y("error:Q", title="error (%)", scale=alt.Scale(zero=False))
    best = _data("best")
    band = best.mark_rect(color="#000", opacity=0.1).encode(
        across("low"), x2="high:Q"
    )
    median = best.mark_rule(strokeDash=[5, 3], strokeWidth=1.5).encode(
        across("median")
    )
    points = (
        _data("points")
        .mark_point(filled=True, size=48, cursor="pointer")
        .encode(
            across("value"),
            y,
            look.color,
            look.shape,
            opacity=alt.condition(
                "focus == '' || datum.space == focus",
                alt.value(0.75),
                alt.value(_FAINT),
            ),
            tooltip=[
                alt.Tooltip("space:N"),
                alt.Tooltip("index:Q"),
                alt.Tooltip("error:Q", title="error (%)"),
                alt.Tooltip("value:Q", format=",~r"),
            ],
        )
    )
    chosen = (
        _data("chosen")
        .mark_point(size=260, stroke="#000", strokeWidth=2.5)
        .encode(across("value"), y)
    )
    focus = alt.param(name="focus", value="")
    return alt.layer(band, median, points, chosen).add_params(focus)
