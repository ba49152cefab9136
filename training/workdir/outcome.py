"""outcome.json: how a run ended, and which epoch its models are of."""

import dataclasses
import json
import pathlib

from keras_regnet import atomic
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
      best: those of the epoch with the best validation top-1.
    """

    epochs: int
    steps: int
    stopped_early: bool
    exported: dict[str, float]
    best: dict[str, float]


def of(
    position: checkpoint.Position, exported_step: int, patience: int
) -> Outcome:
    """Returns the outcome of a run.

    Args:
      position: where it ended.
      exported_step: step that the exported weights are of.
      patience: of early stopping, see `Position.stops_early`.
    """
    rows = {row["step"]: row for row in position.rows}
    (best_step,) = position.best_steps(1)
    return Outcome(
        epochs=position.epoch,
        steps=position.step,
        stopped_early=position.stops_early(patience),
        exported=rows[exported_step],
        best=rows[best_step],
    )


def write(folder: pathlib.Path, outcome: Outcome) -> None:
    """Writes outcome.json into the run folder."""
    text = json.dumps(dataclasses.asdict(outcome), indent=2) + "\n"
    atomic.write(folder / files.OUTCOME, text.encode())
