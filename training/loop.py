"""train_and_evaluate(config): a run from its first step to its SavedModel."""

import csv
import dataclasses
import io
import json
import math
import pathlib
import platform
import shutil
import subprocess
import sys
import time

import keras
import numpy as np
import tensorflow as tf
from absl import logging

import keras_regnet
from keras_regnet.export import saved_model
from training import checkpoint
from training import config as train_config
from training import data as train_data
from training import networks
from training import optimizer as train_optimizer
from training import step as train_step
from training import strategy as train_strategy

COLUMNS = (
    "epoch",
    "step",
    "train_loss",
    "train_top1",
    "val_loss",
    "val_top1",
    "val_top5",
    "images_per_second",
    "learning_rate",
    "data_wait",
    "train_seconds",
    "eval_seconds",
)

# A call into TensorFlow should take about this long: its own overhead is
# then nothing, and a line of progress is never far.
_CALL_SECONDS = 5.0
# The export is checked on this many images, and at a larger size too.
_CHECK_IMAGES = 4
_OTHER_SIZE = 32
_BENCHMARK_SECONDS = 10.0


def train_and_evaluate(config: train_config.TrainConfig) -> pathlib.Path:
    """Trains, evaluates after every epoch, and exports.

    Run again on the same folder it goes on after the last finished epoch.

    Args:
      config: the run.

    Returns:
      The run folder.

    Raises:
      ValueError: if the configuration cannot be run, or the folder holds
        another run.
    """
    network = networks.network_config(config)
    folder = pathlib.Path(config.workdir or f"runs/{config.recipe}")
    _check_folder(folder, config, network)
    found = checkpoint.newest(folder / "checkpoints")
    if found and _is_finished(folder, config, found.state):
        logging.info(
            "%s is finished: %d epochs, top-1 %.2f; a larger --epochs goes on",
            folder,
            found.state.epoch,
            found.state.rows[-1]["val_top1"],
        )
        return folder
    strategy = train_strategy.make(config)
    run = Run(config, network, folder, strategy)
    if run.is_chief:
        _write_config(folder, config, network)
    run.begin(found)
    run.train()
    if run.is_chief:
        run.export()
    return folder


def make_trainable(
    config: train_config.TrainConfig,
    network: networks.Network,
    data: train_data.DataSet,
    strategy: tf.distribute.Strategy,
) -> tuple[keras.Model, keras.optimizers.Optimizer]:
    """Returns the model and optimizer at the start of a run.

    Args:
      config: the run.
      network: what to build.
      data: gives the number of classes and the steps per epoch.
      strategy: variables are created in its scope.

    Returns:
      The model, with its initial weights, and its built optimizer.
    """
    keras.utils.set_random_seed(config.seed)
    classes = len(data.class_names)
    initial = None
    if config.weights:
        initial = networks.read_weights(config.weights, network, classes)
    keras.config.set_dtype_policy(config.precision)
    with strategy.scope():
        model = networks.build(config, network, classes)
        if initial:
            networks.fill(model, initial)
        optimizer = train_optimizer.make(
            config,
            train_data.steps_per_epoch(data.train, config),
            model.trainable_variables,
        )
    return model, optimizer


def benchmark_input(config: train_config.TrainConfig) -> float:
    """Measures the input pipeline alone; logs and returns its images/s.

    Args:
      config: the run whose training pipeline is measured.

    Returns:
      Images per second, without the time to the first batch.
    """
    data = train_data.load(config)
    share = train_data.Share(batch_size=config.global_batch_size)
    batches = iter(train_data.train_pipeline(data, config, 0, share))
    next(batches)
    images, begin, seconds = 0, time.monotonic(), 0.0
    while seconds < _BENCHMARK_SECONDS:
        batch = next(batches, None)
        if batch is None:
            break
        images += config.global_batch_size
        seconds = time.monotonic() - begin
    rate = images / max(seconds, 1e-9)
    logging.info(
        "input of %s at %d pixels: %.0f images/s",
        config.dataset,
        config.image_size,
        rate,
    )
    return rate


class Run:
    """One run: what it works on, and where it stands."""

    def __init__(
        self,
        config: train_config.TrainConfig,
        network: networks.Network,
        folder: pathlib.Path,
        strategy: tf.distribute.Strategy,
    ):
        """Opens the data set and builds model and optimizer.

        Args:
          config: the run.
          network: what is trained.
          folder: where it is kept.
          strategy: devices.
        """
        self.config = config
        self.network = network
        self.folder = folder
        self.strategy = strategy
        self.is_chief = _is_chief(strategy)
        self.data = train_data.load(config)
        self.steps_per_epoch = train_data.steps_per_epoch(
            self.data.train, config
        )
        self.model, self.optimizer = make_trainable(
            config, network, self.data, strategy
        )
        self.steps = train_step.Steps(
            strategy, self.model, self.optimizer, config
        )
        self.state = checkpoint.State()

    def begin(self, found: checkpoint.Checkpoint | None) -> None:
        """Takes up a checkpoint, or says that the run is new."""
        config = self.config
        complexity = keras_regnet.complexity(
            self.network, (config.image_size, config.image_size, 3)
        )
        logging.info(
            "%s on %s: %d training and %d validation images, %d classes; "
            "%.3g M parameters, %.3g M multiply-adds at %d pixels",
            config.variant,
            config.dataset,
            self.data.train.num_examples,
            self.data.val.num_examples,
            len(self.data.class_names),
            complexity.params / 1e6,
            complexity.flops / 1e6,
            config.image_size,
        )
        logging.info(
            "strategy %s, %d replicas; %d epochs of %d steps of %d images, "
            "peak learning rate %.4g",
            config.strategy,
            self.strategy.num_replicas_in_sync,
            config.epochs,
            self.steps_per_epoch,
            config.global_batch_size,
            config.learning_rate(),
        )
        if not found:
            start = (
                f"weights of {config.weights}"
                if config.weights
                else (f"random weights, seed {config.seed}")
            )
            logging.info("a new run in %s, from %s", self.folder, start)
            return
        checkpoint.restore(found, self.model, self.optimizer)
        self.state = found.state
        # The file may have the row of an epoch whose checkpoint was lost.
        self._write_metrics()
        logging.info(
            "resuming %s from step %d (epoch %d of %d), read from %s",
            self.folder,
            self.state.step,
            self.state.epoch,
            config.epochs,
            found.path.name,
        )

    def train(self) -> None:
        """Trains and evaluates until `epochs` epochs are finished."""
        if self.state.epoch >= self.config.epochs:
            return
        batches = iter(
            train_data.distribute(
                self.strategy,
                self.config,
                lambda share: train_data.train_pipeline(
                    self.data, self.config, self.state.step, share
                ),
            )
        )
        self._batches_to_evaluate = train_data.distribute(
            self.strategy,
            self.config,
            lambda share: train_data.eval_pipeline(
                self.data, self.config, share
            ),
        )
        self._progress = _Progress(self.config, self.steps_per_epoch)
        events = tf.summary.create_file_writer(str(self.folder / "events"))
        while self.state.epoch < self.config.epochs:
            row = self._epoch(batches)
            self._finish_epoch(row)
            with events.as_default():
                _write_scalars(row)
        events.close()

    def _epoch(self, batches) -> dict[str, float]:
        """Trains for an epoch and evaluates; returns its row of metrics."""
        begin = time.monotonic()
        sums = self._train_steps(batches)
        self.steps.average_moving_statistics()
        trained = time.monotonic()
        loss, top1, images, wait = sums
        result = self._evaluate()
        done = time.monotonic()
        step = self.state.step + self.steps_per_epoch
        schedule = train_optimizer.schedule(self.config, self.steps_per_epoch)
        return {
            "epoch": self.state.epoch + 1,
            "step": step,
            "train_loss": loss / images,
            "train_top1": 100 * top1 / images,
            **result,
            "images_per_second": self._progress.images_per_second,
            "learning_rate": float(schedule(step - 1)),
            "data_wait": 100 * wait / (trained - begin),
            "train_seconds": trained - begin,
            "eval_seconds": done - trained,
        }

    def _train_steps(self, batches) -> np.ndarray:
        sums = tf.zeros([len(train_step.TRAIN_SUMS)], tf.float64)
        epoch, progress = self.state.epoch, self._progress
        progress.start_epoch()
        done = 0
        while done < self.steps_per_epoch:
            count = min(progress.next_call(), self.steps_per_epoch - done)
            first = self.state.step + done
            with _named_faults(self.data.train, self.config, first, count):
                sums = self.steps.train(
                    batches, tf.constant(count, tf.int32), sums
                )
                values = sums.numpy()
            done += count
            if not math.isfinite(values[0]):
                raise ValueError(
                    f"The loss is not finite between steps {first} and "
                    f"{first + count}; the last checkpoint is of epoch "
                    f"{epoch}. A lower --base_learning_rate may help. "
                    f"Received: loss={values[0]}"
                )
            progress.called(count, done, epoch, values)
        return values

    def _evaluate(self) -> dict[str, float]:
        """Returns loss and top-1 and top-5 (percent) of the whole split."""
        split = self.data.val
        steps = train_data.eval_steps(split, self.config)
        try:
            sums = self.steps.evaluate(
                iter(self._batches_to_evaluate), tf.constant(steps, tf.int32)
            ).numpy()
        except tf.errors.OpError as error:
            _raise_unreadable(split, range(split.num_examples), error)
            raise
        loss, top1, top5, images = sums
        if images != split.num_examples:
            raise RuntimeError(
                f"evaluated {images} of {split.num_examples} images"
            )
        return {
            "val_loss": loss / images,
            "val_top1": 100 * top1 / images,
            "val_top5": 100 * top5 / images,
        }

    def _finish_epoch(self, row: dict[str, float]) -> None:
        """Records an epoch: checkpoint first, then what is made from it."""
        rows = (*self.state.rows, row)
        best = max(rows, key=lambda row: row["val_top1"])
        self.state = checkpoint.State(
            epoch=int(row["epoch"]),
            step=int(row["step"]),
            best_epoch=int(best["epoch"]),
            rows=rows,
        )
        if self.is_chief:
            checkpoint.save(
                self.folder / "checkpoints",
                self.model,
                self.optimizer,
                self.state,
                self.config.checkpoints_to_keep,
            )
            self._write_metrics()
        logging.info(
            "epoch %d/%d  loss %.4f  top-1 %.2f | validation loss %.4f  "
            "top-1 %.2f  top-5 %.2f | %.0f images/s  data wait %.0f %%  "
            "left %s",
            row["epoch"],
            self.config.epochs,
            row["train_loss"],
            row["train_top1"],
            row["val_loss"],
            row["val_top1"],
            row["val_top5"],
            row["images_per_second"],
            row["data_wait"],
            self._progress.time_left(self.state.epoch, row["eval_seconds"]),
        )

    def _write_metrics(self) -> None:
        if not self.is_chief:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in self.state.rows:
            writer.writerow(
                {
                    name: f"{value:.6g}" if isinstance(value, float) else value
                    for name, value in row.items()
                }
            )
        checkpoint.write_atomically(
            self.folder / "metrics.csv", text.getvalue().encode()
        )

    def export(self) -> None:
        """Writes model.keras and saved_model/, and checks the latter."""
        weights = networks.layer_weights(self.model)
        # Plain float32 variables on one device, whatever trained them.
        keras.config.set_dtype_policy("float32")
        config = dataclasses.replace(self.config, sync_bn=False)
        model = networks.build(config, self.network, len(self.data.class_names))
        networks.set_layer_weights(model, weights)
        partial = self.folder / "partial.keras"
        model.save(partial)
        partial.replace(self.folder / "model.keras")
        saved_model.save(
            model,
            self.folder / "saved_model",
            class_names=self.data.class_names,
            check_images=self._check_images(),
        )
        logging.info(
            "wrote %s and %s, which a process without Keras has checked",
            self.folder / "model.keras",
            self.folder / "saved_model",
        )

    def _check_images(self) -> list[np.ndarray]:
        """Returns validation images as uint8, at two sizes."""
        size = self.config.image_size
        images = train_data.samples(self.data.val, _CHECK_IMAGES)
        return [
            np.stack(
                [
                    np.uint8(np.round(tf.image.resize(image, [side, side])))
                    for image in images
                ]
            )
            for side in (size, size + _OTHER_SIZE)
        ]


class _Progress:
    """Decides how many steps to run at once, and reports how fast it is."""

    def __init__(self, config, steps_per_epoch):
        self._config = config
        self._steps_per_epoch = steps_per_epoch
        self._seconds_per_step = None
        self._calls = 0
        self._last_line = self._last_call = time.monotonic()
        self.images_per_second = 0.0

    def start_epoch(self):
        self._last_line = self._last_call = time.monotonic()
        self._seconds = self._steps = 0

    def next_call(self):
        """Returns the number of steps of the next call."""
        if not self._seconds_per_step:
            # The first call traces, the second is for the stopwatch.
            return 1
        return max(1, int(_CALL_SECONDS / self._seconds_per_step))

    def called(self, count, done, epoch, sums):
        now = time.monotonic()
        seconds = now - self._last_call
        self._last_call = now
        self._calls += 1
        # The first call of a run is mostly tracing: it counts only where
        # there is nothing else.
        if self._calls > 1:
            self._seconds += seconds
            self._steps += count
            self._seconds_per_step = self._seconds / self._steps
            self.images_per_second = (
                self._config.global_batch_size / self._seconds_per_step
            )
        elif self._steps_per_epoch == 1:
            self.images_per_second = self._config.global_batch_size / seconds
        if now - self._last_line < self._config.log_seconds:
            return
        self._last_line = now
        loss, top1, images, _ = sums
        logging.info(
            "epoch %d/%d  step %d/%d  loss %.4f  top-1 %.2f | %.0f images/s  "
            "left %s",
            epoch + 1,
            self._config.epochs,
            done,
            self._steps_per_epoch,
            loss / images,
            100 * top1 / images,
            self.images_per_second,
            self.time_left(epoch, 0.0, done),
        )

    def time_left(self, epoch, eval_seconds, done=0):
        """Returns the time to the end of training, such as 1:02:03."""
        steps = (self._config.epochs - epoch) * self._steps_per_epoch - done
        seconds = steps * (self._seconds_per_step or 0.0)
        seconds += (self._config.epochs - epoch) * eval_seconds
        minutes, seconds = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}"


class _named_faults:  # noqa: N801, a context manager reads as a function
    """Names the image behind a decoder's error."""

    def __init__(self, split, config, first, count):
        self._arguments = split, config, first, count

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        split, config, first, count = self._arguments
        if not isinstance(error, tf.errors.OpError) or isinstance(
            split, train_data.Stream
        ):
            return
        batch = config.global_batch_size
        per_epoch = train_data.steps_per_epoch(split, config) * batch
        positions = range(first * batch, (first + count) * batch)
        indices = (
            int(
                train_data.training_order(
                    split,
                    config.seed,
                    tf.constant(position // per_epoch, tf.int64),
                    tf.constant(position % per_epoch, tf.int64),
                )
            )
            for position in positions
        )
        _raise_unreadable(split, indices, error)


def _raise_unreadable(split, indices, error):
    message = train_data.find_unreadable(split, indices)
    if message:
        raise ValueError(message) from error


def _is_chief(strategy):
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    return resolver.task_type == "chief" or (
        resolver.task_type == "worker"
        and resolver.task_id == 0
        and "chief" not in resolver.cluster_spec().as_dict()
    )


def _is_finished(folder, config, state):
    return (
        state.epoch >= config.epochs
        and (folder / "saved_model").is_dir()
        and (folder / "model.keras").is_file()
    )


def _check_folder(folder, config, network):
    """Raises if the folder holds another run."""
    path = folder / "config.json"
    if not path.is_file():
        if (folder / "checkpoints").is_dir():
            raise ValueError(
                "`workdir` holds checkpoints without a config.json, so they "
                f"are not a run of this trainer. Received: workdir={folder}"
            )
        return
    try:
        stored = json.loads(path.read_text())
        fields, stored_network = stored["config"], stored["network"]
    except (ValueError, KeyError) as error:
        raise ValueError(f"Not a config.json of a run: {path}") from error
    found = train_config.differences(config, fields)
    if not found and stored_network != json.loads(network.to_json()):
        found = [f"variant: what {config.variant!r} means"]
    if fields["epochs"] > config.epochs:
        found.append(
            f"epochs: {fields['epochs']} in the folder, {config.epochs} asked "
            "for, and only more is possible"
        )
    if found:
        raise ValueError(
            f"The folder {folder} holds a run with another configuration; "
            f"give another --workdir. Different: {'; '.join(found)}"
        )


def _write_config(folder, config, network):
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "config": dataclasses.asdict(config),
        "network": json.loads(network.to_json()),
        "command": sys.argv,
        "git_revision": _git_revision(),
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            "keras_regnet": keras_regnet.__version__,
        },
    }
    text = json.dumps(record, indent=2) + "\n"
    checkpoint.write_atomically(folder / "config.json", text.encode())


def _git_revision():
    """Returns the checkout's revision, "+" if it has changes, or "unknown"."""
    git = shutil.which("git")
    if not git:
        return "unknown"
    root = pathlib.Path(__file__).resolve().parent.parent
    described = subprocess.run(
        [
            git,
            "-C",
            str(root),
            "describe",
            "--always",
            "--dirty=+",
            "--abbrev=40",
            "--exclude=*",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "unknown"


def _write_scalars(row):
    """Writes TensorBoard scalars; tf.summary.scalar needs TensorBoard."""
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = "scalars"
    metadata.data_class = 1  # DATA_CLASS_SCALAR
    for name in COLUMNS[2:]:
        tf.summary.write(
            name,
            tf.constant(row[name], tf.float32),
            step=int(row["step"]),
            metadata=metadata,
        )
