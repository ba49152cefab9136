"""Images to calibrate and to compare with: a folder's or a data set's.

They are prepared as the trainer prepares its evaluation images.
"""

import dataclasses
import pathlib
from collections.abc import Collection
from collections.abc import Sequence

import numpy as np

from keras_regnet import image_folder
from keras_regnet import image_sources
from keras_regnet.center_crop import CenterCrop
from keras_regnet.images import center_crop

# Images up to this side are scaled whole.
_SMALL_SIDE = 64


@dataclasses.dataclass(frozen=True)
class Images:
    """Images of one size, and what they show.

    Args:
      pixels: uint8 (n, height, width, channels).
      labels: class of each; None where the source has none.
      class_names: in the order of the labels.
      others: files of the folder that are not images, which were left out.
    """

    pixels: np.ndarray
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def load(
    source: str,
    image_size: int | tuple[int, int],
    count: int = 256,
    data_dir: str | None = None,
    training: bool = False,
    channels: int = 3,
    crop: CenterCrop | None = None,
) -> Images:
    """Returns images of a folder or of a tensorflow-datasets set.

    Args:
      source: a folder, searched recursively, with folders of classes, in
        train/ and val/ or without; or the name of a set such as "cifar10".
      image_size: side of the images, or (height, width).
      count: at most so many, spread over the whole.
      data_dir: where tensorflow-datasets keeps its sets.
      training: of a set, take training images, the first of them, which are
        in no order; else held-out ones.
      channels: of a folder's images, 3 for RGB, 1 for gray.
      crop: how images are scaled and cropped; None for the paper's way.

    Returns:
      `Images`, the same ones every time.

    Raises:
      ValueError: if there is no such folder or set, or it has no images.
    """
    size = image_size if isinstance(image_size, tuple) else (image_size,) * 2
    crop = crop or CenterCrop()
    path = pathlib.Path(source).expanduser()
    if path.is_dir():
        return _from_folder(path, size, count, channels, crop)
    return _from_tfds(source, size, count, data_dir, training, crop)


def _from_folder(folder, size, count, channels, crop):
    files = image_folder.files_below(folder)
    if not files.images:
        raise ValueError(
            f"No images ({', '.join(image_folder.SUFFIXES)}) in {folder} or "
            "below it"
        )
    classes = image_folder.class_names(files.images, folder)
    names = sorted(set(classes))
    chosen = _spread(range(len(classes)), count)
    pixels = []
    for index in chosen:
        file = pathlib.Path(files.images[index])
        image = image_sources.decode(file.read_bytes(), channels, str(file))
        pixels.append(_rounded(center_crop(image, size, crop)))
    found = Images(np.stack(pixels), others=tuple(files.others))
    if len(names) == 1:
        return found
    labels = np.array([names.index(classes[index]) for index in chosen])
    return dataclasses.replace(found, labels=labels, class_names=tuple(names))


def _from_tfds(name, size, count, data_dir, training, crop):
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir)
        splits = builder.info.splits
        split = next(s for s in _split_names(training) if s in splits)
        total = splits[split].num_examples
        chosen: Collection[int] = set(_spread(range(total), count))
        if training:
            # The rest of a large set need not be read.
            chosen = set(range(min(count, total)))
            split = f"{split}[:{count}]"
        stored = tfds.as_numpy(builder.as_dataset(split=split))
        class_names = tuple(builder.info.features["label"].names)
    except (
        tfds.core.DatasetNotFoundError,
        StopIteration,
        KeyError,
        AttributeError,
        AssertionError,
    ) as error:
        raise ValueError(
            "`source` must be a folder of images or the name of a prepared "
            "classification set of tensorflow-datasets. Received: "
            f"source={name!r}"
        ) from error
    pixels, labels = [], []
    for index, example in enumerate(stored):
        if index in chosen:
            pixels.append(_rounded(_fitted(example["image"], size, crop)))
            labels.append(int(example["label"]))
    return Images(np.stack(pixels), np.array(labels), class_names)


def _split_names(training):
    held_out = ("validation", "test")
    return ("train", *held_out) if training else (*held_out, "train")


def _fitted(pixels, size, crop):
    """Returns small images to their edges, as the trainer evaluates them."""
    import tensorflow as tf

    pixels = tf.constant(pixels)
    if max(pixels.shape[:2]) <= _SMALL_SIDE:
        crop = dataclasses.replace(crop, fraction=1.0)
    return center_crop(pixels, size, crop)


def _spread(items: Sequence, count: int) -> list:
    positions = np.linspace(0, len(items) - 1, min(count, len(items)))
    return [items[round(position)] for position in positions]


def _rounded(image):
    return np.clip(np.rint(np.asarray(image)), 0, 255).astype(np.uint8)
