"""How much memory a training step needs, counted from the model.

Counted are the variables, the gradients and what the forward pass keeps for
the backward pass: the inputs of convolutions, of batch norm and of products,
and the outputs of activations. Not counted are the workspace of kernels, the
runtime itself (about 1 GB of a process) and the data set.
"""

import dataclasses
import math

import keras

from training.config import config as train_config

_FLOAT_BYTES = 4
# One is trained on, one waits.
_BATCHES = 2
# Their gradient needs their input, or their output.
_KEEPS_INPUT = (
    keras.layers.BatchNormalization,
    keras.layers.Conv2D,
    keras.layers.Dense,
    keras.layers.MaxPooling2D,
    keras.layers.Multiply,
)
_KEEPS_OUTPUT = (keras.layers.Activation, keras.layers.Dropout)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Bytes that one replica needs.

    Args:
      variables: weights, statistics, averages, and the optimizer's.
      gradients: of one step, and those that are accumulated.
      activations: kept for the backward pass.
      images: batches of float32 pixels.
    """

    variables: int
    gradients: int
    activations: int
    images: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(dataclasses.astuple(self))


def estimate(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    config: train_config.TrainConfig,
    num_replicas: int,
) -> Estimate:
    """Returns the memory that a replica needs for a training step.

    What is measured is more, see the module.
    """
    trainable = _bytes_of(model.trainable_variables)
    norms = [
        variable
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
        for variable in (layer.moving_mean, layer.moving_variance)
    ]
    variables = _bytes_of(model.variables) + _bytes_of(optimizer.variables)
    if config.ema_decay:
        variables += trainable + _bytes_of(norms)
    accumulators = trainable * (config.accumulation_steps > 1)
    images = config.global_batch_size // num_replicas
    size = config.training_size()
    pixels = images * math.prod(size) * 3 * _FLOAT_BYTES
    return Estimate(
        variables=variables,
        gradients=trainable + accumulators,
        activations=images
        // config.accumulation_steps
        * activation_bytes(model, size),
        images=_BATCHES * pixels,
    )


def activation_bytes(model: keras.Model, size: tuple[int, int]) -> int:
    """Returns what the forward pass of an image keeps for the backward pass.

    The image has the height and width of `size`.
    Frozen layers count like all others.
    """
    (model_input,) = model.inputs
    shapes = {id(model_input): (1, *size, *model_input.shape[3:])}
    kept = {}
    for layer in model.layers:
        outputs = keras.tree.flatten(layer.output)
        if id(outputs[0]) in shapes:
            continue
        inputs = keras.tree.flatten(layer.input)
        given = [shapes[id(tensor)] for tensor in inputs]
        shape = layer.compute_output_shape(
            given if len(given) > 1 else given[0]
        )
        shapes[id(outputs[0])] = shape
        width = keras.backend.standardize_dtype(layer.compute_dtype)
        size = 2 if width in ("float16", "bfloat16") else _FLOAT_BYTES
        if isinstance(layer, _KEEPS_INPUT):
            for tensor, of_input in zip(inputs, given, strict=True):
                kept[id(tensor)] = size * math.prod(of_input)
        if isinstance(layer, _KEEPS_OUTPUT):
            kept[id(outputs[0])] = size * math.prod(shape)
    return sum(kept.values())


def _bytes_of(variables) -> int:
    return sum(
        math.prod(variable.shape)
        * keras.backend.standardize_dtype(variable.dtype).startswith("float")
        * _FLOAT_BYTES
        for variable in variables
    )
