"""The Keras optimizer of a run, with rates and decay per variable."""

import ast
import functools
import re
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from training.config import config as train_config
from training.config import networks
from training.trainer import schedules

# What `loop` and the tests know under this module's name.
EpochSchedule = schedules.EpochSchedule
schedule = schedules.make

_CLASSES = {
    name: getattr(keras.optimizers, cls)
    for name, cls in (
        ("adadelta", "Adadelta"),
        ("adafactor", "Adafactor"),
        ("adagrad", "Adagrad"),
        ("adam", "Adam"),
        ("adamax", "Adamax"),
        ("adamw", "AdamW"),
        ("ftrl", "Ftrl"),
        ("lamb", "Lamb"),
        ("lion", "Lion"),
        ("muon", "Muon"),
        ("nadam", "Nadam"),
        ("rmsprop", "RMSprop"),
    )
}
_WITH_MOMENTUM = ("rmsprop", "muon")
_BLOCK = re.compile(r"stage(\d+)_block(\d+)_")


def decayed(
    config: train_config.TrainConfig, variables: list[keras.Variable]
) -> list[keras.Variable]:
    """Returns the variables that weight decay applies to.

    All of them, as in the paper, or only the kernels of convolutions and of
    the classifier: then gamma, beta and every bias are excluded.
    """
    if config.decay_norm_and_bias:
        return list(variables)
    return [v for v in variables if v.name == "kernel"]


def layer_scales(
    variables: Sequence[keras.Variable], layer_decay: float
) -> list[float]:
    """Returns the share of the learning rate that each variable gets.

    The head's is 1; that of each block, and of the stem, is `layer_decay`
    times that of the one behind it.

    Source:
      ELECTRA (arXiv 2003.10555), BEiT (arXiv 2106.08254).
    """
    places = [_place(variable.path) for variable in variables]
    order = sorted(set(places), reverse=True)
    return [layer_decay ** order.index(place) for place in places]


def _place(path):
    """Returns where a variable stands: (stage, block), head last."""
    if path.startswith("stem"):
        return (0, 0)
    found = _BLOCK.match(path)
    # There are never so many stages.
    return (int(found[1]), int(found[2])) if found else (10**6, 0)


@keras.saving.register_keras_serializable(package="keras_regnet_training")
class SGD(keras.optimizers.SGD):
    """`keras.optimizers.SGD` with momentum, one operation per variable.

    Config, variables and results are those of `keras.optimizers.SGD`, which
    passes over memory eight times for what is read and written once here.

    Args:
      *arguments: as for `keras.optimizers.SGD`.
      rate_in_velocity: v = momentum * v - rate * g and w += v, Keras's form;
        if not, v = momentum * v + g and w -= rate * v, PyTorch's and the
        paper's. The two differ where the rate changes.
      **named: as for `keras.optimizers.SGD`.
    """

    def __init__(
        self, *arguments: Any, rate_in_velocity: bool = True, **named: Any
    ):
        super().__init__(*arguments, **named)
        self.rate_in_velocity = rate_in_velocity

    def update_step(self, gradient, variable, learning_rate):
        """Updates the variable and its velocity; see Keras's optimizer."""
        if not self.momentum:
            super().update_step(gradient, variable, learning_rate)
            return
        velocity = self.momentums[self._get_variable_index(variable)]
        operation = (
            tf.raw_ops.ResourceApplyKerasMomentum
            if self.rate_in_velocity
            else tf.raw_ops.ResourceApplyMomentum
        )
        operation(
            var=variable.handle,
            accum=velocity.value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
            momentum=tf.cast(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {
            **super().get_config(),
            "rate_in_velocity": self.rate_in_velocity,
        }


@functools.cache
def _per_variable(cls):
    """Returns an optimizer class with rates and decay of each variable."""

    class PerVariable(cls):
        """Sets `scales`, `decays` and `waits`, in the variables' order.

        A variable's rate is that of the schedule times its scale, and 0 in
        its first steps where it waits. Decoupled decay goes with that rate;
        Keras's own knows one rate for all.
        """

        def set_up(self, scales, decays, waits):
            self.scales, self.decays, self.waits = scales, decays, waits

        def update_step(self, gradient, variable, learning_rate):
            index = self._get_variable_index(variable)
            rate = tf.cast(learning_rate * self.scales[index], variable.dtype)
            if self.waits[index]:
                done = self.iterations >= self.waits[index]
                rate *= tf.cast(done, rate.dtype)
            if self.decays[index]:
                variable.assign_sub(variable * (rate * self.decays[index]))
            super().update_step(gradient, variable, rate)

    return PerVariable


def make(
    config: train_config.TrainConfig,
    steps_per_epoch: int,
    variables: list[keras.Variable],
) -> keras.optimizers.Optimizer:
    """Returns the built optimizer; call it in the strategy's scope.

    The weight decay of sgd is no part of it: it is L2, added to the gradient
    by the training step.

    Args:
      config: the run's configuration.
      steps_per_epoch: steps.
      variables: what will be trained.

    Returns:
      A Keras optimizer, with loss scaling for mixed_float16.

    Raises:
      ValueError: if `optimizer_arguments` are not the optimizer's.
    """
    cls, arguments = _class_and_arguments(config)
    settings = _settings(config, steps_per_epoch, variables)
    differ = any(scale != 1 for scale in settings["scales"]) or any(
        (*settings["decays"], *settings["waits"])
    )
    if differ:
        cls = _per_variable(cls)
    rate = schedules.make(config, steps_per_epoch)
    try:
        optimizer = cls(rate, **arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "`optimizer_arguments` must be arguments of Keras's optimizer. "
            f"Received: optimizer={config.optimizer!r}, optimizer_arguments="
            f"{config.optimizer_arguments!r} ({error})"
        ) from error
    # AdamW insists on some decay of its own.
    optimizer.weight_decay = None
    if differ:
        optimizer.set_up(**settings)
    if config.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(variables)
    return optimizer


def _class_and_arguments(config) -> tuple[type, Mapping[str, Any]]:
    given = _parse_arguments(config.optimizer_arguments)
    if config.optimizer == "sgd":
        arguments = {
            "momentum": config.momentum,
            "nesterov": True,
            "rate_in_velocity": config.rate_in_velocity,
        }
        return SGD, {**arguments, **given}
    arguments = {}
    if config.optimizer in _WITH_MOMENTUM:
        arguments["momentum"] = config.momentum
    if config.optimizer == "muon":
        arguments["adam_weight_decay"] = 0.0
    return _CLASSES[config.optimizer], {**arguments, **given}


def _parse_arguments(text):
    """Returns {"beta_2": 0.95} for "beta_2=0.95"."""
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        if call.args:
            raise ValueError("a value without a name")
        return {k.arg: ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise ValueError(
            "`optimizer_arguments` must be written as name=value,name=value. "
            f"Received: optimizer_arguments={text!r}"
        ) from error


def _settings(config, steps_per_epoch, variables):
    decay = config.weight_decay if config.optimizer != "sgd" else 0.0
    keep = {id(v) for v in decayed(config, variables)}
    wait = round(config.head_epochs * steps_per_epoch)
    return {
        "scales": layer_scales(variables, config.layer_decay),
        "decays": [decay * (id(v) in keep) for v in variables],
        "waits": [
            0 if v.path.startswith(networks.HEAD) else wait for v in variables
        ],
    }
