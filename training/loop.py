"""train_and_evaluate(config): a run from its first step to its SavedModel."""

import dataclasses
import math
import pathlib
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
from training import datasets
from training import networks
from training import optimizer as train_optimizer
from training import progress
from training import run_folder
from training import step as train_step
from training import strategy as train_strategy

# The export is checked on this many images, and at a larger size too.
_CHECK_IMAGES = 4
_OTHER_SIZE = 32
_BENCHMARK_SECONDS = 10.0
_BENCHMARK_EPOCHS = 1_000_000


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
    run_folder.check(folder, config, network)
    found = checkpoint.newest(folder / "checkpoints")
    if found and run_folder.is_finished(folder, config, found.state):
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
        run_folder.write_config(folder, config, network)
    run.begin(found)
    run.train()
    if run.is_chief:
        run.export()
    return folder


def make_trainable(
    config: train_config.TrainConfig,
    network: networks.Network,
    data: datasets.DataSet,
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
    data = datasets.load(config)
    share = train_data.Share(batch_size=config.global_batch_size)
    # Small sets last for seconds: go on over epochs that nothing trains.
    config = dataclasses.replace(config, epochs=_BENCHMARK_EPOCHS)
    batches = iter(train_data.train_pipeline(data, config, 0, share))
    try:
        next(batches)
        images, begin, seconds = 0, time.monotonic(), 0.0
        while seconds < _BENCHMARK_SECONDS:
            next(batches)
            images += config.global_batch_size
            seconds = time.monotonic() - begin
    except tf.errors.OpError as error:
        _raise_unreadable(data.train, range(data.train.num_examples), error)
        raise
    rate = images / seconds
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
        self.data = datasets.load(config)
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
        if self.is_chief:
            # It may have the row of an epoch whose checkpoint was lost.
            run_folder.write_metrics(self.folder, self.state.rows)
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
        self._progress = progress.Progress(self.config, self.steps_per_epoch)
        events = tf.summary.create_file_writer(str(self.folder / "events"))
        while self.state.epoch < self.config.epochs:
            row = self._epoch(batches)
            self._finish_epoch(row)
            with events.as_default():
                run_folder.write_scalars(row)
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
        epoch, clock = self.state.epoch, self._progress
        clock.start_epoch()
        done = 0
        while done < self.steps_per_epoch:
            count = min(clock.next_call(), self.steps_per_epoch - done)
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
            clock.called(count, done, epoch, values)
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
            run_folder.write_metrics(self.folder, rows)
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
            portable=self.config.portable_export,
        )
        run_folder.mark_exported(self.folder, self.state.epoch)
        logging.info(
            "wrote %s and %s, which a process without Keras has checked",
            self.folder / "model.keras",
            self.folder / "saved_model",
        )

    def _check_images(self) -> list[np.ndarray]:
        """Returns validation images as uint8, at two sizes."""
        size = self.config.image_size
        images = datasets.samples(self.data.val, _CHECK_IMAGES)
        return [
            np.stack(
                [
                    np.uint8(np.round(tf.image.resize(image, [side, side])))
                    for image in images
                ]
            )
            for side in (size, size + _OTHER_SIZE)
        ]


class _named_faults:  # noqa: N801, a context manager reads as a function
    """Names the image behind a decoder's error."""

    def __init__(self, split, config, first, count):
        self._arguments = split, config, first, count

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        split, config, first, count = self._arguments
        if not isinstance(error, tf.errors.OpError):
            return
        if isinstance(split, datasets.Stream):
            _raise_unreadable(split, (), error)
            return
        batch = config.global_batch_size
        per_epoch = train_data.steps_per_epoch(split, config) * batch
        positions = range(first * batch, (first + count) * batch)
        indices = (
            int(
                train_data.example_at(
                    split,
                    config,
                    tf.constant(position // per_epoch, tf.int64),
                    tf.constant(position % per_epoch, tf.int64),
                )
            )
            for position in positions
        )
        _raise_unreadable(split, indices, error)


def _raise_unreadable(split, indices, error):
    message = datasets.find_unreadable(split, indices)
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
