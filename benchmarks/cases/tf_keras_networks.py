"""RegNets of tf_keras.applications, which Keras 2 had."""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras

from benchmarks.cases import steps

PACKAGES = ("tensorflow", "tf_keras")


def build(job: dict[str, Any]) -> tf_keras.Model:
    """Returns a network.

    Args:
      job: also net, its name there.
    """
    tf.config.threading.set_intra_op_parallelism_threads(job["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(job["threads"])
    return getattr(tf_keras.applications.regnet, job["net"])(
        weights=None,
        include_preprocessing=False,
        input_shape=(job["size"], job["size"], 3),
        classes=steps.CLASSES,
        classifier_activation=None,
    )


def multiply_adds(net: tf_keras.Model, job: dict[str, Any]) -> int:
    """Returns those of a forward pass of one image, additions of biases too."""
    kinds = tf_keras.layers.Conv2D, tf_keras.layers.Dense
    return sum(
        math.prod(layer.output_shape[1:])
        * (math.prod(layer.kernel.shape[:-1]) + layer.use_bias)
        for layer in net.layers
        if isinstance(layer, kinds)
    )


def make_step(net: tf_keras.Model, job: dict[str, Any]) -> Callable:
    """Returns a traced step, which returns when it is done."""
    images = tf.random.normal((job["batch"], job["size"], job["size"], 3))
    arguments = (images,)
    step = tf.function(lambda images: net(images, training=False))
    if job["pass"] == "training":
        step = _training_step(net)
        arguments += (tf.range(job["batch"]) % steps.CLASSES,)
    step.get_concrete_function(*arguments)
    return lambda: step(*arguments).numpy()


def _training_step(net):
    optimizer = tf_keras.optimizers.SGD(
        steps.LEARNING_RATE, steps.MOMENTUM, nesterov=True
    )
    optimizer.build(net.trainable_variables)

    @tf.function
    def step(images, labels):
        with tf.GradientTape() as tape:
            logits = net(images, training=True)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            )
        variables = net.trainable_variables
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    return step
