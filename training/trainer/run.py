"""One run: its model, and where it stands between first and last step."""

import dataclasses
import math
import pathlib
import time

import numpy as np
import tensorflow as tf
from absl import logging

from keras_regnet import results
from keras_regnet import weights as weights_lib
from training.config import config as train_config
from training.config import networks
from training.data import decode_errors
from training.data import load
from training.data import pipeline as train_data
from training.trainer import cluster as train_cluster
from training.trainer import description
from training.trainer import optimizer as train_optimizer
from training.trainer import precise_bn
from training.trainer import preemption
from training.trainer import profiling
from training.trainer import progress
from training.trainer import snapshot
from training.trainer import step as train_step
from training.trainer import trainable
from training.workdir import checkpoint
from training.workdir import curves
from training.workdir import events
from training.workdir import final_export
from training.workdir import run_folder


class Run:
    """One run: what it works on, and where it stands."""

    def __init__(
        self,
        config: train_config.TrainConfig,
        network: networks.Network,
        folder: pathlib.Path,
        strategy: tf.distribute.Strategy,
        cluster: train_cluster.Cluster,
        stored: weights_lib.ResolvedWeights | None = None,
    ):
        """Opens the data set and builds model and optimizer.

        Args:
          config: the run.
          network: what is trained, as the configuration names it.
          folder: where it is kept.
          strategy: devices.
          cluster: processes.
          stored: of a run that goes on, the network and normalization that
            it has; its weights come from the checkpoint.
        """
        self.config = config
        self.folder = folder
        self.strategy = strategy
        self.cluster = cluster
        self.data = load.load_dataset(config)
        self.steps_per_epoch = train_data.steps_per_epoch(
            self.data.train, config
        )
        self._num_steps = config.num_steps(self.steps_per_epoch)
        self._num_epochs = config.num_epochs(self.steps_per_epoch)
        weights = stored or networks.resolve(
            config.weights, network, len(self.data.class_names)
        )
        self.model, self.optimizer = trainable.make(
            config, weights, self.data, strategy
        )
        # The network that is trained, and how it normalizes images.
        self.architecture = weights.without_weights()
        self.schedule = train_optimizer.schedule(config, self.steps_per_epoch)
        self.steps = train_step.Steps(
            strategy, self.model, self.optimizer, config
        )
        self._precise = None
        if config.precise_bn_images:
            self._precise = precise_bn.PreciseStatistics(strategy, self.model)
        self.snapshot = snapshot.Snapshot(
            self.model, self.optimizer, self.steps, cluster
        )
        self.state = checkpoint.State()
        self._saved_state = self.state
        self._saved_at = time.monotonic()
        self._progress = progress.Progress(
            config, self.steps_per_epoch, self.steps.num_replicas
        )
        self._eval_pace = progress.Pace()
        profiled = config.profile and cluster.is_chief
        self._profiler = profiling.Profiler(
            folder / events.FOLDER if profiled else None
        )

    def begin(self, found: checkpoint.Checkpoint | None) -> None:
        """Takes up a checkpoint, or says that the run is new.

        Args:
          found: what the chief found; of no account on other workers.
        """
        self._describe()
        state = found.state if found else checkpoint.State()
        self.state = checkpoint.State.from_json(
            self.cluster.json_of_chief(state.to_json())
        )
        self._reopen_epoch()
        self._saved_state = self.state
        if self.cluster.is_chief:
            run_folder.write_config(self.folder, self.config, self.architecture)
            # It may have the row of an epoch whose checkpoint was lost.
            run_folder.write_metrics(self.folder, self.state.rows)
        if self.state != checkpoint.State():
            self.snapshot.restore(found)
            logging.info(
                "resuming %s from step %d (epoch %d of %d), read from %s",
                self.folder,
                self.state.step,
                self.state.epoch,
                self._num_epochs,
                found.path.name if found else "the chief",
            )
            return
        self.steps.spread_seeds()
        start = f"random weights, seed {self.config.seed}"
        if self.config.weights:
            start = f"weights of {self.config.weights}"
        logging.info("a new run in %s, from %s", self.folder, start)

    def _reopen_epoch(self):
        """Goes on within an epoch where the run was to end, and is longer now.

        The epoch's row gives way to that of the rest of the epoch.
        """
        state, steps = self.state, self.steps_per_epoch
        if state.step < min(state.epoch * steps, self._num_steps):
            self.state = dataclasses.replace(
                state, epoch=state.step // steps, rows=state.rows[:-1]
            )

    def _is_complete(self):
        # Sums are there as long as an evaluation is missing.
        return self.state.step >= self._num_steps and not self.state.sums

    def _describe(self):
        logging.info("config %s", description.resolved(self.config))
        for line in description.lines(
            self.config,
            self.architecture.config,
            self.data,
            self.steps.num_replicas,
            self.steps_per_epoch,
        ):
            logging.info("%s", line)

    def train(self, stop: preemption.Preemption) -> bool:
        """Trains and evaluates to the run's end.

        Args:
          stop: says whether to save and end before that.

        Returns:
          Whether it was reached.
        """
        if self._is_complete():
            return True
        self.open_data()
        if self.cluster.is_chief:
            self._events = events.Events(self.folder)
            if not self.state.step:
                self._show_inputs()
        self._stop = stop
        stop.keep()
        try:
            finished = self._train_epochs()
        finally:
            stop.saves = False
            self._profiler.stop()
        if self.cluster.is_chief:
            self._events.close()
        return finished

    def _show_inputs(self):
        """Shows TensorBoard what the network is, and what it will see."""
        with decode_errors.named_faults(self.data.train, self.config, 0, 1):
            images, names = events.first_images(self.data, self.config)
        self._events.write_images("training images", images, names)
        side = self.config.image_size
        # As in evaluation: training updates statistics, in a replica alone.
        forward = tf.function(lambda x: self.steps.logits(x, training=False))
        concrete = forward.get_concrete_function(
            tf.TensorSpec([None, side, side, 3], tf.float32, "images")
        )
        self._events.write_graph(concrete.graph)

    def _train_epochs(self) -> bool:
        while not self._is_complete():
            if self._train_epoch() and self._finish_epoch():
                continue
            self._save()
            logging.info(
                "SIGTERM: stopped after step %d; the same command goes on "
                "from there",
                self.state.step,
            )
            return False
        return True

    def open_data(self) -> None:
        """Opens the images, those for training from the next step on."""
        self._batches = iter(
            self._distributed(train_data.train_pipeline, self.state.step)
        )
        # One iterator for all evaluations: each takes the split once.
        self._eval_batches = iter(self._distributed(_repeated_eval_pipeline))

    def _distributed(self, pipeline, *start):
        """Returns global batches of a pipeline of train_data."""
        return train_data.distribute(
            self.strategy,
            self.config,
            lambda shard: pipeline(self.data, self.config, *start, shard=shard),
        )

    def _train_epoch(self) -> bool:
        """Trains to the epoch's end; returns False if told to stop."""
        end = (self.state.epoch + 1) * self.steps_per_epoch
        end = min(end, self._num_steps)
        self._progress.start_epoch()
        while self.state.step < end:
            count = min(self._next_count(), end - self.state.step)
            count, save, stopped = self._agree(count, self._is_save_due())
            if stopped:
                return False
            if save:
                self._save()
            self.train_steps(count)
        if not self.state.averaged:
            if self._precise:
                self._precise.measure(
                    self.data,
                    self.config,
                    self.state.epoch,
                    self.steps_per_epoch,
                )
            self.steps.average_moving_statistics()
            self.state = dataclasses.replace(self.state, averaged=True)
        return True

    def _next_count(self) -> int:
        """Returns the steps to the next line, or to the next checkpoint."""
        count = self._profiler.limit(self._progress.pace.next_count())
        every = self.config.checkpoint_steps
        return min(count, every - self.state.step % every) if every else count

    def _is_save_due(self) -> bool:
        config, state = self.config, self.state
        if state.step == self._saved_state.step:
            return False
        if config.checkpoint_steps:
            return state.step % config.checkpoint_steps == 0
        age = time.monotonic() - self._saved_at
        return 0 < config.checkpoint_seconds <= age

    def _agree(self, count, save=False) -> tuple[int, bool, bool]:
        """Returns what all processes do: the chief decides, any may stop."""
        if self.cluster.num_workers == 1:
            return count, save, self._stop.requested
        chief = int(self.cluster.is_chief)
        mine = [chief * count, chief * save, self._stop.requested]
        (agreed,) = self.cluster.total([np.array(mine, np.int64)])
        return int(agreed[0]), bool(agreed[1]), bool(agreed[2])

    def train_steps(self, count: int) -> None:
        """Trains; the data must be open.

        Args:
          count: steps, all of the epoch under way.
        """
        first, epoch = self.state.step, self.state.epoch
        sums = self.state.sums or (0.0,) * len(train_step.TRAIN_SUMS)
        begin = time.monotonic()
        with (
            self._profiler.watching(first),
            decode_errors.named_faults(
                self.data.train, self.config, first, count
            ),
        ):
            sums, done = self.steps.train(
                self._batches,
                tf.constant(count, tf.int32),
                tf.constant(sums, tf.float64),
            )
            values = tuple(sums.numpy().tolist())
        seconds = time.monotonic() - begin
        if not math.isfinite(values[0]):
            self._raise_not_finite(f"The loss of step {first + int(done)}")
        self.state = dataclasses.replace(
            self.state,
            step=first + count,
            sums=values,
            train_seconds=self.state.train_seconds + seconds,
        )
        self._progress.called(
            count,
            seconds,
            self.state.step - epoch * self.steps_per_epoch,
            epoch,
            values,
            float(self.schedule(self.state.step - 1)),
        )

    def _raise_not_finite(self, what):
        last = checkpoint.newest_name(self.folder / "checkpoints")
        raise ValueError(
            f"{what} is not finite; the last good checkpoint is {last}. A "
            "lower --base_learning_rate or a --clip_norm may help"
        )

    def _evaluate(self) -> dict[str, float] | None:
        """Returns loss and top-1 and top-5 (percent) of the whole split.

        None: told to stop.
        """
        split = self.data.val
        self.steps.swap_averages()
        try:
            sums = self._eval_sums(train_data.eval_steps(split, self.config))
        except tf.errors.OpError as error:
            decode_errors.raise_unreadable(
                split, range(split.num_examples), error
            )
            raise
        self.steps.swap_averages()
        if sums is None:
            return None
        loss, top1, top5, images = sums.numpy()
        if images != split.num_examples:
            raise RuntimeError(
                f"evaluated {images} of {split.num_examples} images"
            )
        return {
            "val_loss": loss / images,
            "val_top1": 100 * top1 / images,
            "val_top5": 100 * top5 / images,
        }

    def _eval_sums(self, left) -> tf.Tensor | None:
        sums = tf.zeros([len(train_step.EVAL_SUMS)], tf.float64)
        while left:
            count, _, stopped = self._agree(
                min(self._eval_pace.next_count(), left)
            )
            if stopped:
                return None
            begin = time.monotonic()
            sums = self.steps.evaluate(
                self._eval_batches, tf.constant(count, tf.int32), sums
            )
            sums.numpy()
            self._eval_pace.called(count, time.monotonic() - begin)
            left -= count
        return sums

    def _finish_epoch(self) -> bool:
        """Evaluates and records an epoch; returns False if told to stop."""
        begin = time.monotonic()
        result = self._evaluate()
        if result is None:
            return False
        row = self._row(result, time.monotonic() - begin)
        self.state = checkpoint.State(
            epoch=self.state.epoch + 1,
            step=self.state.step,
            rows=(*self.state.rows, row),
        )
        # The checkpoint first, then what is made from it.
        self._save()
        if self.cluster.is_chief:
            run_folder.write_metrics(self.folder, self.state.rows)
            self._events.write(row)
        logging.info(
            "epoch %d/%d  loss %.4f  top-1 %.2f | validation loss %.4f  "
            "top-1 %.2f  top-5 %.2f | %.0f images/s  data wait %.0f %%  "
            "left %s",
            row["epoch"],
            self._num_epochs,
            row["train_loss"],
            row["train_top1"],
            row["val_loss"],
            row["val_top1"],
            row["val_top5"],
            row["images_per_second"],
            row["data_wait"],
            self._progress.time_left(self.state.epoch, row["eval_seconds"]),
        )
        return True

    def _row(self, result, eval_seconds) -> dict[str, float]:
        """Returns the metrics of the epoch that ends."""
        loss, top1, images, wait = self.state.sums
        seconds = self.state.train_seconds
        return {
            "epoch": self.state.epoch + 1,
            "step": self.state.step,
            "train_loss": loss / images,
            "train_top1": 100 * top1 / images,
            **result,
            "images_per_second": self._progress.images_per_second,
            "learning_rate": float(self.schedule(self.state.step - 1)),
            "data_wait": 100 * wait / seconds,
            "train_seconds": seconds,
            "eval_seconds": eval_seconds,
        }

    def _save(self) -> None:
        """Writes a checkpoint of where the run stands, if there is none."""
        self._saved_at = time.monotonic()
        if self.state == self._saved_state:
            return
        arrays = self.snapshot.read()
        for name, array in arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                self._raise_not_finite(f"After step {self.state.step}, {name}")
        if self.cluster.is_chief:
            self._write_checkpoint(arrays)
        self._saved_state = self.state

    def _write_checkpoint(self, arrays):
        folder = self.folder / "checkpoints"
        try:
            checkpoint.save(
                folder,
                arrays,
                self.state,
                self.config.checkpoints_to_keep,
                self.config.best_checkpoints_to_keep,
            )
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror}; the last good checkpoint is "
                f"{checkpoint.newest_name(folder)}; failed",
                error.filename,
            ) from error

    def export(self) -> None:
        """Writes model.keras and saved_model/ of the averaged weights."""
        if self.config.export_best:
            self._restore_best()
        self.steps.swap_averages()
        if not self.cluster.is_chief:
            return
        final_export.write(
            self.folder,
            self.config,
            self.architecture,
            self.data,
            networks.layer_weights(self.model),
        )
        config = self.config
        curves.write(
            self.folder,
            f"{config.variant} on {config.dataset}, recipe {config.recipe}",
            self.state.rows,
        )
        if config.results:
            results.append(config.results, self._result())
        run_folder.mark_exported(self.folder, self.state.step)

    def _result(self):
        """Returns the exported weights' row of `results.COLUMNS`."""
        config, (*_, row) = self.config, self.state.rows
        if config.export_best:
            row = max(self.state.rows, key=lambda row: row["val_top1"])
        whole = self.data.small_images
        return {
            "source": "train",
            "model": self.folder,
            "weights": f"epoch {row['epoch']}",
            "dataset": config.dataset,
            "images": self.data.val.num_examples,
            "image_size": config.evaluation_size(),
            "crop_share": 1.0 if whole else config.eval_crop_share,
            "interpolation": config.interpolation,
            "antialias": config.antialias,
            "flip_tta": False,
            "top1": row["val_top1"],
            "top5": row["val_top5"],
            "loss": row["val_loss"],
        }

    def _restore_best(self):
        """Takes up the variables of the best epoch; all processes do."""
        (step,) = self.state.best_steps(1)
        found = None
        if self.cluster.is_chief and step != self.state.step:
            found = checkpoint.of_step(self.folder / "checkpoints", step)
        if not self.cluster.json_of_chief(bool(found)):
            return
        self.snapshot.restore(found)
        logging.info("exporting the best epoch's weights, of step %d", step)


def _repeated_eval_pipeline(data, config, shard):
    return train_data.eval_pipeline(data, config, shard).repeat()
