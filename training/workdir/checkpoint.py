"""Checkpoints: one file each, whole or absent.

A checkpoint is an .npz: arrays by name, and the state of the run as JSON. The
format checks itself (a CRC per array), opens without executing anything, and
appears under its name only when it is complete.
"""

import dataclasses
import io
import json
import math
import pathlib
from collections.abc import Collection
from collections.abc import Mapping

import numpy as np
from absl import logging

from keras_regnet import atomic
from keras_regnet import safe_files

_STATE = "state.json"
_NAME = "step-{:09d}.npz"
_PATTERN = "step-*.npz"


class CorruptError(Exception):
    """A checkpoint whose bytes are not those that were written."""


@dataclasses.dataclass(frozen=True)
class Position:
    """Where a run stands.

    Args:
      epoch: finished epochs.
      step: finished steps; those beyond the finished epochs belong to the
        epoch that is under way.
      rows: metrics of every finished epoch.
      sums: of the epoch under way, in the order of `step.TRAIN_SUMS`.
      train_seconds: time that the epoch under way has taken.
      averaged: whether all steps of the epoch under way are done, and the
        statistics of the replicas averaged; its evaluation is missing.
    """

    epoch: int = 0
    step: int = 0
    rows: tuple[dict[str, float | None], ...] = ()
    sums: tuple[float, ...] = ()
    train_seconds: float = 0.0
    averaged: bool = False

    def to_json(self) -> str:
        """Returns the fields as a JSON object; floats come back exactly."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "Position":
        """Returns the position that `to_json` wrote."""
        fields = safe_files.parse_json(text, _STATE)
        fields["rows"] = tuple(fields["rows"])
        fields["sums"] = tuple(fields["sums"])
        return cls(**fields)

    def best_steps(self, count: int, metric: str = "accuracy") -> list[int]:
        """Returns the steps after the best epochs, of equal ones the first."""
        best = sorted(self.rows, key=lambda row: -score(row, metric))[:count]
        return [int(row["step"]) for row in best]

    def stops_early(self, patience: int, metric: str = "accuracy") -> bool:
        """Returns whether a run ends here because it gets no better.

        It is a function of the metrics alone, so that a run ends at the same
        epoch however often it was interrupted.

        Args:
          patience: so many epochs after the best one, the run ends; 0 for
            never.
          metric: which is the best, see `score`.
        """
        if not patience or not self.rows:
            return False
        (best,) = self.best_steps(1, metric)
        after = sum(row["step"] > best for row in self.rows)
        return after >= patience and self.rows[-1]["step"] == self.step


def score(row: Mapping[str, float | None], metric: str = "accuracy") -> float:
    """Returns how good an epoch is, by "accuracy" or "loss".

    Accuracy is top-1, or of several labels an image mean average precision.
    """
    if metric == "loss":
        loss = row["val_loss"]
        return -math.inf if math.isnan(loss) else -loss
    return row["val_map"] if row["val_top1"] is None else row["val_top1"]


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read.

    Args:
      path: its file.
      position: where the run stood.
      arrays: what `save` was given.
    """

    path: pathlib.Path
    position: Position
    arrays: dict[str, np.ndarray]


def save(
    folder: pathlib.Path,
    arrays: dict[str, np.ndarray],
    position: Position,
    keep: int,
    keep_best: int = 1,
    best_metric: str = "accuracy",
) -> pathlib.Path:
    """Writes a checkpoint, and removes those that are to be kept no longer.

    Args:
      folder: the checkpoints of the run.
      arrays: values by name.
      position: where the run stands.
      keep: how many of the newest to keep.
      keep_best: how many of the best epochs to keep beside them.
      best_metric: which are the best, see `score`.
    """
    text = np.frombuffer(position.to_json().encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, **{_STATE: text})
    path = folder / _NAME.format(position.step)
    atomic.write(path, buffer.getbuffer())
    _remove_old(path, keep, position.best_steps(keep_best, best_metric))
    return path


def _remove_old(newest_path, keep, best_steps: Collection[int]):
    folder = newest_path.parent
    paths = _paths(folder)
    # Later ones are corrupt, or the run would have resumed from them.
    newest_paths = paths[: paths.index(newest_path) + 1][-keep:]
    best_paths = [folder / _NAME.format(step) for step in best_steps]
    for old in {*paths} - {*newest_paths, *best_paths}:
        old.unlink()


def remove_abandoned(folder: pathlib.Path) -> None:
    """Removes what a killed process had begun to write."""
    atomic.remove_abandoned(folder, _PATTERN)


def newest(folder: pathlib.Path) -> Checkpoint | None:
    """Returns the newest checkpoint that can be read, None if there is none.

    A corrupt file is passed over with a warning.

    Raises:
      ValueError: if there are checkpoints and all are corrupt; to begin again
        would write over what may still be saved.
    """
    paths = _paths(folder)
    for path in reversed(paths):
        try:
            return _read(path)
        except CorruptError as error:
            logging.warning(
                "checkpoint %s cannot be read (%s); falling back to the "
                "one before it",
                path,
                error,
            )
    if paths:
        raise ValueError(
            "No checkpoint of the run can be read; move them away to begin "
            f"again. Received: {', '.join(map(str, paths))}"
        )
    return None


def of_step(folder: pathlib.Path, step: int) -> Checkpoint | None:
    """Returns the checkpoint of a step, None with a warning if corrupt."""
    path = folder / _NAME.format(step)
    try:
        return _read(path)
    except CorruptError as error:
        logging.warning("checkpoint %s cannot be read (%s)", path, error)
        return None


def newest_name(folder: pathlib.Path) -> str:
    """Returns the newest checkpoint's file, "none" if there is none."""
    paths = _paths(folder)
    return str(paths[-1]) if paths else "none"


def _paths(folder):
    return sorted(folder.glob(_PATTERN))


def _read(path) -> Checkpoint:
    try:
        # All bytes are read, headers too, and found to be those written.
        arrays = safe_files.load_npz(path)
        position = Position.from_json(arrays.pop(_STATE).tobytes())
    except Exception as error:
        # Files, NumPy and JSON each raise their own on damage.
        raise CorruptError(f"{type(error).__name__}: {error}") from error
    return Checkpoint(path, position, arrays)
