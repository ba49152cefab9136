"""The values of all variables of a run, as arrays by name.

Most variables are equal on all replicas. Batch-norm statistics are not within
an epoch: their mean stands under the variable's name, and what each replica
has beside it, so that a run goes on exactly where it stopped. So it is with
the states of random numbers; there the first replica's stands for all.
"""

from typing import Any

import keras
import numpy as np

from training.trainer import processes as processes_lib
from training.trainer import step as train_step
from training.workdir import checkpoint

_OF_REPLICAS = "replicas/"


class Snapshot:
    """Reads and sets the variables of a run."""

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        steps: train_step.Steps,
        cluster: processes_lib.Cluster,
    ):
        """Names the variables.

        Args:
          model: what is trained.
          optimizer: its optimizer, built.
          steps: knows which variables differ between replicas, and the
            averaged weights.
          cluster: the processes of the run.
        """
        self._variables = _named(model, optimizer, steps)
        differing = {id(variable) for variable in steps.of_replicas}
        self._differing = {
            name: variable
            for name, variable in self._variables.items()
            if id(variable) in differing
        }
        self._steps = steps
        self._cluster = cluster

    def read(self) -> dict[str, np.ndarray]:
        """Returns the values; every process must call."""
        values = {name: _value(v) for name, v in self._variables.items()}
        stacks = self._steps.gather_replicas(list(self._differing.values()))
        for name, stack in zip(self._differing, stacks, strict=True):
            if (stack == stack[0]).all():
                continue
            if stack.dtype.kind == "f":
                mean = stack.mean(0, dtype=np.float64)
                values[name] = mean.astype(stack.dtype)
            values[_OF_REPLICAS + name] = stack
        return values

    def restore(self, found: checkpoint.Checkpoint | None) -> None:
        """Sets the variables; every process must call.

        Args:
          found: the checkpoint; only the chief's counts.

        Raises:
          ValueError: if it is of another model or optimizer.
        """
        arrays = {}
        if found:
            _check_names(found, self._variables)
            arrays = found.arrays
        names = list(self._variables)
        values = self._cluster.of_chief(
            [
                arrays[name] if arrays else _value(self._variables[name])
                for name in names
            ]
        )
        for name, value in zip(names, values, strict=True):
            self._variables[name].assign(value)
        stacks = self._stacks(arrays, dict(zip(names, values, strict=True)))
        self._steps.scatter_replicas(list(self._differing.values()), stacks)

    def _stacks(self, arrays, values):
        """Returns each replica's values, or the mean for other replicas."""
        replicas = self._steps.num_replicas
        stacks = []
        for name in self._differing:
            stack = arrays.get(_OF_REPLICAS + name)
            if stack is None or len(stack) != replicas:
                stack = np.stack([values[name]] * replicas)
            stacks.append(stack)
        return self._cluster.of_chief(stacks)


def _check_names(found, variables):
    arrays = {
        name: array
        for name, array in found.arrays.items()
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
            f"{found.path}, {len(unmatched)} variables do not match, "
            f"such as {unmatched[0]}"
        )


def _named(model, optimizer, steps) -> dict[str, Any]:
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
    for index, variable in enumerate(steps.averages):
        named[f"ema/{index:05d}"] = variable
    return named


def _value(variable):
    # The first replica's, where each has its own.
    return np.asarray(keras.ops.convert_to_numpy(variable.value))
