"""What a run reports of its epochs: log, metrics.csv, TensorBoard, results."""

import tensorflow as tf
from absl import logging

from keras_regnet import image_sizes
from keras_regnet import results
from training.data import decode_errors
from training.trainer import progress as progress_lib
from training.trainer import run as run_lib
from training.trainer import state as state_lib
from training.workdir import checkpoint
from training.workdir import files
from training.workdir import outcome as outcome_lib
from training.workdir import tensorboard


class Reporter:
    """Reports finished epochs; only the chief writes files."""

    def __init__(
        self,
        run: run_lib.Run,
        state: state_lib.TrainState,
        progress: progress_lib.Progress,
    ):
        """Begins a TensorBoard file; that of a new run shows its inputs."""
        self._run = run
        self._state = state
        self._progress = progress
        self._events = None
        if run.processes.is_chief:
            self._events = tensorboard.Events(run.folder)
            if not state.position.step:
                self._show_inputs()

    def _show_inputs(self):
        """Shows TensorBoard the network, and the first training images."""
        data, config = self._run.data, self._run.config
        with decode_errors.named_faults(data.train, config, 0, 1):
            images, names = tensorboard.first_images(data, config)
        self._events.write_images("training images", images, names)
        size, logits = config.training_size(), self._state.logits
        # As in evaluation: training updates statistics, in a replica alone.
        forward = tf.function(lambda x: logits(x, training=False))
        concrete = forward.get_concrete_function(
            tf.TensorSpec([None, *size, 3], tf.float32, "images")
        )
        self._events.write_graph(concrete.graph)

    def report_epoch(self) -> None:
        """Reports the epoch that has ended last."""
        position = self._state.position
        *_, row = position.rows
        if self._events:
            files.write_metrics(self._run.folder, position.rows)
            self._events.write(row)
        logging.info(
            "epoch %d/%d  %s | %.0f images/s  data wait %.0f %%  left %s",
            row["epoch"],
            self._run.num_epochs,
            _accuracy(row),
            row["images_per_second"],
            row["data_wait"],
            self._progress.time_left(position.epoch, row["eval_seconds"]),
        )

    def close(self) -> None:
        """Ends the TensorBoard file."""
        if self._events:
            self._events.close()


def _accuracy(row):
    """Returns losses and accuracies of an epoch, as text."""
    if row["val_top1"] is None:
        return (
            "loss {train_loss:.4f} | validation loss {val_loss:.4f}  "
            "mAP {val_map:.2f}  F1 {val_f1:.2f} at {val_threshold:g}"
        ).format(**row)
    return (
        "loss {train_loss:.4f}  top-1 {train_top1:.2f} | validation loss "
        "{val_loss:.4f}  top-1 {val_top1:.2f}  top-5 {val_top5:.2f}"
    ).format(**row)


def log_end(outcome: outcome_lib.Outcome) -> None:
    """Logs how a run ended, and which epoch its weights are of."""
    exported, best = outcome.exported, outcome.best
    if outcome.stopped_early:
        logging.info(
            "stopped early, after epoch %d: by validation %s none since epoch "
            "%d has been better",
            outcome.epochs,
            outcome.best_metric,
            best["epoch"],
        )
    logging.info("the weights at the end: %s", _shown(exported))
    if exported["step"] != best["step"]:
        logging.info("--export_best exports the best: %s", _shown(best))


def _shown(row):
    """Returns what the validation images say of an epoch."""
    metrics = ", ".join(
        f"{name} {value:.4g}"
        for name, value in row.items()
        if name.startswith("val_") and value is not None
    )
    return f"those of epoch {row['epoch']} ({metrics})"


def epoch_row(
    position: checkpoint.Position,
    evaluation: dict[str, float | None],
    images_per_second: float,
    learning_rate: float,
    eval_seconds: float,
    multilabel: bool = False,
) -> dict[str, float | None]:
    """Returns the metrics of the epoch under way, as `files.columns`.

    What several labels an image do not have, such as a top-1, is None.
    """
    loss, top1, images, wait = position.sums
    seconds = position.train_seconds
    return {
        "epoch": position.epoch + 1,
        "step": position.step,
        "train_loss": loss / images,
        "train_top1": None if multilabel else 100 * top1 / images,
        **evaluation,
        "images_per_second": images_per_second,
        "learning_rate": learning_rate,
        "data_wait": 100 * wait / seconds,
        "train_seconds": seconds,
        "eval_seconds": eval_seconds,
    }


def result_row(
    run: run_lib.Run, position: checkpoint.Position, step: int
) -> dict[str, object]:
    """Returns the row of `results.COLUMNS` for the weights after a step."""
    config = run.config
    (row,) = [row for row in position.rows if row["step"] == step]
    whole = run.data.small_images
    return {
        "source": "train",
        "model": run.folder,
        "weights": f"epoch {row['epoch']}",
        "dataset": config.dataset,
        "images": run.data.val.num_examples,
        "image_size": image_sizes.short(config.evaluation_size()),
        "crop_share": 1.0 if whole else config.eval_crop_fraction,
        "interpolation": config.interpolation,
        "antialias": config.antialias,
        "flip_tta": False,
        "top1": row["val_top1"],
        "top5": row["val_top5"],
        "loss": row["val_loss"],
        **{
            name: row[f"val_{name}"]
            for name in results.MULTILABEL
            if f"val_{name}" in row
        },
    }
