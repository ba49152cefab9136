"""Model and optimizer of a run, as they are before its first step."""

import keras
import tensorflow as tf

from keras_regnet import weights as weights_lib
from training.config import config as train_config
from training.config import networks
from training.data import dataset
from training.data import pipeline as train_data
from training.trainer import optimizer as train_optimizer


def make(
    config: train_config.TrainConfig,
    weights: weights_lib.ResolvedWeights,
    data: dataset.DataSet,
    strategy: tf.distribute.Strategy,
) -> tuple[keras.Model, keras.optimizers.Optimizer]:
    """Returns the model and optimizer at the start of a run.

    Args:
      config: the run.
      weights: the network, and what it starts from.
      data: gives the number of classes and the steps per epoch.
      strategy: variables are created in its scope.

    Returns:
      The model, with its initial weights, and its built optimizer.
    """
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    with strategy.scope():
        model = networks.build(
            config, weights.config, len(data.class_names), weights
        )
        optimizer = train_optimizer.make(
            config,
            train_data.steps_per_epoch(data.train, config),
            model.trainable_variables,
        )
    return model, optimizer
