"""The input pipeline.

The order of an epoch is a permutation of the indices of a `Split`, or of the
files and blocks of a `Stream`, keyed by seed and epoch. What a step sees is a
pure function of (seed, step): a run may start at any step, and no state of
the pipeline is saved.

Elements are dicts until they are batches: "image" (as stored, then augmented),
"label", and what else a stage needs.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from keras_regnet import image_files
from keras_regnet.center_crop import CenterCrop
from training.config import config as train_config
from training.data import augment
from training.data import decode
from training.data.dataset import DataSet
from training.data.dataset import Split
from training.data.dataset import Stream
from training.data.mixup import mix
from training.data.mixup import Mixing

# What mixing needs of an element, beside image and label.
_MIXED_BY = ("epoch", "position")


@dataclasses.dataclass(frozen=True)
class Shard:
    """The part of every global batch that one input pipeline makes.

    Args:
      index: which pipeline.
      count: how many pipelines there are.
      batch_size: images per replica; what the pipeline batches by.
    """

    index: int = 0
    count: int = 1
    batch_size: int = 1


def steps_per_epoch(
    split: Split | Stream, config: train_config.TrainConfig
) -> int:
    """Returns the full batches in an epoch; what is left over is left out.

    Another part is left out in every epoch, as the order changes.

    Raises:
      ValueError: if there is not one full batch.
    """
    steps = split.num_examples // config.global_batch_size
    if not steps:
        raise ValueError(
            "`global_batch_size` must not exceed the number of training "
            f"images. Received: global_batch_size={config.global_batch_size}"
            f", training images: {split.num_examples}"
        )
    return steps


def training_order(
    split: Split, seed: int, epoch: tf.Tensor, position: tf.Tensor
) -> tf.Tensor:
    """Returns the index of the example at a position in an epoch.

    Over all positions (int64 scalar or vector) it is a permutation.
    """
    return tf.random.experimental.index_shuffle(
        position,
        seed=tf.stack([tf.cast(seed, tf.int64), epoch]),
        max_index=tf.constant(split.num_examples - 1, tf.int64),
    )


def example_at(
    split: Split,
    config: train_config.TrainConfig,
    epoch: tf.Tensor,
    position: tf.Tensor,
) -> tf.Tensor:
    """Returns the index of the example at a position, repetitions counted.

    The repetitions of an image are as far apart within its batch as can be,
    so that they reach different replicas.

    Args:
      split: the training split.
      config: `seed`, `global_batch_size`, `repeated_augmentation` are read.
      epoch: int64 scalar.
      position: int64 scalar or vector in [0, steps * global_batch_size).
    """
    batch = config.global_batch_size
    distinct = batch // config.repeated_augmentation
    position = position // batch * distinct + position % batch % distinct
    return training_order(split, config.seed, epoch, position)


# Nothing in the pipelines branches on a tensor in Python: to rewrite it all as
# if it did took most of the time to a run's first step.
_as_written = tf.autograph.experimental.do_not_convert


@_as_written
def train_pipeline(
    data: DataSet,
    config: train_config.TrainConfig,
    start_step: int = 0,
    shard: Shard | None = None,
) -> tf.data.Dataset:
    """Returns batches of images and labels from a step to the run's end.

    With `repeated_augmentation` r, a batch holds one r-th as many images,
    each r times and augmented anew, so that an epoch of as many steps sees
    one r-th of the set.

    Args:
      data: the set; its training split is used.
      config: the run's configuration.
      start_step: step from which the run resumes.
      shard: part of each global batch; default all of it, in one piece.

    Returns:
      A dataset of float32 images (batch, height, width, 3) and int32 labels
      (batch,), or float32 targets (batch, classes) where images have several
      labels or batches are mixed; one element per replica and step.
    """
    split = data.train
    shard = shard or Shard(batch_size=config.global_batch_size)
    augmentation = augment.Augmentation.from_config(config, data.small_images)

    def augmented(element, image, label):
        random = element["random"]
        if augmentation.kind == "random_resized_crop":
            pixels = decode.decode_crop(
                image, random.crop_tries, augmentation.image_size
            )
        else:
            pixels = image_files.decode(image)
        return {
            "image": augment.augment_image(pixels, augmentation, random),
            "label": label,
            **{name: element[name] for name in _MIXED_BY if name in element},
        }

    elements = _elements(split, config, augmentation, start_step, shard)
    if isinstance(split, Split):
        examples = elements.map(
            lambda element: augmented(element, *split.read(element["index"])),
            tf.data.AUTOTUNE,
        )
    else:
        stored = _stored(split, config, start_step, shard)
        examples = tf.data.Dataset.zip(stored, elements).map(
            lambda stored, element: augmented(element, *stored),
            tf.data.AUTOTUNE,
        )
    if not config.mixes():
        return _batched(examples, shard, lambda x: (x["image"], x["label"]))
    mixing = Mixing.from_config(config, len(data.class_names))

    def mixed(batch):
        first = (batch[name][0] for name in _MIXED_BY)
        return mix(batch["image"], batch["label"], mixing, config.seed, *first)

    return _batched(examples, shard, mixed)


def _elements(split, config, augmentation, start_step, shard):
    """Returns a shard's elements before their images are read.

    An element holds "random", of a `Split` the "index", and, where batches are
    mixed, "epoch" and "position": each tensor costs time per image. Every
    pipeline samples for the whole step and takes its shard, so that the images
    are the same however many pipelines there are.
    """
    steps, batch = steps_per_epoch(split, config), config.global_batch_size
    size = batch // shard.count
    own = slice(shard.index * size, (shard.index + 1) * size)

    def of_step(step):
        epoch, first = step // steps, step % steps * batch
        positions = first + tf.range(own.start, own.stop, dtype=tf.int64)
        random = augment.sample(augmentation, config.seed, epoch, first, batch)
        elements = {"random": tf.nest.map_structure(lambda x: x[own], random)}
        if isinstance(split, Split):
            elements["index"] = example_at(split, config, epoch, positions)
        if config.mixes():
            elements["epoch"] = tf.fill([size], epoch)
            elements["position"] = positions
        return elements

    steps_left = tf.data.Dataset.range(start_step, config.num_steps(steps))
    return steps_left.map(of_step, tf.data.AUTOTUNE).unbatch()


def _stored(stream, config, start_step, shard):
    """Returns a shard's (image, label) pairs, in the order of a `Stream`."""
    batch, steps = config.global_batch_size, steps_per_epoch(stream, config)
    repeats = config.repeated_augmentation

    def of_epoch(epoch):
        key = tf.stack([tf.cast(config.seed, tf.int64), epoch])
        examples = stream.examples(key).take(steps * batch // repeats)
        if repeats > 1:
            examples = examples.batch(batch // repeats).flat_map(
                lambda *block: (
                    tf.data.Dataset.from_tensors(block)
                    .repeat(repeats)
                    .unbatch()
                )
            )
        return examples

    epochs = tf.data.Dataset.range(
        start_step // steps, config.num_epochs(steps)
    )
    examples = epochs.flat_map(of_epoch).skip(start_step % steps * batch)
    return _sharded(examples, config, shard)


def _sharded(examples, config, shard):
    """Leaves out what other pipelines read of the global batches."""
    if shard.count == 1:
        return examples
    batch = config.global_batch_size
    size = batch // shard.count
    return (
        examples.enumerate()
        .filter(lambda position, _: position % batch // size == shard.index)
        .map(lambda _, example: example)
    )


@_as_written
def eval_pipeline(
    data: DataSet,
    config: train_config.TrainConfig,
    shard: Shard | None = None,
    crop: CenterCrop | None = None,
) -> tf.data.Dataset:
    """Returns the whole evaluation split once, in order.

    The last batch is filled up with examples of weight 0, so that all
    batches have one shape and the sums are exact on any number of replicas.

    Args:
      data: the set; its evaluation split is used.
      config: the run's configuration.
      shard: part of each global batch; default all of it, in one piece.
      crop: how images are scaled and cropped; None for the configuration's
        way. Of small images nothing is left out at the edges.

    Returns:
      A dataset of images, labels and float32 weights (batch,).
    """
    split = data.val
    shard = shard or Shard(batch_size=config.global_batch_size)
    crop = augment.crop_of(crop or config.center_crop(), data.small_images)
    num_filled = eval_steps(split, config) * config.global_batch_size

    def prepared(position, image, label):
        return {
            "image": _evaluation_image(image, config, crop),
            "label": label,
            "weight": tf.cast(position < split.num_examples, tf.float32),
        }

    positions = tf.data.Dataset.range(num_filled)
    if isinstance(split, Split):
        last = split.num_examples - 1
        examples = _sharded(positions, config, shard).map(
            lambda position: prepared(
                position, *split.read(tf.minimum(position, last))
            ),
            tf.data.AUTOTUNE,
        )
    else:
        stored = split.examples(None)
        filled = stored.concatenate(
            stored.take(1).repeat(num_filled - split.num_examples)
        )
        examples = _sharded(
            tf.data.Dataset.zip(positions, filled), config, shard
        ).map(
            lambda position, example: prepared(position, *example),
            tf.data.AUTOTUNE,
        )
    return _batched(
        examples, shard, lambda x: (x["image"], x["label"], x["weight"])
    )


def _evaluation_image(image, config, crop):
    return augment.fit(
        image_files.decode(image),
        config.evaluation_size(),
        crop,
        whole=False,
    )


def eval_steps(split: Split | Stream, config: train_config.TrainConfig) -> int:
    """Returns the batches that hold a whole split."""
    return -(-split.num_examples // config.global_batch_size)


def distribute(
    strategy: tf.distribute.Strategy,
    config: train_config.TrainConfig,
    make: Callable[[Shard], tf.data.Dataset],
) -> tf.distribute.DistributedDataset:
    """Returns global batches, each pipeline's shard made by `make`."""

    def of_pipeline(context):
        return make(
            Shard(
                index=context.input_pipeline_id,
                count=context.num_input_pipelines,
                batch_size=config.global_batch_size
                // strategy.num_replicas_in_sync,
            )
        )

    return strategy.distribute_datasets_from_function(of_pipeline)


def _batched(examples, shard, finish):
    """Returns batches as tuples, which `finish` makes of dicts."""
    options = tf.data.Options()
    options.deterministic = True
    return (
        examples.batch(shard.batch_size, drop_remainder=True)
        .map(finish, tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
        .with_options(options)
    )
