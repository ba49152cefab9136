"""Input pipelines of TensorFlow: the trainer's, and tensorflow-datasets'.

All read the same JPEGs, cut a random part of random aspect, scale it
bilinearly, mirror half of them and give float batches. Every turn starts
afresh, and its first batches are not timed.
"""

import dataclasses
import time
from typing import Any

# Before TensorFlow, which it has turn oneDNN on.
from keras_regnet import onednn  # noqa: F401

# isort: split
import tensorflow as tf

from benchmarks.cases import keras_networks
from benchmarks.harness import worker
from training.config import config as train_config
from training.config import recipes
from training.data import load
from training.data import pipeline as train_data

_MIN_AREA = 0.08
_BUFFER = 1024


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Prepares a pipeline.

    Args:
      job: photos, a folder with train/ and val/; size, batch, batches of a
        turn, untimed batches before them; form: "ours", "tfds", or a recipe.
    """
    keras_networks.limit_threads(job["threads"])
    make = _tfds(job) if job["form"] == "tfds" else _ours(job)
    packages = ["tensorflow", "tensorflow-datasets"]

    def turn():
        iterator = iter(make())
        for _ in range(job["untimed"]):
            next(iterator)
        start = time.perf_counter()
        for _ in range(job["batches"]):
            next(iterator)
        images = job["batches"] * job["batch"]
        return {"seconds": (time.perf_counter() - start) / images}

    turn()
    return worker.Prepared(turn, worker.versions(*packages), {"images": 1})


def _ours(job):
    fields = {
        "dataset": f"folder:{job['photos']}",
        "image_size": job["size"],
        "global_batch_size": job["batch"],
        "epochs": 1_000_000,
    }
    if job["form"] == "ours":
        config = train_config.TrainConfig(
            min_crop_area=_MIN_AREA, crop_aspect="log_uniform", **fields
        )
    else:
        config = dataclasses.replace(recipes.get(job["form"]), **fields)
    data = load.load_dataset(config)
    return lambda: train_data.train_pipeline(data, config)


def _tfds(job):
    import tensorflow_datasets as tfds

    builder = tfds.ImageFolder(job["photos"])
    size = job["size"]

    def augmented(image, label):
        begin, window, _ = tf.image.sample_distorted_bounding_box(
            tf.shape(image),
            tf.zeros([1, 0, 4]),
            area_range=(_MIN_AREA, 1.0),
            aspect_ratio_range=(3 / 4, 4 / 3),
            max_attempts=10,
            use_image_if_no_bounding_boxes=True,
        )
        image = tf.image.resize(tf.slice(image, begin, window), [size, size])
        return tf.image.random_flip_left_right(image), label

    def pipeline():
        return (
            builder.as_dataset(
                split="train", as_supervised=True, shuffle_files=True
            )
            .repeat()
            .shuffle(_BUFFER)
            .map(augmented, tf.data.AUTOTUNE)
            .batch(job["batch"], drop_remainder=True)
            .prefetch(tf.data.AUTOTUNE)
        )

    return pipeline
