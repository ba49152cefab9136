"""What the trainer's tests share. Imported before TensorFlow starts.

Makes two logical CPU devices, so that distribution is tested without a GPU;
they can only be made before TensorFlow has used one.
"""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

import keras_regnet
from training.config import config as train_config
from training.config import network as network_lib
from training.data import dataset
from training.trainer import hooks
from training.trainer import strategy
from training.trainer import train

CPU_DEVICES = strategy.split_cpu(2)

# Two stages of one block: traces in a second.
TINY = keras_regnet.RegNetConfig(
    depth=2, w_0=8, w_a=8, w_m=2.0, group_width=4, stem_width=8
)


def write_network(folder: str) -> str:
    """Writes the tiny network where --variant finds it."""
    path = os.path.join(folder, "tiny.json")
    pathlib.Path(path).write_text(TINY.to_json())
    return path


def tiny_config(folder: str, **fields: Any) -> train_config.TrainConfig:
    """Returns a run of the tiny network on the digits, two epochs long.

    Args:
      folder: an existing folder, in which the run is kept.
      **fields: differ from that.

    Returns:
      A configuration.
    """
    defaults = {
        "variant": write_network(folder),
        "workdir": os.path.join(folder, "run"),
        "strategy": "one_device",
        "dataset": "digits",
        "image_size": 32,
        "flip": False,
        "epochs": 2,
        "global_batch_size": 256,
        "base_learning_rate": 0.05,
        "warmup_epochs": 1.0,
    }
    return train_config.TrainConfig(**{**defaults, **fields})


def pipeline_config(**fields: Any) -> train_config.TrainConfig:
    """Returns a configuration of three epochs, without augmentation."""
    defaults: dict[str, Any] = {
        "image_size": 32,
        "augmentation": "none",
        "flip": False,
        "epochs": 3,
        "global_batch_size": 8,
    }
    return train_config.TrainConfig(**{**defaults, **fields})


def noise_set(num_train: int, num_val: int, side: int = 32) -> dataset.DataSet:
    """Returns a set of seeded noise with ten classes, told by brightness.

    The label of an example is its index modulo 10, and its top left pixel
    holds its index.
    """
    return dataset.DataSet(
        train=_noise_split(num_train, side, seed=1),
        val=_noise_split(num_val, side, seed=2),
        class_names=tuple("0123456789"),
        small_images=True,
    )


def _noise_split(count, side, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 64, (count, side, side, 3), np.uint8)
    indices = np.arange(count)
    images += (indices % 10 * 19).astype(np.uint8)[:, None, None, None]
    images[:, 0, 0, 0] = indices % 256
    images[:, 0, 0, 1] = indices // 256
    return dataset.in_memory(images, indices % 10, "noise")


def jpeg(side: tuple[int, int] = (60, 80), seed: int = 0) -> bytes:
    """Returns a JPEG of smooth noise, height and width `side`."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
    image = tf.image.resize(coarse, side, method="bicubic")
    image = tf.cast(tf.clip_by_value(image, 0, 255), tf.uint8)
    return tf.io.encode_jpeg(image, quality=95).numpy()


def write_folder(
    root: pathlib.Path,
    images_per_class: int = 6,
    class_names: Sequence[str] = ("cat", "dog"),
) -> None:
    """Writes a `folder:` data set, of two classes by default."""
    seed = 0
    for part in ("train", "val"):
        for name in class_names:
            folder = root / part / name
            folder.mkdir(parents=True)
            for index in range(images_per_class):
                seed += 1
                path = folder / f"{index}.jpg"
                path.write_bytes(jpeg((60 + seed, 80), seed))


class NoExport(hooks.Hooks):
    """Leaves model.keras and saved_model/ out: they take twenty seconds.

    Attributes:
      exports: the weights by layer that each export would have written.
    """

    def __init__(self):
        self.exports = []

    def before_export(self, state):
        self.exports.append(network_lib.layer_weights(state.model))
        return False


class Killed(BaseException):
    """Stands in for a signal: nothing in the trainer catches it."""


class StopAt(NoExport):
    """Raises `Killed`, or sends a signal, in the given call of a hook."""

    def __init__(self, hook: str, call: int, by: int = 0):
        """Counts nothing yet.

        Args:
          hook: "before_steps" or "before_evaluation".
          call: which call of it, counted from 1.
          by: signal; 0 raises.
        """
        super().__init__()
        self._hook = hook
        self._calls_left = call
        self._signal = by

    def before_steps(self, state):
        self._count("before_steps")

    def before_evaluation(self, state):
        self._count("before_evaluation")

    def _count(self, hook):
        if hook != self._hook:
            return
        self._calls_left -= 1
        if self._calls_left:
            return
        if not self._signal:
            raise Killed
        os.kill(os.getpid(), self._signal)


def train_until_killed(
    config: train_config.TrainConfig, hook: str, call: int
) -> None:
    """Trains until it is stopped by `Killed`, and makes sure that it is.

    Args:
      config: the run.
      hook: see `StopAt`.
      call: which call of it.

    Raises:
      AssertionError: if the run ends before that.
    """
    try:
        train.train_and_evaluate(config, StopAt(hook, call))
    except Killed:
        return
    raise AssertionError(f"there were fewer than {call} calls of {hook}")


ATTRIBUTES = ("bright", "striped")


def attributes(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns images of two independent attributes, which pixels tell.

    Returns:
      uint8 pixels (count, 32, 32, 3), and zeros and ones (count, 2): whether an
      image is bright, and whether it has stripes. All four cases are there.
    """
    rng = np.random.default_rng(seed)
    labels = np.stack([np.arange(count) % 2, np.arange(count) // 2 % 2], 1)
    images = rng.normal(90, 12, (count, 32, 32, 3))
    images += 60 * labels[:, 0, None, None, None]
    stripes = np.where(np.arange(32) // 4 % 2, 30.0, -30.0)
    images += (labels[:, 1, None] * stripes)[:, None, :, None]
    return np.uint8(np.clip(images, 0, 255)), labels.astype(np.uint8)


def write_attributes(root: pathlib.Path, count: int = 64) -> None:
    """Writes `attributes` as a `folder:` data set with one-hot CSV files."""
    for seed, part in enumerate(("train", "valid")):
        folder = root / part
        folder.mkdir(parents=True)
        lines = ["filename, " + ", ".join(ATTRIBUTES)]
        for index, (image, own) in enumerate(
            zip(*attributes(count, seed), strict=True)
        ):
            name = f"{index:03d}.png"
            (folder / name).write_bytes(tf.io.encode_png(image).numpy())
            lines.append(f"{name}, {own[0]}, {own[1]}")
        (folder / "_classes.csv").write_text("\n".join(lines) + "\n")
