"""When a run is saved, and what it resumes from."""

import dataclasses
import math
import pathlib
import time
from collections.abc import Sequence
from typing import Any
from typing import NoReturn

import numpy as np
from absl import logging

from keras_regnet import weights as weights_lib
from training.config import config as train_config
from training.config import network as network_lib
from training.data import identity
from training.trainer import processes as processes_lib
from training.trainer import run as run_lib
from training.trainer import state as state_lib
from training.workdir import checkpoint
from training.workdir import files


@dataclasses.dataclass(frozen=True)
class Stored:
    """What a run folder holds of a run.

    Args:
      checkpoint: the newest; only the chief has it.
      architecture: network and normalization of a run with a checkpoint.
      data: what the run stored of its data; None for a new or an older run.
      moved: how its data set went by another name, see `files.moved_data`.
      finished: whether nothing is left to do.
      class_weights: what its loss counts, by class; None for all alike.
    """

    checkpoint: checkpoint.Checkpoint | None
    architecture: weights_lib.ResolvedWeights | None
    finished: bool
    data: dict[str, Any] | None = None
    moved: tuple[str, ...] = ()
    class_weights: dict[str, float] | None = None


def look(
    folder: pathlib.Path,
    config: train_config.TrainConfig,
    network: network_lib.Network,
    processes: processes_lib.Processes,
) -> Stored:
    """Returns what the chief finds in the run folder.

    Raises:
      ValueError: in every process, if the chief finds that the folder does
        not fit.
    """
    stored, architecture, finished, wrong = None, None, False, None
    data, moved, class_weights = None, [], None
    if processes.is_chief:
        try:
            files.check(folder, config, network)
            stored = checkpoint.newest(folder / "checkpoints")
            if stored:
                architecture = files.stored_architecture(folder)
                data = files.stored_data(folder)
                moved = files.moved_data(folder, config)
                class_weights = files.stored_class_weights(folder)
                finished = files.is_finished(folder, config, stored.position)
        except ValueError as error:
            wrong = error
    reason, architecture, finished, data, moved, class_weights = (
        processes.json_from_chief(
            [
                wrong and str(wrong),
                architecture,
                finished,
                data,
                moved,
                class_weights,
            ]
        )
    )
    if reason:
        processes.leave()
        raise wrong or ValueError(reason)
    if stored and finished:
        _log_finished(folder, config, stored.position)
    if architecture:
        architecture = files.architecture_of(architecture)
    return Stored(
        stored, architecture, finished, data, tuple(moved), class_weights
    )


def _log_finished(folder, config, position):
    further = train_config.length(dataclasses.asdict(config))[0]
    if position.stops_early(config.early_stopping_epochs, config.best_metric):
        further = "early_stopping_epochs"
    logging.info(
        "%s is finished: %d epochs, %s %.2f; a larger --%s continues it",
        folder,
        position.epoch,
        "mAP" if "val_map" in position.rows[-1] else "top-1",
        checkpoint.score(position.rows[-1]),
        further,
    )


def check_data(
    folder: pathlib.Path,
    config: train_config.TrainConfig,
    stored: dict[str, Any] | None,
    moved: Sequence[str],
    data: identity.Identity,
) -> str:
    """Returns a line on data that are not as they were, "" if they are.

    Args:
      folder: the run folder.
      config: of the run that resumes.
      stored: what `files.stored_data` returned.
      moved: what `files.moved_data` returned.
      data: the data set of today.

    Raises:
      ValueError: if they are not the run's.
    """
    if stored is None:
        return ""
    changes = files.data_changes(folder, stored, moved, data)
    if not changes:
        return ""
    before = stored["train"]["images"] // config.global_batch_size
    steps = data.train.images // config.global_batch_size
    length = "an epoch has as many steps as before"
    if steps != before:
        length = f"an epoch has {steps} steps, {before} before"
    if config.val_fraction:
        length += f"; {identity.HELD_OUT_ANEW}"
    return f"the data of the run have changed: {'; '.join(changes)}; {length}"


def recounted(
    position: checkpoint.Position, steps_per_epoch: int, num_steps: int
) -> checkpoint.Position:
    """Returns a position with its epochs counted by the steps they have now.

    What was trained are steps; how many make an epoch changes with the number
    of images, and a run may have ended within an epoch that now goes on.
    Rows of epochs that are not finished any more give way to new ones; that of
    the last step is kept, under the number of its epoch.

    Args:
      position: as it was stored.
      steps_per_epoch: of today.
      num_steps: of the whole run, of today.
    """
    step, evaluated = position.step, not position.sums
    whole, rest = divmod(step, steps_per_epoch)
    at_end = not rest or step >= num_steps
    finished = whole + (rest > 0) if at_end else whole
    epoch = finished if evaluated or not at_end else finished - 1
    rows = [
        row
        for row in position.rows
        if row["epoch"] <= epoch and row["step"] < step
    ]
    if at_end and evaluated:
        last = [row for row in position.rows if row["step"] == step]
        rows = rows[: epoch - 1] + [{**row, "epoch": epoch} for row in last]
    return dataclasses.replace(
        position,
        epoch=epoch,
        rows=tuple(rows),
        averaged=position.averaged and at_end,
    )


def _log_recount(before, after, steps_per_epoch):
    kept = "no row"
    if after.rows:
        kept = f"the rows up to epoch {after.rows[-1]['epoch']}"
    logging.warning(
        "with %d steps in an epoch, %d epochs are finished at step %d, and "
        "not %d; metrics.csv keeps %s, and later ones are measured again",
        steps_per_epoch,
        after.epoch,
        after.step,
        before.epoch,
        kept,
    )


class Checkpointer:
    """Saves and restores a run."""

    def __init__(self, run: run_lib.Run, state: state_lib.TrainState):
        self._run = run
        self._state = state
        self._saved = state.position
        self._saved_at = time.monotonic()

    def resume(self, stored: checkpoint.Checkpoint | None) -> None:
        """Restores a checkpoint, or prepares a new run.

        Args:
          stored: the chief's checkpoint; of no account on other workers.
        """
        run, new = self._run, checkpoint.Position()
        position = stored.position if stored else new
        position = checkpoint.Position.from_json(
            run.processes.json_from_chief(position.to_json())
        )
        if position == new:
            self._state.replicas.offset_seeds()
            start = f"random weights, seed {run.config.seed}"
            if run.config.weights:
                start = f"weights of {run.config.weights}"
                # Which set "default" stands for may change with the table.
                if record := run.architecture.record:
                    start += f" ({record.variant} {record.full_tag})"
            logging.info("a new run in %s, from %s", run.folder, start)
            return
        self._state.restore(stored, run.processes)
        before = position
        position = recounted(before, run.steps_per_epoch, run.num_steps)
        if len(position.rows) < len(before.rows) or (
            position.epoch != before.epoch
        ):
            _log_recount(before, position, run.steps_per_epoch)
        self._state.position = self._saved = position
        logging.info(
            "resuming %s from step %d (epoch %d of %d), read from %s",
            run.folder,
            position.step,
            position.epoch,
            run.num_epochs,
            stored.path.name if stored else "the chief",
        )

    def is_due(self) -> bool:
        """Returns whether it is time for a checkpoint."""
        config, step = self._run.config, self._state.position.step
        if step == self._saved.step:
            return False
        if config.checkpoint_steps:
            return step % config.checkpoint_steps == 0
        age = time.monotonic() - self._saved_at
        return 0 < config.checkpoint_seconds <= age

    def steps_to_next(self) -> float:
        """Returns the steps to the next checkpoint that is due by steps."""
        every = self._run.config.checkpoint_steps
        return every - self._state.position.step % every if every else math.inf

    def save(self) -> None:
        """Writes a checkpoint of where the run stands, if there is none."""
        self._saved_at = time.monotonic()
        position = self._state.position
        if position == self._saved:
            return
        arrays = self._state.arrays()
        for name, array in arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                self.raise_not_finite(f"After step {position.step}, {name}")
        if self._run.processes.is_chief:
            self._write(arrays)
        self._saved = position

    def _write(self, arrays):
        run = self._run
        run.hooks.before_save(self._state)
        try:
            checkpoint.save(
                run.checkpoints,
                arrays,
                self._state.position,
                run.config.checkpoints_to_keep,
                run.config.best_checkpoints_to_keep,
                run.config.best_metric,
            )
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror}; the last good checkpoint is "
                f"{checkpoint.newest_name(run.checkpoints)}; failed",
                error.filename,
            ) from error
        finally:
            run.hooks.after_save(self._state)

    def restore_best(self) -> int:
        """Restores the variables of the best epoch; all processes do.

        Returns:
          The step that the variables are of: the last, where the best epoch's
          were not kept.
        """
        stored, processes = None, self._run.processes
        metric = self._run.config.best_metric
        (step,) = self._state.position.best_steps(1, metric)
        if processes.is_chief and step != self._state.position.step:
            stored = checkpoint.of_step(self._run.checkpoints, step)
        if not processes.json_from_chief(bool(stored)):
            return self._state.position.step
        self._state.restore(stored, processes)
        logging.info("exporting the best epoch's weights, of step %d", step)
        return step

    def raise_not_finite(self, what: str) -> NoReturn:
        """Raises ValueError: a loss or a variable is not finite."""
        last = checkpoint.newest_name(self._run.checkpoints)
        raise ValueError(
            f"{what} is not finite; the last good checkpoint is {last}. A "
            "lower --base_learning_rate or a --clip_norm may help"
        )
