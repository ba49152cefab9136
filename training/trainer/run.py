"""A run: what it consists of, and what stays as it is while it trains."""

import dataclasses
import pathlib

import tensorflow as tf

from keras_regnet import weights as weights_lib
from training.config import config as train_config
from training.data import dataset
from training.data import pipeline as train_data
from training.trainer import hooks as hooks_lib
from training.trainer import processes as processes_lib
from training.workdir import checkpoint


@dataclasses.dataclass(frozen=True)
class Run:
    """The parts of a run.

    Args:
      config: all that the user decides.
      architecture: the network that is trained, and its normalization.
      folder: where it is kept.
      strategy: devices.
      processes: those that train together.
      data: images for training and evaluation.
      hooks: what the caller does at fixed points.
      class_weights: what the loss of an image counts, by its class; None if
        all count alike.
    """

    config: train_config.TrainConfig
    architecture: weights_lib.ResolvedWeights
    folder: pathlib.Path
    strategy: tf.distribute.Strategy
    processes: processes_lib.Processes
    data: dataset.DataSet
    hooks: hooks_lib.Hooks
    class_weights: dict[str, float] | None = None

    @property
    def checkpoints(self) -> pathlib.Path:
        """The folder of the checkpoints."""
        return self.folder / "checkpoints"

    @property
    def steps_per_epoch(self) -> int:
        """Training steps of an epoch."""
        return train_data.steps_per_epoch(self.data.train, self.config)

    @property
    def num_steps(self) -> int:
        """Training steps of the whole run."""
        return self.config.num_steps(self.steps_per_epoch)

    @property
    def num_epochs(self) -> int:
        """Epochs of the whole run, the last perhaps a part."""
        return self.config.num_epochs(self.steps_per_epoch)

    def is_over(self, position: checkpoint.Position) -> bool:
        """Returns whether all is trained and evaluated that will be."""
        # Sums are there as long as an evaluation is missing.
        done = position.step >= self.num_steps and not position.sums
        return done or position.stops_early(
            self.config.early_stopping_epochs, self.config.best_metric
        )

    def training_batches(
        self, start_step: int
    ) -> tf.distribute.DistributedDataset:
        """Returns the global batches from a step to the run's end."""
        return train_data.distribute(
            self.strategy,
            self.config,
            lambda shard: self.hooks.training_batches(
                train_data.train_pipeline(
                    self.data, self.config, start_step, shard
                )
            ),
        )

    def evaluation_batches(self) -> tf.distribute.DistributedDataset:
        """Returns the validation images in global batches, without end."""
        return train_data.distribute(
            self.strategy,
            self.config,
            lambda shard: train_data.eval_pipeline(
                self.data, self.config, shard
            ).repeat(),
        )
