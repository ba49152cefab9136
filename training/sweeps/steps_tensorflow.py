"""Training steps of a trial on Keras's TensorFlow backend.

The one module of the sweep that imports TensorFlow; it is imported when that
is the backend. All variables of a kind are one array: a step then reads,
updates and writes three, whatever the network's depth, in a graph of half as
many operations, which is traced and optimized in half the time. The loop over
an epoch's steps is in the graph.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_regnet import layers


class Steps:
    """Compiled training and evaluation of one model.

    The model's own variables give the initial values, and stay as they are.

    Args:
      model: gives logits.
      momentum: Nesterov's.
      weight_decay: L2 on all trainable variables.
    """

    def __init__(
        self, model: keras.Model, momentum: float, weight_decay: float
    ):
        self._model = model
        self._momentum = momentum
        self._decay = weight_decay
        self._trainable = _Flat(model.trainable_variables)
        self._others = _Flat(model.non_trainable_variables)
        self._velocity = tf.Variable(
            tf.zeros_like(self._trainable.variable), trainable=False
        )
        # Without autograph: there is nothing in it to convert.
        self._train = tf.function(self._train_loop, autograph=False)
        self._evaluate = tf.function(self._evaluate_loop, autograph=False)

    def compile(
        self, batch_size: int, test_batch_size: int, image_size: int
    ) -> None:
        """Traces both, and lets TensorFlow optimize their graphs."""
        self._train = self._train.get_concrete_function(
            *_specs(batch_size, image_size), tf.TensorSpec([None], tf.float32)
        )
        self._evaluate = self._evaluate.get_concrete_function(
            *_specs(test_batch_size, image_size)
        )
        # No steps, but the first call is when graphs are optimized.
        self.train(*_no_steps(batch_size, image_size), np.zeros(0, np.float32))
        self.evaluate(*_no_steps(test_batch_size, image_size))

    def train(
        self, images: np.ndarray, labels: np.ndarray, lrs: np.ndarray
    ) -> tuple[float, int]:
        """Runs training steps; returns the sum of losses, and the hits.

        Images are uint8 (steps, batch, height, width, 3), labels int32 (steps,
        batch), learning rates float32 (steps,).
        """
        loss, hits = self._train(
            tf.constant(images), tf.constant(labels), tf.constant(lrs)
        )
        return float(loss), int(hits)

    def evaluate(self, images: np.ndarray, labels: np.ndarray) -> int:
        """Returns how many images, shaped as in `train`, are hits."""
        return int(self._evaluate(tf.constant(images), tf.constant(labels)))

    def _train_loop(self, images, labels, lrs):
        def body(step, loss, hits):
            step_loss, step_hits = self._step(
                images[step], labels[step], lrs[step]
            )
            return step + 1, loss + step_loss, hits + step_hits

        start = (tf.constant(0), tf.constant(0.0), tf.constant(0))
        steps = tf.shape(lrs)[0]
        _, loss, hits = tf.while_loop(
            lambda step, *_: step < steps, body, start
        )
        return loss, hits

    def _step(self, images, labels, lr):
        trainable = self._trainable.read()
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(trainable)
            logits, others = self._model.stateless_call(
                self._trainable.split(trainable),
                self._others.split(self._others.read()),
                tf.cast(images, tf.float32),
                training=True,
            )
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels, logits
            )
            loss = tf.reduce_mean(losses)
        gradient = tape.gradient(loss, trainable) + self._decay * trainable
        tf.raw_ops.ResourceApplyMomentum(
            var=self._trainable.variable.handle,
            accum=self._velocity.handle,
            lr=lr,
            grad=gradient,
            momentum=self._momentum,
            use_nesterov=True,
        )
        self._others.assign(others)
        return loss, _hits(logits, labels)

    def _evaluate_loop(self, images, labels):
        def body(step, hits):
            with layers.folded_norms():
                logits, _ = self._model.stateless_call(
                    self._trainable.split(self._trainable.read()),
                    self._others.split(self._others.read()),
                    tf.cast(images[step], tf.float32),
                    training=False,
                )
            return step + 1, hits + _hits(logits, labels[step])

        steps = tf.shape(labels)[0]
        _, hits = tf.while_loop(
            lambda step, _: step < steps,
            body,
            (tf.constant(0), tf.constant(0)),
        )
        return hits


class _Flat:
    """Variables as one array, end to end."""

    def __init__(self, variables: Sequence[keras.Variable]):
        self._shapes = [tuple(v.shape) for v in variables]
        self._sizes = [math.prod(shape) for shape in self._shapes]
        self.variable = tf.Variable(
            _joined([v.value for v in variables]), trainable=False
        )

    def read(self) -> tf.Tensor:
        """Returns the array."""
        return self.variable.read_value()

    def split(self, array: tf.Tensor) -> list[tf.Tensor]:
        """Returns the parts of an array, in the shapes of the variables."""
        if not self._sizes:
            return []
        return [
            part if len(shape) == 1 else tf.reshape(part, shape)
            for part, shape in zip(
                tf.split(array, self._sizes), self._shapes, strict=True
            )
        ]

    def assign(self, values: Sequence[tf.Tensor]) -> None:
        """Sets all variables."""
        self.variable.assign(_joined(values))


def _joined(values):
    if not values:
        return tf.zeros(0)
    flat = [v if len(v.shape) == 1 else tf.reshape(v, [-1]) for v in values]
    return tf.concat(flat, axis=0)


def _hits(logits, labels):
    best = tf.argmax(logits, axis=-1, output_type=tf.int32)
    return tf.reduce_sum(tf.cast(best == labels, tf.int32))


def _specs(batch, side):
    return (
        tf.TensorSpec([None, batch, side, side, 3], tf.uint8),
        tf.TensorSpec([None, batch], tf.int32),
    )


def _no_steps(batch, side):
    return (
        np.zeros((0, batch, side, side, 3), np.uint8),
        np.zeros((0, batch), np.int32),
    )


def limit_threads(threads: int) -> None:
    """Sets how many cores an operation may use, before any has run."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error says that memory ran out."""
    return isinstance(error, tf.errors.ResourceExhaustedError)


def device() -> str:
    """Returns the kind of device that trials run on."""
    gpus = tf.config.list_physical_devices("GPU")
    details: dict[str, Any] = (
        tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
    )
    return details.get("device_name", "CPU")
