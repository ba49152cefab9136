"""The table and the picture of docs/side_by_side.md: what time depends on.

Networks at random are timed by the suite population. Here a count explains
their time as far as a power of it does, time = a * count^k: a straight line
over logarithms, by least squares.

Source:
  "Designing Network Design Spaces", CVPR 2020, figure 12, which has the
  correlations on an accelerator.
"""

import functools
from typing import Any
from typing import NamedTuple

import numpy as np

from benchmarks import evaluated
from benchmarks import markdown
from benchmarks.harness import results

_RESULT = "population_avx512_core_bf16"
_COUNTS = {
    "flops": "multiply-adds",
    "activations": "activations",
    "params": "params",
}
_PASSES = ("inference", "training")
_RESAMPLES = 10_000
_UNITS = {"flops": 1e9, "activations": 1e6, "params": 1e6}


class Timed(NamedTuple):
    """Networks that were timed.

    Args:
      labels: space, pass, batch and threads.
      counts: multiply-adds, activations and params of each network, by name.
      milliseconds: of one image, of each network.
    """

    labels: dict[str, Any]
    counts: dict[str, np.ndarray]
    milliseconds: np.ndarray


@functools.cache
def _timed() -> dict[str, Timed]:
    """Returns the networks by pass."""
    result = results.read(evaluated.RESULTS / f"{_RESULT}.json")
    found = {}
    for setting in result["settings"]:
        case = setting["cases"][setting["reference"]]
        facts = case["facts"]
        seconds = [
            results.median(case, str(number))
            for number in range(len(facts["networks"]))
        ]
        counts = {
            name: np.array([one[name] for one in facts["networks"]], float)
            for name in _COUNTS
        }
        milliseconds = 1e3 * np.array(seconds) / facts["images"]
        labels = setting["labels"]
        found[labels["pass"]] = Timed(labels, counts, milliseconds)
    return found


class Fit(NamedTuple):
    """A straight line over logarithms.

    Args:
      exponents: k of each count.
      factor: a.
      residual: the standard deviation of time over its fit, as a factor.
    """

    exponents: np.ndarray
    factor: float
    residual: float


def fit(counts: list[np.ndarray], times: np.ndarray) -> Fit:
    """Returns the fit of times by a product of powers of counts.

    Example:
    >>> x = np.array([1.0, 2.0, 4.0, 8.0])
    >>> found = fit([x], 3 * x**2)
    >>> found.exponents.round(6), round(found.factor, 6)
    (array([2.]), 3.0)
    """
    columns = [np.ones(len(times)), *map(np.log, counts)]
    matrix = np.stack(columns, axis=1)
    solution, *_ = np.linalg.lstsq(matrix, np.log(times), rcond=None)
    error = np.log(times) - matrix @ solution
    freedom = len(times) - len(solution)
    deviation = np.sqrt(np.sum(error**2) / freedom) if freedom else 0.0
    return Fit(
        solution[1:], float(np.exp(solution[0])), float(np.exp(deviation))
    )


def _correlation(counts, times):
    """Returns Pearson's r with the bootstrap's interval of 95 %."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(times), size=(_RESAMPLES, len(times)))
    x, y = counts[drawn], times[drawn]
    x = x - x.mean(axis=1, keepdims=True)
    y = y - y.mean(axis=1, keepdims=True)
    r = (x * y).sum(1) / np.sqrt((x**2).sum(1) * (y**2).sum(1))
    low, high = np.percentile(r, [2.5, 97.5])
    return float(np.corrcoef(counts, times)[0, 1]), float(low), float(high)


def explained() -> str:
    """Returns how well each count, and two together, explain the time."""
    rows = []
    for name in _PASSES:
        timed = _timed()[name]
        title = f"{name}, batch {timed.labels['batch']}"
        for count, words in _COUNTS.items():
            values = timed.counts[count]
            r, low, high = _correlation(values, timed.milliseconds)
            found = fit([values], timed.milliseconds)
            rows.append(
                [
                    title,
                    words,
                    f"{r:.2f} ({low:.2f} to {high:.2f})",
                    f"{found.exponents[0]:.2f}",
                    f"{found.residual:.2f}",
                ]
            )
        both = [timed.counts[count] for count in ("flops", "activations")]
        found = fit(both, timed.milliseconds)
        powers = ", ".join(f"{power:.2f}" for power in found.exponents)
        words = "multiply-adds and activations"
        rows.append([title, words, "", powers, f"{found.residual:.2f}"])
    header = (
        "pass",
        "explained by",
        "correlation with time (95 %)",
        "exponent",
        "time over its fit, a factor of",
    )
    return markdown.table(header, rows)


TABLES = (explained,)


def points() -> list[tuple[str, str, list[float], list[float]]]:
    """Returns what the picture shows: pass, count, its values, milliseconds."""
    return [
        (
            name,
            count,
            _timed()[name].counts[count].tolist(),
            _timed()[name].milliseconds.tolist(),
        )
        for name in _PASSES
        for count in ("flops", "activations")
    ]


def draw(figure: Any) -> None:
    """Draws times over multiply-adds and over activations, with the fits."""
    figure.set_size_inches(9, 6)
    panels = figure.subplots(len(_PASSES), 2, sharey="row")
    for axes, point in zip(panels.flat, points(), strict=True):
        _draw_panel(axes, *point)
    for axes, name in zip(panels[:, 0], _PASSES, strict=True):
        axes.set_ylabel(f"{name}, ms an image")


def _draw_panel(axes, name, count, values, milliseconds):
    x = np.array(values) / _UNITS[count]
    times = np.array(milliseconds)
    found = fit([x], times)
    ends = np.array([x.min(), x.max()])
    axes.plot(
        ends,
        found.factor * ends ** found.exponents[0],
        color="#999999",
        linewidth=1,
    )
    axes.plot(x, times, "o", color="#0072B2", markersize=4)
    r = _correlation(np.array(values), times)[0]
    axes.set_title(f"r = {r:.2f}", fontsize=9)
    unit = "billions" if _UNITS[count] == 1e9 else "millions"
    axes.set_xlabel(f"{_COUNTS[count]} of one image, in {unit}")
    _set_logarithmic(axes.xaxis, axes.set_xscale)
    _set_logarithmic(axes.yaxis, axes.set_yscale)
    axes.grid(alpha=0.3, which="both")


def _set_logarithmic(axis, set_scale):
    """Writes the ticks of a short logarithmic axis as plain numbers."""
    from matplotlib import ticker

    set_scale("log")
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axis.set_minor_formatter(ticker.NullFormatter())
