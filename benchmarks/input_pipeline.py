"""Images per second of the input pipeline, against two others.

    python benchmarks/input_pipeline.py --folder=PHOTOS \
        --torch_python=PYTHON_WITH_TORCH

PHOTOS has train/ and val/ with one folder per class in each. All read the
same JPEGs, cut a random part of random aspect, scale it bilinearly, mirror
half of them and give float batches; the two others as their documentation
has it: tensorflow-datasets' ImageFolder decodes whole images and TensorFlow's
own operations cut them; torchvision's transforms run in a DataLoader with a
worker for every thread. Every turn starts afresh, and its first batches are
not timed. The rows of recipes are ours alone: what their augmentation costs.
"""

import argparse
import dataclasses
import os
import pathlib
import statistics
import sys
import time

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

# Before TensorFlow, which it has turn oneDNN on.
from keras_regnet import onednn  # noqa: F401

# isort: split
import tensorflow as tf

from benchmarks import timing
from keras_regnet import processor
from training.config import config as train_config
from training.config import recipes
from training.data import load
from training.data import pipeline as train_data

_MIN_AREA = 0.08
_BUFFER = 1024
# Batches that fill the queues, before the clock starts.
_UNTIMED = 4

_TORCH = """
import time, torch
try:
    import torchvision
except RuntimeError:
    # Its compiled operators may be missing; no transform needs them.
    operators = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operators.define(
            name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        )
    import torchvision
from torchvision import datasets, transforms
root, size, batch, workers, untimed = sys.argv[1], *map(int, sys.argv[2:])
images = datasets.ImageFolder(root, transforms.Compose([
    transforms.RandomResizedCrop(size),
    transforms.RandomHorizontalFlip(),
    transforms.ToTensor(),
]))
images.samples *= 100
torch.set_num_threads(1)
reply({m.__name__: m.__version__ for m in (torch, torchvision)})
for batches in jobs():
    loader = iter(torch.utils.data.DataLoader(
        images, batch, shuffle=True, num_workers=workers, drop_last=True,
    ))
    for _ in range(untimed):
        next(loader)
    start = time.perf_counter()
    for _ in range(batches):
        next(loader)
    seconds = time.perf_counter() - start
    del loader
    reply(seconds)
"""


def _our_config(arguments, recipe=None):
    fields = {
        "dataset": f"folder:{arguments.folder}",
        "image_size": arguments.image_size,
        "global_batch_size": arguments.batch_size,
        "epochs": 1_000_000,
    }
    if recipe:
        return dataclasses.replace(recipes.get(recipe), **fields)
    return train_config.TrainConfig(
        min_crop_area=_MIN_AREA, crop_aspect="log_uniform", **fields
    )


def _ours(arguments, recipe=None):
    config = _our_config(arguments, recipe)
    data = load.load_dataset(config)
    return lambda: train_data.train_pipeline(data, config)


def _tfds(arguments):
    import tensorflow_datasets as tfds

    builder = tfds.ImageFolder(arguments.folder)
    size = arguments.image_size

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
            .batch(arguments.batch_size, drop_remainder=True)
            .prefetch(tf.data.AUTOTUNE)
        )

    return pipeline


def _timed(pipeline):
    def turn(batches):
        iterator = iter(pipeline())
        for _ in range(_UNTIMED):
            next(iterator)
        start = time.perf_counter()
        for _ in range(batches):
            next(iterator)
        return time.perf_counter() - start

    return turn


def _cases(arguments, children):
    """Returns turns, functions from batches to seconds, by name."""
    turns = {
        "keras_regnet": _timed(_ours(arguments)),
        "tensorflow-datasets": _timed(_tfds(arguments)),
    }
    if arguments.torch_python:
        child = timing.Child(
            "torchvision",
            arguments.torch_python,
            _TORCH,
            pathlib.Path(arguments.folder) / "train",
            arguments.image_size,
            arguments.batch_size,
            timing.cpu_threads(),
            _UNTIMED,
        )
        children.append(child)
        turns["torchvision"] = child.call
    for recipe in arguments.recipes:
        turns[f"recipe {recipe}"] = _timed(_ours(arguments, recipe))
    return turns


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Returns the record of a measurement.

    Args:
      arguments: the command line's.

    Returns:
      What was measured with, and images/s per core, median and all rounds,
      by case.
    """
    children = []
    try:
        turns = _cases(arguments, children)
        rates = {name: [] for name in turns}
        for _ in range(arguments.rounds):
            for name, turn in turns.items():
                seconds = turn(arguments.batches)
                images = arguments.batches * arguments.batch_size
                rates[name].append(images / seconds / timing.cpu_threads())
        versions = {"tensorflow": tf.__version__}
        for child in children:
            versions.update(child.greeting)
    finally:
        for child in children:
            child.close()
    return {
        "cpu": timing.cpu_model(),
        "threads": timing.cpu_threads(),
        "setting": str(processor.setting()),
        "image_size": arguments.image_size,
        "batch_size": arguments.batch_size,
        "versions": versions,
        "images_per_second_per_core": {
            name: {
                "median": round(statistics.median(values), 1),
                "rounds": [round(value, 1) for value in values],
            }
            for name, values in rates.items()
        },
    }


def main() -> None:
    """Measures, prints a table, and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", required=True)
    parser.add_argument("--torch_python", default="")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recipes", nargs="*", default=["paper", "modern"])
    parser.add_argument("--output", default="")
    arguments = parser.parse_args()
    record = measure(arguments)
    for name, rate in record["images_per_second_per_core"].items():
        print(f"{name:22s} {rate['median']:8.1f} images/s per core")
    if arguments.output:
        timing.write_json(arguments.output, record)


if __name__ == "__main__":
    main()
