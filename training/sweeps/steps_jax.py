"""Training steps of a trial on Keras's JAX backend."""

import functools

import jax
import jax.numpy as jnp
import keras
import numpy as np


class Steps:
    """Compiled training and evaluation of one model.

    As `steps_tensorflow.py`; the loop over steps is a `lax.scan`.

    Args:
      model: gives logits.
      momentum: Nesterov's.
      weight_decay: L2 on all trainable variables.
    """

    def __init__(
        self, model: keras.Model, momentum: float, weight_decay: float
    ):
        self._model = model
        trainable = [jnp.array(v.value) for v in model.trainable_variables]
        self._state = (
            trainable,
            [jnp.array(v.value) for v in model.non_trainable_variables],
            [jnp.zeros_like(value) for value in trainable],
        )
        update = functools.partial(_update, momentum, weight_decay)
        self._train = jax.jit(
            functools.partial(_train_loop, model, update), donate_argnums=0
        )
        self._evaluate = jax.jit(functools.partial(_evaluate_loop, model))

    def compile(
        self, batch_size: int, test_batch_size: int, image_size: int
    ) -> None:
        """Does nothing: JAX compiles for the number of steps of a call."""

    def train(
        self, images: np.ndarray, labels: np.ndarray, lrs: np.ndarray
    ) -> tuple[float, int]:
        """Runs training steps; see `steps_tensorflow.py`."""
        self._state, loss, hits = self._train(self._state, images, labels, lrs)
        return float(loss), int(hits)

    def evaluate(self, images: np.ndarray, labels: np.ndarray) -> int:
        """Returns the number of hits; see `steps_tensorflow.py`."""
        trainable, others, _ = self._state
        return int(self._evaluate(trainable, others, images, labels))


def _update(momentum, decay, variables, velocities, gradients, lr):
    """SGD with Nesterov's momentum and L2; no learning rate in velocities."""
    gradients = [
        gradient + decay * variable
        for gradient, variable in zip(gradients, variables, strict=True)
    ]
    velocities = [
        momentum * velocity + gradient
        for velocity, gradient in zip(velocities, gradients, strict=True)
    ]
    variables = [
        variable - lr * (gradient + momentum * velocity)
        for variable, gradient, velocity in zip(
            variables, gradients, velocities, strict=True
        )
    ]
    return variables, velocities


def _train_loop(model, update, state, images, labels, lrs):
    def loss_of(trainable, others, pixels, labels):
        logits, others = model.stateless_call(
            trainable, others, pixels, training=True
        )
        log_probs = jax.nn.log_softmax(logits)
        losses = -jnp.take_along_axis(log_probs, labels[:, None], axis=1)
        return losses.mean(), (_hits(logits, labels), others)

    def step(state, batch):
        trainable, others, velocities = state
        pixels, labels, lr = batch
        (loss, (hits, others)), gradients = jax.value_and_grad(
            loss_of, has_aux=True
        )(trainable, others, pixels.astype("float32"), labels)
        trainable, velocities = update(trainable, velocities, gradients, lr)
        return (trainable, others, velocities), (loss, hits)

    state, (losses, hits) = jax.lax.scan(step, state, (images, labels, lrs))
    return state, losses.sum(), hits.sum()


def _evaluate_loop(model, trainable, others, images, labels):
    def step(hits, batch):
        pixels, labels = batch
        logits, _ = model.stateless_call(
            trainable, others, pixels.astype("float32"), training=False
        )
        return hits + _hits(logits, labels), None

    return jax.lax.scan(step, jnp.int32(0), (images, labels))[0]


def _hits(logits, labels):
    return (logits.argmax(-1) == labels).sum(dtype=jnp.int32)


def limit_threads(threads: int) -> None:
    """Does nothing: XLA takes the cores that the process is bound to."""


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error says that memory ran out."""
    return isinstance(
        error, jax.errors.JaxRuntimeError
    ) and "RESOURCE_EXHAUSTED" in str(error)


def device() -> str:
    """Returns the kind of device that trials run on."""
    return jax.devices()[0].device_kind
