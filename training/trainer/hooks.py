"""Hooks: what a caller of the trainer may do at fixed points of a run."""

import tensorflow as tf

from training.trainer import state as state_lib


class Hooks:
    """Methods that the trainer calls, and that do nothing.

    Override those that are needed, and give an instance to
    `train.train_and_evaluate`. Every process calls its own, in the same
    order. What a method raises ends the run.

    Example:
      class PrintTop1(Hooks):
          def after_epoch(self, state):
              print(state.position.rows[-1]["val_top1"])
    """

    def training_batches(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """Returns the (images, labels) to train on.

        Args:
          batches: this process's part of every batch, one element for each of
            its replicas and steps.
        """
        return batches

    def before_steps(self, state: state_lib.TrainState) -> None:
        """Called before each call into TensorFlow that trains some steps."""

    def after_steps(self, state: state_lib.TrainState) -> None:
        """Called after it, when losses and position are those after it."""

    def before_evaluation(self, state: state_lib.TrainState) -> None:
        """Called when an epoch's steps are done, before its evaluation."""

    def after_epoch(self, state: state_lib.TrainState) -> None:
        """Called when an epoch is evaluated, saved and reported."""

    def before_save(self, state: state_lib.TrainState) -> None:
        """Called by the chief before it writes a checkpoint."""

    def after_save(self, state: state_lib.TrainState) -> None:
        """Called by the chief after that, also where writing has failed."""

    def before_export(self, state: state_lib.TrainState) -> bool:
        """Called by the chief with the weights to be exported in place.

        Returns:
          Whether to write model.keras and saved_model/.
        """
        del state
        return True
