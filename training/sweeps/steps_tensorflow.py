"""Training steps of a trial on Keras's TensorFlow backend.

The one module of the sweep that imports TensorFlow; it is imported when that
is the backend. An epoch's steps run in one call, in a loop inside the graph.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_regnet import layers


class Steps:
    """Compiled training and evaluation of one model.

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
        self._variables = [v.value for v in model.trainable_variables]
        self._velocities = [
            tf.Variable(tf.zeros_like(v), trainable=False)
            for v in self._variables
        ]
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
        with tf.GradientTape() as tape:
            logits = self._model(tf.cast(images, tf.float32), training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels, logits
            )
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, self._variables)
        for variable, velocity, gradient in zip(
            self._variables, self._velocities, gradients, strict=True
        ):
            tf.raw_ops.ResourceApplyMomentum(
                var=variable.handle,
                accum=velocity.handle,
                lr=lr,
                grad=gradient + self._decay * variable,
                momentum=self._momentum,
                use_nesterov=True,
            )
        return loss, _hits(logits, labels)

    def _evaluate_loop(self, images, labels):
        def body(step, hits):
            pixels = tf.cast(images[step], tf.float32)
            with layers.folded_norms():
                logits = self._model(pixels, training=False)
            return step + 1, hits + _hits(logits, labels[step])

        steps = tf.shape(labels)[0]
        _, hits = tf.while_loop(
            lambda step, _: step < steps,
            body,
            (tf.constant(0), tf.constant(0)),
        )
        return hits


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
