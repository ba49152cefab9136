"""outcome.json: how a run ended, and which epoch its models are of."""

import dataclasses
import json
import pathlib

from keras_regnet import atomic
from training.config import config as train_config
from training.workdir import checkpoint
from training.workdir import files


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run has come to.

    Args:
      epochs: evaluated epochs, by their number.
      steps: that were trained.
      stopped_early: whether it ended because it got no better.
      exported: metrics of the epoch whose weights `model.keras` holds.
      best_metric: by which an epoch is the best: accuracy or loss.
      best: metrics of the best epoch.
    """

    epochs: int
    steps: int
    stopped_early: bool
    exported: dict[str, float]
    best_metric: str
    best: dict[str, float]


def of(
    position: checkpoint.Position,
    exported_step: int,
    config: train_config.TrainConfig,
    num_steps: int,
) -> Outcome:
    """Returns the outcome of a run.

    Args:
      position: where it ended.
      exported_step: step that the exported weights are of.
      config: `early_stopping_epochs` and `best_metric` are read.
      num_steps: that the run would have had.
    """
    metric = config.best_metric
    rows = {row["step"]: row for row in position.rows}
    (best_step,) = position.best_steps(1, metric)
    return Outcome(
        epochs=position.epoch,
        steps=position.step,
        stopped_early=position.step < num_steps
        and position.stops_early(config.early_stopping_epochs, metric),
        exported=rows[exported_step],
        best_metric=metric,
        best=rows[best_step],
    )


def write(folder: pathlib.Path, outcome: Outcome) -> None:
    """Writes outcome.json into the run folder."""
    text = json.dumps(dataclasses.asdict(outcome), indent=2) + "\n"
    atomic.write(folder / files.OUTCOME, text.encode())
