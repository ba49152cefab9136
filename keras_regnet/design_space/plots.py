"""Pictures of populations: functions from arrays to matplotlib axes.

The one module that needs matplotlib: `pip install 'keras_regnet[design]'`.
"""

import contextlib
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from keras_regnet import plan
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.design_space import statistics

try:
    import matplotlib
    from matplotlib import ticker
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError(
        "Plots of design spaces need matplotlib: "
        "pip install 'keras_regnet[design]'"
    ) from error

Network = RegNetConfig | AnyNetConfig

_THRESHOLDS = 400
_BAND_OPACITY = 0.18
# More points than these are drawn as pixels, so that a page stays light.
_MANY_POINTS = 2000
# Seed of the bootstraps: the same records give the same picture.
_SEED = 0


def new_axes(width: float = 6.4, height: float = 4.2) -> Axes:
    """Returns axes of a figure of their own, in inches, bound to no window."""
    return Figure((width, height), layout="constrained").subplots()


def new_grid(count: int, columns: int = 4) -> list[Axes]:
    """Returns small axes of one figure, row by row."""
    rows = -(-count // columns)
    height = 1.9 * rows
    figure = Figure((2.6 * columns, height))
    # By hand: a layout that looks for overlaps takes most of a page's time.
    figure.subplots_adjust(
        left=0.05,
        right=0.99,
        top=1 - 0.25 / height,
        bottom=0.42 / height,
        wspace=0.3,
        hspace=0.55,
    )
    return [
        figure.add_subplot(rows, columns, index + 1) for index in range(count)
    ]


@contextlib.contextmanager
def reproducible(salt: str) -> Iterator[None]:
    """Makes the same picture the same SVG, whose identifiers `salt` gives."""
    with matplotlib.rc_context({"svg.hashsalt": salt}):
        yield


def edf(
    axes: Axes, errors: Mapping[str, np.ndarray], counts: Mapping[str, str]
) -> None:
    """Draws the error EDF of each population, with its 95 % band.

    Args:
      axes: to draw in.
      errors: of each population in percent, [n]; those without any are left
        to the legend.
      counts: for the legend, such as "n = 64, 1 FAILED".

    Source:
      Paper, equation 1 and figure 2.
    """
    finite = [values for values in errors.values() if len(values)]
    ends = np.concatenate(finite) if finite else np.array([0.0, 100.0])
    margin = 0.02 * (np.ptp(ends) or 1)
    thresholds = np.linspace(
        ends.min() - margin, ends.max() + margin, _THRESHOLDS
    )
    rng = np.random.default_rng(_SEED)
    for name, values in errors.items():
        label = f"{name} ({counts[name]}"
        if not len(values):
            axes.plot([], [], label=f"{label})")
            continue
        label += f") [{values.min():.1f}, {values.mean():.1f}]"
        fractions = statistics.edf(values, thresholds)
        (line,) = axes.plot(thresholds, fractions, label=label)
        low, high = statistics.edf_band(values, thresholds, rng)
        axes.fill_between(
            thresholds,
            low,
            high,
            color=line.get_color(),
            alpha=_BAND_OPACITY,
            linewidth=0,
        )
    axes.set(
        xlabel="error (%)", ylabel="fraction of networks below", ylim=(0, 1)
    )
    axes.legend(fontsize="x-small", title="[min, mean]", loc="upper left")


def scatter(
    axes: Axes,
    values: np.ndarray,
    errors: np.ndarray,
    name: str,
    counts: str,
    repeats: int = 10_000,
) -> None:
    """Draws a parameter against the error, with the band of its best value.

    Args:
      axes: to draw in.
      values: the parameter, [n].
      errors: in percent, [n].
      name: of the parameter.
      counts: such as "n = 64, 1 FAILED".
      repeats: of the bootstrap.

    Source:
      Paper, figure 2 and footnote 4.
    """
    many = len(values) > _MANY_POINTS
    axes.scatter(
        values, errors, s=4 if many else 14, alpha=0.6, rasterized=many
    )
    low, median, high = statistics.bootstrap_best(
        values, errors, np.random.default_rng(_SEED), repeats=repeats
    )
    axes.axvspan(low, high, color="tab:green", alpha=_BAND_OPACITY, linewidth=0)
    axes.axvline(median, color="tab:green")
    axes.set(
        xlabel=f"{name} (best: {median:,.6g}, 95 % {low:,.6g} to {high:,.6g})",
        ylabel="error (%)",
        title=counts,
    )
    axes.title.set_fontsize("small")


def widths(axes: Axes, network: Network, title: str) -> None:
    """Draws the width of each block, and the straight line that fits best.

    Args:
      axes: to draw in.
      network: the network.
      title: such as its error.

    Source:
      Paper, figures 6, 8, 15 and 16.
    """
    per_block = block_widths(network)
    blocks = np.arange(len(per_block))
    axes.step(blocks, per_block, where="mid", marker=".", linewidth=1)
    slope, start = linear_fit(per_block)
    axes.plot(
        blocks, start + slope * blocks, "--", color="tab:gray", linewidth=1
    )
    axes.set(yscale="log", title=title, xlabel="block", ylabel="width")
    axes.title.set_fontsize("x-small")
    axes.xaxis.label.set_fontsize("x-small")
    axes.yaxis.label.set_fontsize("x-small")
    axes.tick_params(labelsize="x-small")
    ticks = _apart(sorted(set(per_block.tolist())))
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()


def _apart(widths):
    """Leaves out widths whose labels would lie on another's."""
    kept = widths[:1]
    for width in widths[1:]:
        if width >= kept[-1] * (widths[-1] / widths[0]) ** 0.12:
            kept.append(width)
    return kept


def block_widths(network: Network) -> np.ndarray:
    """Returns the width of each block, [depth].

    Example:
    >>> block_widths(AnyNetConfig((1, 2), (32, 64))).tolist()
    [32, 64, 64]
    """
    stages = plan.stages(network)
    return np.repeat(
        [stage.width for stage in stages], [stage.depth for stage in stages]
    )


def linear_fit(per_block: np.ndarray) -> tuple[float, float]:
    """Returns slope and start of the line nearest to widths, [depth].

    Least squares, in channels; a single block has no slope.

    Example:
    >>> slope, start = linear_fit(np.array([10, 20, 30]))
    >>> round(slope, 6), round(start, 6)
    (10.0, 10.0)
    """
    if len(per_block) < 2:
        return 0.0, float(per_block[0])
    slope, start = np.polyfit(np.arange(len(per_block)), per_block, 1)
    return float(slope), float(start)


def learning_curves(
    axes: Axes,
    curves: Mapping[str, Sequence[Sequence[float]]],
    counts: Mapping[str, str],
) -> None:
    """Draws the test error after each epoch: mean and quartiles.

    Args:
      axes: to draw in.
      curves: for each population its networks' errors by epoch, [n][epochs].
      counts: for the legend, such as "n = 64, 1 FAILED".
    """
    for name, errors in curves.items():
        lengths = {len(curve) for curve in errors}
        if len(lengths) != 1 or lengths == {0}:
            axes.plot([], [], label=f"{name} ({counts[name]})")
            continue
        table = np.array(errors, float)
        epochs = np.arange(1, table.shape[1] + 1)
        low, high = np.percentile(table, [25, 75], axis=0)
        label = f"{name} ({counts[name]})"
        (line,) = axes.plot(epochs, table.mean(axis=0), marker=".", label=label)
        axes.fill_between(
            epochs,
            low,
            high,
            color=line.get_color(),
            alpha=_BAND_OPACITY,
            linewidth=0,
        )
    axes.set(xlabel="epoch", ylabel="test error (%), mean and quartiles")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    axes.legend(fontsize="x-small")
