"""Training and inference on an accelerator, by Keras on JAX or PyTorch."""

from typing import Any

import keras_regnet

# isort: split
import keras
import numpy as np

from benchmarks.cases import steps

_BACKEND = keras.backend.backend()
PACKAGES = ("keras", _BACKEND)


def name() -> str:
    """Returns the name of this process's accelerator, "" for none."""
    if _BACKEND == "jax":
        import jax

        device = jax.devices()[0]
        return "" if device.platform == "cpu" else device.device_kind
    if _BACKEND == "torch":
        import torch

        here = torch.cuda.is_available()
        return torch.cuda.get_device_name() if here else ""
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    return found[0].name if found else ""


def build(job: dict[str, Any]) -> keras.Model:
    """Returns a network that is compiled for training.

    Args:
      job: also dtype, a policy of Keras.
    """
    keras.config.set_dtype_policy(job["dtype"])
    model = keras_regnet.build(
        job["network"],
        input_shape=(job["size"], job["size"], 3),
        classes=steps.CLASSES,
        classifier_activation=None,
        include_preprocessing=False,
    )
    model.compile(
        keras.optimizers.SGD(
            steps.LEARNING_RATE, momentum=steps.MOMENTUM, nesterov=True
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def multiply_adds(model: keras.Model, job: dict[str, Any]) -> int:
    """Returns those of a forward pass of one image."""
    return keras_regnet.complexity(
        keras_regnet.get_config(job["network"]),
        (job["size"], job["size"], 3),
        classes=steps.CLASSES,
    ).flops


def make_step(model: keras.Model, job: dict[str, Any]):
    """Returns a step of Keras's own loop; its images lie in memory."""
    shape = (job["batch"], job["size"], job["size"], 3)
    images = np.random.default_rng(0).normal(size=shape).astype("float32")
    labels = np.arange(job["batch"]) % steps.CLASSES
    images = keras.ops.convert_to_tensor(images)
    if job["pass"] == "training":
        return lambda: float(model.train_on_batch(images, labels))
    return lambda: model.predict_on_batch(images)
