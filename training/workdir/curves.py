"""Plots a run: curves.png, from the rows of metrics.csv."""

import io
import pathlib
from collections.abc import Sequence

from absl import logging

from keras_regnet import atomic
from training.workdir import checkpoint

_FILE = "curves.png"
_SIZE = (10.0, 6.4)
_DPI = 110
# Fewer points than this are marked: one point makes no line.
_FEW = 40


def write(
    folder: pathlib.Path, title: str, rows: Sequence[dict[str, float | None]]
) -> None:
    """Draws loss, accuracy, learning rate and speed by epoch.

    Without matplotlib, which is an extra, it says so and draws nothing: the
    figures are in metrics.csv.
    """
    try:
        # Imported here: it costs half a second, and may not be there.
        from matplotlib import figure
        from matplotlib import ticker
    except ImportError:
        logging.info(
            "no %s: it needs matplotlib, pip install 'keras_regnet[design]'",
            _FILE,
        )
        return
    picture = figure.Figure(_SIZE, layout="constrained")
    picture.suptitle(title)
    axes = picture.subplots(2, 2, sharex=True)
    _draw(axes, rows)
    for panel in axes.flat:
        panel.grid(alpha=0.3)
        panel.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    for panel in axes[1]:
        panel.set_xlabel("epoch")
    contents = io.BytesIO()
    picture.savefig(contents, format="png", dpi=_DPI)
    atomic.write(folder / _FILE, contents.getvalue())


def _draw(axes, rows):
    epochs = [row["epoch"] for row in rows]
    marker = "." if len(rows) < _FEW else ""

    def line(panel, name, label, **style):
        values = [row[name] for row in rows]
        return panel.plot(epochs, values, marker=marker, label=label, **style)

    (loss, accuracy), (rate, speed) = axes
    line(loss, "train_loss", "training")
    line(loss, "val_loss", "validation")
    loss.set(ylabel="loss")
    if rows[-1]["val_top1"] is None:
        line(accuracy, "val_map", "mAP, validation")
        line(accuracy, "val_f1", "F1, validation", color="tab:gray")
    else:
        line(accuracy, "train_top1", "top-1, training")
        line(accuracy, "val_top1", "top-1, validation")
        line(accuracy, "val_top5", "top-5, validation", color="tab:gray")
    best = max(rows, key=checkpoint.score)
    accuracy.axvline(
        best["epoch"],
        color="tab:orange",
        linestyle=":",
        label=f"best: {checkpoint.score(best):.2f} % at epoch {best['epoch']}",
    )
    accuracy.set(ylabel="%")
    line(rate, "learning_rate", "learning rate", color="tab:green")
    rate.set(ylabel="learning rate", ylim=(0, None))
    (seen,) = line(speed, "images_per_second", "images/s", color="tab:purple")
    # 0 where no epoch had a step that was timed.
    fastest = max(row["images_per_second"] for row in rows) or 1
    speed.set(ylabel="images/s", ylim=(0, 1.1 * fastest))
    wait = speed.twinx()
    (waited,) = line(wait, "data_wait", "data wait", color="tab:red")
    wait.set(ylabel="data wait, % of the time", ylim=(0, 100))
    for panel in (loss, accuracy):
        panel.legend(fontsize="small")
    speed.legend(handles=[seen, waited], fontsize="small", loc="center")
