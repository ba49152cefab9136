"""Data sets: where the images and labels of a run come from.

A `Split` gives an example by its index. A `Stream`, for sets too large for
memory, is read file by file, files and examples shuffled by a key.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from keras_regnet import digits
from keras_regnet import errors
from training import augment
from training import config as train_config

_FOLDER = "folder:"
_BUILT_IN = ("digits", "synthetic")
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")

# Sets whose images all have one size up to this side are scaled whole.
_SMALL_SIDE = 64
# Sets up to this size are held in memory, encoded or as pixels.
_IN_MEMORY_BYTES = 2 * 2**30
_READ_BATCH = 512
# Larger ones are read from this many files at a time, in a new order of files
# every epoch, and shuffled within blocks of so many examples.
_FILES_AT_ONCE = 16
_SHUFFLE_BLOCK = 4096

_SYNTHETIC_CLASSES = 1000
_SYNTHETIC_IMAGES = 64
_SYNTHETIC_EXAMPLES = 8192


@dataclasses.dataclass(frozen=True)
class Split:
    """Examples by index.

    Args:
      num_examples: how many.
      read: index (int64 scalar) -> image, label; in graph. The image is
        uint8 (height, width, 3) or the bytes of an image file.
      describe: index -> where the example comes from, for messages.
    """

    num_examples: int
    read: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
    describe: Callable[[int], str]


@dataclasses.dataclass(frozen=True)
class Stream:
    """Examples in sequence.

    Args:
      num_examples: how many.
      examples: key -> dataset of all (bytes of an image file, label), in an
        order that the key (int64 tensor (2,)) decides; None for as stored.
    """

    num_examples: int
    examples: Callable[[tf.Tensor | None], tf.data.Dataset]


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A classification set.

    Args:
      train: what is trained on.
      val: what is evaluated on.
      class_names: name of each label.
      small_images: whether all images have one small size.
    """

    train: Split | Stream
    val: Split | Stream
    class_names: tuple[str, ...]
    small_images: bool


def load(config: train_config.TrainConfig) -> DataSet:
    """Returns the data set a configuration names.

    Args:
      config: `dataset`, `data_dir`, `image_size` and `seed` are read.

    Returns:
      A `DataSet`.

    Raises:
      ValueError: if there is no such set, or something is wrong with it.
    """
    name = config.dataset
    if name.startswith(_FOLDER):
        return _load_folder(pathlib.Path(name[len(_FOLDER) :]).expanduser())
    if name == "digits":
        return _load_digits()
    if name == "synthetic":
        return _load_synthetic(config)
    return _load_tfds(name, config.data_dir)


def samples(split: Split | Stream, count: int) -> list[tf.Tensor]:
    """Returns a few images of a split as uint8, always the same ones."""
    if isinstance(split, Stream):
        sources = [source for source, _ in split.examples(None).take(count)]
    else:
        count = min(count, split.num_examples)
        indices = np.linspace(0, split.num_examples - 1, count)
        sources = [
            split.read(tf.constant(int(index), tf.int64))[0]
            for index in indices
        ]
    return [augment.decode(source) for source in sources]


def find_unreadable(
    split: Split | Stream, indices: Iterable[int]
) -> str | None:
    """Returns what is wrong with the first image that cannot be decoded.

    TensorFlow's decoders do not say which file failed, so after a failure
    the images of the failed steps are read again, one at a time.

    Args:
      split: where the images come from.
      indices: which to look at.

    Returns:
      A message that names the file, or None if all are readable, or if
      they come from a stream, whose files hold many images.
    """
    if isinstance(split, Stream):
        return None
    for index in indices:
        try:
            source, _ = split.read(tf.constant(index, tf.int64))
            augment.decode(source)
        except tf.errors.OpError as error:
            reason = (error.message or "").splitlines() or ["unreadable"]
            return (
                f"Corrupt or unsupported image: {split.describe(int(index))} "
                f"(JPEG, PNG, GIF and BMP are read: {reason[0]})"
            )
    return None


def in_memory(images: np.ndarray, labels: np.ndarray, name: str) -> Split:
    """Returns a split over arrays of pixels or of encoded images."""
    labels = np.asarray(labels, np.int32)
    with tf.device("/cpu:0"):
        images, labels = tf.constant(images), tf.constant(labels)
    return Split(
        num_examples=len(labels),
        read=lambda index: (tf.gather(images, index), tf.gather(labels, index)),
        describe=lambda index: f"example {index} of {name}",
    )


def _load_digits():
    train, test = digits.load("train"), digits.load("test")
    return DataSet(
        train=in_memory(train.images, train.labels, "digits train"),
        val=in_memory(test.images, test.labels, "digits test"),
        class_names=digits.CLASS_NAMES,
        small_images=True,
    )


def _load_synthetic(config):
    """Noise of the training size: times a step without reading anything."""
    rng = np.random.default_rng(config.seed)
    side = config.image_size
    images = rng.integers(0, 256, (_SYNTHETIC_IMAGES, side, side, 3), np.uint8)
    pixels = tf.constant(images)
    split = Split(
        num_examples=_SYNTHETIC_EXAMPLES,
        read=lambda index: (
            tf.gather(pixels, index % _SYNTHETIC_IMAGES),
            tf.cast(index % _SYNTHETIC_CLASSES, tf.int32),
        ),
        describe=lambda index: f"synthetic example {index}",
    )
    return DataSet(
        train=split,
        val=dataclasses.replace(split, num_examples=_SYNTHETIC_IMAGES),
        class_names=tuple(str(label) for label in range(_SYNTHETIC_CLASSES)),
        small_images=True,
    )


def _load_folder(root):
    """Returns the set in root/{train,val}/<class>/<image>."""
    if not root.is_dir():
        raise ValueError(
            "`dataset` names a folder that does not exist. "
            f"Received: dataset='folder:{root}'"
        )
    classes = {}
    for part in ("train", "val"):
        if not (root / part).is_dir():
            raise ValueError(
                "A `folder:` data set must hold train/ and val/ with one "
                f"folder per class. Missing: {root / part}"
            )
        classes[part] = _list_classes(root / part)
    names = tuple(classes["train"])
    if names != tuple(classes["val"]):
        raise ValueError(
            "train/ and val/ must have the same classes. Only in train: "
            f"{sorted(set(names) - set(classes['val']))}, only in val: "
            f"{sorted(set(classes['val']) - set(names))}. Received: {root}"
        )
    return DataSet(
        train=_files_split(classes["train"]),
        val=_files_split(classes["val"]),
        class_names=names,
        small_images=False,
    )


def _list_classes(part):
    """Returns {class name: paths}, both sorted; raises on what is no image."""
    classes = {}
    for folder in _visible(part):
        if not folder.is_dir():
            raise ValueError(
                f"Only class folders belong in {part}. Received: {folder}"
            )
        paths = _visible(folder)
        for path in paths:
            suffix = os.path.splitext(path.name)[1].lower()
            if suffix not in _IMAGE_SUFFIXES:
                raise ValueError(
                    f"Not an image file: {path.path} (allowed: "
                    f"{', '.join(_IMAGE_SUFFIXES)})"
                )
        if not paths:
            raise ValueError(f"A class has no images: {folder.path}")
        classes[folder.name] = [path.path for path in paths]
    if len(classes) < 2:
        raise ValueError(
            f"At least two class folders are needed in {part}. "
            f"Received: {list(classes)}"
        )
    return classes


def _visible(folder):
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if entry.name[0] != "."]
    return sorted(shown, key=lambda entry: entry.name)


def _files_split(classes):
    paths = [path for files in classes.values() for path in files]
    counts = [len(files) for files in classes.values()]
    labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    with tf.device("/cpu:0"):
        path_table, label_table = tf.constant(paths), tf.constant(labels)

    def read(index):
        contents = tf.io.read_file(tf.gather(path_table, index))
        return contents, tf.gather(label_table, index)

    return Split(
        num_examples=len(paths),
        read=read,
        describe=lambda index: paths[index],
    )


def _load_tfds(name, data_dir):
    """Returns a classification set of tensorflow-datasets."""
    # Imported here: it costs two seconds that most runs need not pay.
    import tensorflow_datasets as tfds

    if data_dir and not os.path.isdir(data_dir):
        raise ValueError(
            "`data_dir` must be an existing folder. "
            f"Received: data_dir={data_dir!r}"
        )
    try:
        builder = tfds.builder(name, data_dir=data_dir or None)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        raise _unknown_dataset(name, tfds.list_builders()) from error
    _check_classification(name, builder)
    _prepare(name, builder)
    splits = builder.info.splits
    held_out = [s for s in ("validation", "test", "val") if s in splits]
    if "train" not in splits or not held_out:
        raise ValueError(
            "A data set must have a train split and a validation or test "
            f"split. Received: dataset={name!r} with {sorted(splits)}"
        )
    features = builder.info.features
    shape = features["image"].shape
    return DataSet(
        train=_tfds_split(tfds, builder, "train"),
        val=_tfds_split(tfds, builder, held_out[0]),
        class_names=tuple(features["label"].names),
        small_images=None not in shape and max(shape[:2]) <= _SMALL_SIDE,
    )


def _unknown_dataset(name, tfds_names):
    close = errors.unknown_value("dataset", name, [*_BUILT_IN, *tfds_names])
    hint = str(close).partition(" Allowed:")[0]
    return ValueError(
        f"{hint} Allowed: 'digits', 'synthetic', 'folder:PATH' and the image "
        "classification sets of tensorflow-datasets. "
        f"Received: dataset={name!r}"
    )


def _check_classification(name, builder):
    features = builder.info.features
    if not {"image", "label"} <= set(features or ()):
        raise ValueError(
            "`dataset` must be an image classification set, with features "
            f"'image' and 'label'. Received: dataset={name!r} with "
            f"{sorted(features or ())}"
        )


def _prepare(name, builder):
    if builder.is_prepared():
        return
    try:
        builder.download_and_prepare()
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            "The data set is not prepared and could not be downloaded; "
            "--data_dir says where prepared sets are. Received: "
            f"dataset={name!r}, folder: {builder.data_dir} ({reason})"
        ) from error


def _tfds_split(tfds, builder, split_name):
    """Returns a split in memory if it fits, small images decoded."""
    info = builder.info.splits[split_name]
    features = builder.info.features
    shape = features["image"].shape
    fixed = None not in shape
    size = info.num_examples * int(np.prod(shape)) if fixed else info.num_bytes
    if size > _IN_MEMORY_BYTES:
        return _tfds_stream(tfds, builder, split_name)
    decoders = None if fixed else {"image": tfds.decode.SkipDecoding()}
    examples = builder.as_dataset(
        split=split_name, decoders=decoders, shuffle_files=False
    ).map(lambda example: (example["image"], example["label"]))
    batches = list(examples.batch(_READ_BATCH).as_numpy_iterator())
    images = np.concatenate([images for images, _ in batches])
    if fixed and images.shape[-1] == 1:
        images = np.repeat(images, 3, axis=-1)
    labels = np.concatenate([labels for _, labels in batches])
    return in_memory(images, labels, f"{builder.info.name} {split_name}")


def _tfds_stream(tfds, builder, split_name):
    """Returns a split that is read from its TFRecord files."""
    info = builder.info.splits[split_name]
    if builder.info.file_format.value != "tfrecord":
        raise ValueError(
            "A large data set must be stored as tfrecord. Received: "
            f"{builder.info.full_name} as {builder.info.file_format.value}"
        )
    decoders = {"image": tfds.decode.SkipDecoding()}
    files = [str(path) for path in info.filepaths]

    def parse(record):
        example = builder.info.features.deserialize_example(
            record, decoders=decoders
        )
        return example["image"], tf.cast(example["label"], tf.int32)

    def examples(key):
        if key is None:
            return tf.data.TFRecordDataset(files).map(parse)
        order = tf.random.experimental.index_shuffle(
            tf.range(len(files), dtype=tf.int64), key, len(files) - 1
        )
        records = tf.data.Dataset.from_tensor_slices(
            tf.gather(tf.constant(files), order)
        ).interleave(
            tf.data.TFRecordDataset,
            cycle_length=_FILES_AT_ONCE,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        # Not Dataset.shuffle: it takes no tensor as its seed where TensorFlow's
        # global seed is 0.
        blocks = records.batch(_SHUFFLE_BLOCK).enumerate()
        return (
            blocks.map(lambda number, block: _shuffled(block, key, number))
            .prefetch(1)
            .unbatch()
            .map(parse, tf.data.AUTOTUNE)
        )

    return Stream(info.num_examples, examples)


def _shuffled(block, key, number):
    size = tf.size(block, tf.int64)
    order = tf.random.experimental.index_shuffle(
        tf.range(size),
        tf.stack([key[0] + (number + 1) * 2**32, key[1]]),
        size - 1,
    )
    return tf.gather(block, order)
