"""What a data set is made of: examples by index, or in sequence.

A `Split` gives an example by its index. A `Stream`, for sets too large for
memory, is read file by file, files and examples shuffled by a key.
"""

import dataclasses
import os
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_regnet import image_bytes
from keras_regnet import image_files

# Record files up to this size are held in memory.
IN_MEMORY_BYTES = 2 * 2**30
# Larger ones are read from this many files at a time, in a new order of files
# every epoch, and shuffled within blocks of so many examples.
_FILES_AT_ONCE = 16
_SHUFFLE_BLOCK = 4096
_READ_BATCH = 512


@dataclasses.dataclass(frozen=True)
class Split:
    """Examples by index.

    Args:
      num_examples: number of images.
      read: index (int64 scalar) -> image, label; in graph. The image is
        uint8 (height, width, 3) or the bytes of an image file, the label an
        int32 scalar, or float32 (classes,) of zeros and ones.
      describe: index -> where the example comes from, for messages.
      labels: int32 array (num_examples,), or uint8 (num_examples, classes) of
        zeros and ones; None if all files would have to be read for it.
      in_memory: whether reading touches no files.
      digest: of the list of files or arrays that the examples were taken
        from, see `identity`; "" if there are none.
    """

    num_examples: int
    read: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
    describe: Callable[[int], str]
    labels: np.ndarray | None
    in_memory: bool = True
    digest: str = ""

    def subset(self, indices: np.ndarray) -> "Split":
        """Returns the examples at some indices, in their order."""
        indices = np.asarray(indices, np.int64)
        with tf.device("/cpu:0"):
            table = tf.constant(indices)
        return dataclasses.replace(
            self,
            num_examples=len(indices),
            read=lambda index: self.read(tf.gather(table, index)),
            describe=lambda index: self.describe(int(indices[index])),
            labels=None if self.labels is None else self.labels[indices],
        )

    def sources(self) -> tf.data.Dataset:
        """Returns all images, or their files, in order."""
        return tf.data.Dataset.range(self.num_examples).map(
            lambda index: self.read(index)[0],
            tf.data.AUTOTUNE,
            deterministic=True,
        )


@dataclasses.dataclass(frozen=True)
class Stream:
    """Examples in sequence.

    Args:
      num_examples: number of images.
      examples: key -> dataset of all (bytes of an image file, label), in an
        order that the key (int64 tensor (2,)) decides; None for as stored.
      name: of the set and its part, for messages.
      digest: as of `Split`.
    """

    num_examples: int
    examples: Callable[[tf.Tensor | None], tf.data.Dataset]
    name: str
    digest: str = ""


class NoEvaluationImagesError(ValueError):
    """A set has images for training alone; `val_fraction` can hold some out."""


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A classification set: splits for training and for evaluation.

    Args:
      train: images for training.
      val: images for evaluation.
      class_names: in the order of the labels.
      small_images: whether all images have one small size.
      multilabel: whether an image has any number of labels, and not one.
      read_test: returns the images of a test, of a set that has some beside
        those of `val`; a run does not look at them.
    """

    train: Split | Stream
    val: Split | Stream
    class_names: tuple[str, ...]
    small_images: bool
    multilabel: bool = False
    read_test: Callable[[], Split | Stream] | None = None


def in_memory(images: np.ndarray, labels: np.ndarray, name: str) -> Split:
    """Returns a split over arrays of pixels or of encoded images."""
    labels = label_array(labels)
    with tf.device("/cpu:0"):
        image_table = tf.constant(images)
    read_label = label_reader(labels)
    return Split(
        num_examples=len(labels),
        read=lambda index: (tf.gather(image_table, index), read_label(index)),
        describe=lambda index: f"example {index} of {name}",
        labels=labels,
    )


def from_files(paths: Sequence[str], labels: np.ndarray, digest: str) -> Split:
    """Returns a split over image files.

    Args:
      paths: of the files.
      labels: of each, as of `Split`.
      digest: as of `Split`.
    """
    labels = label_array(labels)
    with tf.device("/cpu:0"):
        # In bytes: a name need not be UTF-8.
        path_table = tf.constant([os.fsencode(path) for path in paths])
    read_label = label_reader(labels)
    return Split(
        num_examples=len(paths),
        read=lambda index: (
            tf.io.read_file(tf.gather(path_table, index)),
            read_label(index),
        ),
        describe=lambda index: paths[index],
        labels=labels,
        in_memory=False,
        digest=digest,
    )


def label_array(labels: np.ndarray | Sequence) -> np.ndarray:
    """Returns labels as those of a `Split`."""
    labels = np.asarray(labels)
    return labels.astype(np.uint8 if labels.ndim == 2 else np.int32)


def class_counts(labels: np.ndarray, classes: int) -> np.ndarray:
    """Returns the images of each class, of labels as those of a `Split`."""
    if labels.ndim == 2:
        return labels.sum(axis=0, dtype=np.int64)
    return np.bincount(labels, minlength=classes)


def label_reader(labels: np.ndarray) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns what reads the label of an index, in graph, as `Split.read`."""
    with tf.device("/cpu:0"):
        table = tf.constant(labels)
    if labels.ndim == 1:
        return lambda index: tf.gather(table, index)
    return lambda index: tf.cast(tf.gather(table, index), tf.float32)


def read_all(examples: tf.data.Dataset, name: str) -> Split:
    """Returns a split in memory of a dataset's (image, label) pairs."""
    batches = list(examples.batch(_READ_BATCH).as_numpy_iterator())
    images = np.concatenate([images for images, _ in batches])
    if images.ndim == 4 and images.shape[-1] == 1:
        images = np.repeat(images, 3, axis=-1)
    labels = np.concatenate([labels for _, labels in batches])
    return in_memory(images, labels, name)


def load_into_memory(split: Split, name: str) -> Split:
    """Returns a split in memory of one that reads files."""
    examples = tf.data.Dataset.range(split.num_examples).map(
        split.read, tf.data.AUTOTUNE, deterministic=True
    )
    return read_all(examples, name)


def from_records(
    files: Sequence[str],
    num_examples: int,
    parse: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
    name: str,
) -> Stream:
    """Returns a stream of TFRecord files: files and blocks are shuffled.

    Args:
      files: their paths.
      num_examples: records in all of them.
      parse: record -> bytes of an image file, int32 label; in graph.
      name: of the set and its part, for messages.
    """

    def examples(key):
        if key is None:
            return tf.data.TFRecordDataset(files).map(parse, tf.data.AUTOTUNE)
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

    return Stream(num_examples, examples, name)


def _shuffled(block, key, number):
    size = tf.size(block, tf.int64)
    order = tf.random.experimental.index_shuffle(
        tf.range(size),
        tf.stack([key[0] + (number + 1) * 2**32, key[1]]),
        size - 1,
    )
    return tf.gather(block, order)


def sample_images(split: Split | Stream, count: int) -> list[tf.Tensor]:
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
    return [image_files.decode(source) for source in sources]


def readable(split: Split) -> np.ndarray:
    """Returns the indices of the examples whose images can be decoded."""

    def decoded(index):
        image = image_files.decode(split.read(index)[0])
        return index, tf.size(image)

    indices = (
        tf.data.Dataset.range(split.num_examples)
        .map(decoded, tf.data.AUTOTUNE, deterministic=True)
        .ignore_errors()
    )
    return np.array(
        [index for index, _ in indices.as_numpy_iterator()], np.int64
    )


def find_unreadable(
    split: Split | Stream, indices: Iterable[int]
) -> str | None:
    """Returns a message about the first image that cannot be decoded.

    TensorFlow's decoders do not say which file failed, so after a failure
    the images of the failed steps are read again, one at a time.

    Args:
      split: where the images come from.
      indices: which to look at; of a stream, all are.

    Returns:
      A message that names the file, or the position in a stream as it is
      stored; None if all are readable.
    """
    if isinstance(split, Stream):
        reads = (
            (lambda source=source: source, f"record {number} of {split.name}")
            for number, (source, _) in enumerate(split.examples(None))
        )
    else:
        reads = (
            (
                lambda index=index: split.read(tf.constant(index, tf.int64))[0],
                split.describe(int(index)),
            )
            for index in indices
        )
    for read, name in reads:
        try:
            image_files.decode(read())
        except tf.errors.OpError as error:
            reason = image_bytes.reason(error)
            return f"Corrupt or unsupported image: {name} ({reason})"
    return None
