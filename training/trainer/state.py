"""What a run changes as it trains: its variables, and where it stands.

The variables are read and restored as arrays by name. Most are equal on all
replicas. Batch-norm statistics are not within an epoch: their mean stands
under the variable's name, and the values of all replicas beside it, so that a
run resumes exactly where it stopped. The states of random numbers differ too;
there the first replica's stands for all.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_regnet import regnet_model
from keras_regnet import weights as weights_lib
from training.config import config as train_config
from training.config import network as network_lib
from training.data import dataset
from training.data import pipeline as train_data
from training.trainer import averages as averages_lib
from training.trainer import optimizer as train_optimizer
from training.trainer import precision
from training.trainer import processes as processes_lib
from training.trainer import replicas as replicas_lib
from training.workdir import checkpoint

_OF_REPLICAS = "replicas/"


def build(
    config: train_config.TrainConfig,
    weights: weights_lib.ResolvedWeights,
    data: dataset.DataSet,
    strategy: tf.distribute.Strategy,
) -> tuple[keras.Model, keras.optimizers.Optimizer]:
    """Returns the initial model and its built optimizer.

    The weights name the network, and what it starts from; the data set gives
    the number of classes and the steps per epoch.
    """
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(precision.policy(config.precision))
    with strategy.scope():
        model = network_lib.build(
            config,
            weights.config,
            len(data.class_names),
            weights,
            data.multilabel,
        )
        optimizer = train_optimizer.make(
            config,
            train_data.steps_per_epoch(data.train, config),
            model.trainable_variables,
        )
    return model, optimizer


class TrainState:
    """The variables of a run, and its position.

    Attributes:
      model: what is evaluated and exported; gives probabilities.
      logits: the model without its last activation, which is trained.
      optimizer: its optimizer, built.
      averages: moving averages of weights and statistics.
      replicas: the variables that differ between replicas.
      position: finished epochs and steps, and their metrics.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        ema_decay: float = 0.0,
    ):
        """Makes the averages, in the strategy's scope."""
        self.model = model
        self.logits = regnet_model.RegNetModel(
            model.input, model.get_layer(network_lib.HEAD).output
        )
        self.optimizer = optimizer
        statistics = [
            variable
            for layer in model.layers
            if isinstance(layer, keras.layers.BatchNormalization)
            for variable in (layer.moving_mean, layer.moving_variance)
        ]
        self.averages = averages_lib.Averages(
            strategy, self.logits.trainable_variables, statistics, ema_decay
        )
        self.replicas = replicas_lib.Replicas(
            strategy, model, statistics + self.averages.statistics
        )
        self.position = checkpoint.Position()
        self._variables = _named(model, optimizer, self.averages.variables)
        names = {id(v): name for name, v in self._variables.items()}
        self._differing = [names[id(v)] for v in self.replicas.variables]

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the variables' values; every process must call."""
        values = {name: _value(v) for name, v in self._variables.items()}
        stacks = self.replicas.gather()
        for name, stack in zip(self._differing, stacks, strict=True):
            if (stack == stack[0]).all():
                continue
            if stack.dtype.kind == "f":
                mean = stack.mean(0, dtype=np.float64)
                values[name] = mean.astype(stack.dtype)
            values[_OF_REPLICAS + name] = stack
        return values

    def restore(
        self,
        stored: checkpoint.Checkpoint | None,
        processes: processes_lib.Processes,
    ) -> None:
        """Sets the variables; every process must call.

        Args:
          stored: the checkpoint; only the chief's counts.
          processes: those of the run.

        Raises:
          ValueError: if it is of another model or optimizer.
        """
        arrays = {}
        if stored:
            _check_names(stored, self._variables)
            arrays = stored.arrays
        values = processes.from_chief(
            [
                arrays[name] if arrays else _value(variable)
                for name, variable in self._variables.items()
            ]
        )
        for variable, value in zip(
            self._variables.values(), values, strict=True
        ):
            variable.assign(value)
        values = dict(zip(self._variables, values, strict=True))
        stacks = [self._stack(name, arrays, values) for name in self._differing]
        self.replicas.scatter(processes.from_chief(stacks))

    def _stack(self, name, arrays, values):
        """Returns each replica's values, or the mean for other replicas."""
        stack = arrays.get(_OF_REPLICAS + name)
        if stack is None or len(stack) != self.replicas.count:
            stack = np.stack([values[name]] * self.replicas.count)
        return stack


def _check_names(stored, variables):
    arrays = {
        name: array
        for name, array in stored.arrays.items()
        if not name.startswith(_OF_REPLICAS)
    }
    unmatched = sorted(set(variables) ^ set(arrays)) + [
        f"{name} {arrays[name].shape} for {tuple(variable.shape)}"
        for name, variable in variables.items()
        if name in arrays and arrays[name].shape != tuple(variable.shape)
    ]
    if unmatched:
        raise ValueError(
            "The checkpoint is of another model. Received: "
            f"{stored.path}, {len(unmatched)} variables do not match, "
            f"such as {unmatched[0]}"
        )


def _named(model, optimizer, averages) -> dict[str, Any]:
    """Returns all variables under names that repeat in every process.

    Keras's own paths count the objects made so far; layer names and the
    order within a layer and an optimizer do not.
    """
    named = {}
    for layer in model.layers:
        for index, variable in enumerate(layer.variables):
            named[f"model/{layer.name}/{index}_{variable.name}"] = variable
    for index, variable in enumerate(optimizer.variables):
        named[f"optimizer/{index:05d}_{variable.name}"] = variable
    for index, variable in enumerate(averages):
        named[f"ema/{index:05d}"] = variable
    return named


def _value(variable):
    # The first replica's, where each has its own.
    return np.asarray(keras.ops.convert_to_numpy(variable.value))
