"""Networks in Keras on TensorFlow: ours in its forms, Keras's own layers."""

import contextlib
import functools
from typing import Any

# Before TensorFlow, which it has turn oneDNN on.
import keras_regnet

# isort: split
import keras
import numpy as np
import tensorflow as tf

from benchmarks.cases import steps
from keras_regnet import layers
from training.trainer import optimizer as train_optimizer

PACKAGES = ("tensorflow", "keras")


def limit_threads(threads: int) -> None:
    """Has TensorFlow compute with some threads, one operation at a time if one.

    Otherwise two operations would run at once.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def build(job: dict[str, Any]) -> keras.Model:
    """Returns a network.

    Args:
      job: also form: "ours", "folded", "portable" or "stock"; and dtype, a
        dtype policy, if it is not float32.
    """
    limit_threads(job["threads"])
    keras.config.set_dtype_policy(job.get("dtype", "float32"))
    model = network(job["network"], job)
    if job["form"] == "stock":
        return _with_stock_layers(model)
    if job["form"] == "folded":
        return keras_regnet.export.fold_batch_norm(model)
    return model


def network(name_or_config: Any, job: dict[str, Any]) -> keras.Model:
    """Returns a network of logits, as all that are timed."""
    return keras_regnet.build(
        name_or_config,
        input_shape=(job["size"], job["size"], 3),
        classes=job.get("classes", steps.CLASSES),
        classifier_activation=None,
        include_preprocessing=False,
    )


def _with_stock_layers(model):
    """Returns the network from Keras's layers instead of those they extend."""
    stock = {
        layers.GroupedConv2D: keras.layers.Conv2D,
        layers.BatchNormalization: keras.layers.BatchNormalization,
    }

    def clone(layer):
        kind = stock.get(type(layer), type(layer))
        return kind.from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=clone)


def multiply_adds(model: keras.Model, job: dict[str, Any]) -> int:
    """Returns those of a forward pass of one image."""
    return keras_regnet.complexity(
        keras_regnet.get_config(job["network"]),
        (job["size"], job["size"], 3),
        classes=steps.CLASSES,
    ).flops


def make_step(model: keras.Model, job: dict[str, Any]):
    """Returns a traced step, which returns when it is done."""
    shape = (job["batch"], job["size"], job["size"], 3)
    images = np.random.default_rng(0).normal(size=shape)
    arguments = (tf.constant(images, "float32"),)
    step = _forward(model)
    if job["pass"] == "training":
        step = _training_step(model)
        classes = job.get("classes", steps.CLASSES)
        arguments += (tf.range(job["batch"]) % classes,)
    function = tf.function(step, autograph=False, jit_compile=False)
    form = contextlib.nullcontext()
    if job["form"] == "portable":
        form = layers.portable_ops()
    with form:
        function.get_concrete_function(*arguments)
    return functools.partial(_call, function, arguments)


def _call(function, arguments):
    return function(*arguments).numpy()


def _training_step(model):
    """Returns the training step of the trainer, on one device and untraced."""
    ours = any(isinstance(n, layers.BatchNormalization) for n in model.layers)
    sgd = train_optimizer.SGD if ours else keras.optimizers.SGD
    optimizer = sgd(steps.LEARNING_RATE, momentum=steps.MOMENTUM, nesterov=True)
    variables = model.trainable_variables
    optimizer.build(variables)

    def step(images, labels):
        values = [variable.value for variable in variables]
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels, logits
            )
            loss = tf.reduce_mean(losses)
        optimizer.apply(tape.gradient(loss, values), variables)
        return loss

    return step


def _forward(model):
    def forward(images):
        with layers.folded_norms():
            return model(images, training=False)

    return forward
