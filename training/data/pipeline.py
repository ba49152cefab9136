"""The input pipeline.

The order of an epoch is a permutation of the indices of a `Split`, or of the
files and blocks of a `Stream`, keyed by seed and epoch. What a step sees is a
pure function of (seed, step): a run may start at any step, and no state of
the pipeline is saved.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from training.config import config as train_config
from training.data import augment
from training.data.mixing import mix
from training.data.mixing import Mixing
from training.data.splits import DataSet
from training.data.splits import Split
from training.data.splits import Stream


@dataclasses.dataclass(frozen=True)
class Share:
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
    split: Split, seed: int, epoch: tf.Tensor, place: tf.Tensor
) -> tf.Tensor:
    """Returns the index of the example at a place of an epoch.

    Args:
      split: the training split.
      seed: the run's seed.
      epoch: int64 scalar.
      place: int64 scalar or vector in [0, num_examples).

    Returns:
      int64 tensor like `place`; a permutation over all places.
    """
    return tf.random.experimental.index_shuffle(
        place,
        seed=tf.stack([tf.cast(seed, tf.int64), epoch]),
        max_index=tf.constant(split.num_examples - 1, tf.int64),
    )


def example_at(
    split: Split,
    config: train_config.TrainConfig,
    epoch: tf.Tensor,
    place: tf.Tensor,
) -> tf.Tensor:
    """Returns the index of the example at a place, repetitions counted.

    The repetitions of an image are as far apart within its batch as can be,
    so that they reach different replicas.

    Args:
      split: the training split.
      config: `seed`, `global_batch_size`, `repeated_augmentation` are read.
      epoch: int64 scalar.
      place: int64 scalar in [0, steps * global_batch_size).

    Returns:
      int64 scalar.
    """
    batch = config.global_batch_size
    distinct = batch // config.repeated_augmentation
    place = place // batch * distinct + place % batch % distinct
    return training_order(split, config.seed, epoch, place)


# Nothing in the pipelines branches on a tensor in Python: to rewrite it all as
# if it did took most of the time to a run's first step.
_as_written = tf.autograph.experimental.do_not_convert


@_as_written
def train_pipeline(
    data: DataSet,
    config: train_config.TrainConfig,
    start_step: int = 0,
    share: Share | None = None,
) -> tf.data.Dataset:
    """Returns batches of images and labels from a step to the run's end.

    With `repeated_augmentation` r, a batch holds one r-th as many images,
    each r times and augmented anew, so that an epoch of as many steps sees
    one r-th of the set.

    Args:
      data: the set; its training split is used.
      config: the run's configuration.
      start_step: step from which the run goes on.
      share: part of each global batch; default all of it, in one piece.

    Returns:
      A dataset of float32 images (batch, size, size, 3) and int32 labels
      (batch,), or float32 targets (batch, classes) where batches are mixed;
      one element per replica and step.
    """
    share = share or Share(batch_size=config.global_batch_size)
    augmentation = augment.Augmentation.from_config(config, data.small_images)

    def augmented(source, label, *rest):
        draws = rest[-3:]
        image = augment.train_image(source, augmentation, augment.Draws(*draws))
        # Where batches are mixed, epoch and place go with the image.
        return image, label, *rest[:-3]

    drawn = _random_numbers(data.train, config, augmentation, start_step, share)
    make = _drawn if isinstance(data.train, Split) else _streamed
    examples = make(data.train, config, start_step, share, drawn, augmented)
    if not config.mixes():
        return _batched(examples, share)
    mixing = Mixing.from_config(config, len(data.class_names))

    def mixed(images, labels, epochs, places):
        return mix(images, labels, mixing, config.seed, epochs[0], places[0])

    return _batched(examples, share, mixed)


def _random_numbers(split, config, augmentation, start_step, share):
    """Returns (epoch, place, *draws) of a share's images, step by step.

    Every pipeline draws for the whole step and takes its share, so that the
    images are the same however many pipelines there are.
    """
    steps, batch = steps_per_epoch(split, config), config.global_batch_size
    size = batch // share.count
    mine = slice(share.index * size, (share.index + 1) * size)

    def of_step(step):
        epoch, first = step // steps, step % steps * batch
        draws = augment.draw(augmentation, config.seed, epoch, first, batch)
        return (
            tf.fill([size], epoch),
            first + tf.range(mine.start, mine.stop, dtype=tf.int64),
            *(values[mine] for values in draws.tensors()),
        )

    return tf.data.Dataset.range(start_step, config.num_steps(steps)).map(
        of_step, tf.data.AUTOTUNE
    )


def _drawn(split, config, start_step, share, drawn, augmented):
    """Returns the training examples of a share of a Split."""
    del start_step, share

    def with_indices(epochs, places, *draws):
        indices = example_at(split, config, epochs[0], places)
        return indices, *_carried(config, epochs, places, *draws)

    def example(index, *rest):
        return augmented(*split.read(index), *rest)

    return drawn.map(with_indices).unbatch().map(example, tf.data.AUTOTUNE)


def _carried(config, epochs, places, *draws):
    """Leaves out what nothing needs: each tensor costs time per image."""
    return (epochs, places, *draws) if config.mixes() else draws


def _streamed(stream, config, start_step, share, drawn, augmented):
    """Returns the training examples of a share of a Stream."""
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
    if share.count > 1:
        size = batch // share.count
        examples = (
            examples.enumerate()
            .filter(lambda place, _: place % batch // size == share.index)
            .map(lambda _, example: example)
        )
    drawn = drawn.map(lambda *values: _carried(config, *values)).unbatch()
    return tf.data.Dataset.zip(examples, drawn).map(
        lambda example, rest: augmented(*example, *rest),
        tf.data.AUTOTUNE,
    )


@_as_written
def eval_pipeline(
    data: DataSet,
    config: train_config.TrainConfig,
    share: Share | None = None,
) -> tf.data.Dataset:
    """Returns the whole evaluation split once, in order.

    The last batch is filled up with examples of weight 0, so that all
    batches have one shape and the sums are exact on any number of replicas.

    Args:
      data: the set; its evaluation split is used.
      config: the run's configuration.
      share: part of each global batch; default all of it, in one piece.

    Returns:
      A dataset of images, labels and float32 weights (batch,).
    """
    share = share or Share(batch_size=config.global_batch_size)
    split, batch = data.val, config.global_batch_size
    steps = eval_steps(split, config)

    def prepared(position, source, label):
        image = augment.eval_image(
            source,
            config.evaluation_size(),
            data.small_images,
            config.antialias,
            config.eval_crop_share,
            config.interpolation,
        )
        weight = tf.cast(position < split.num_examples, tf.float32)
        return image, label, weight

    def drawn(position):
        index = tf.minimum(position, split.num_examples - 1)
        return prepared(position, *split.read(index))

    if isinstance(split, Split):
        examples = _positions(0, steps, batch, share).map(
            drawn, tf.data.AUTOTUNE
        )
        return _batched(examples, share)
    stored = split.examples(None)
    examples = stored.concatenate(
        stored.take(1).repeat(steps * batch - split.num_examples)
    ).enumerate()
    size = batch // share.count
    examples = examples.filter(
        lambda position, _: position % batch // size == share.index
    ).map(
        lambda position, example: prepared(position, *example),
        tf.data.AUTOTUNE,
    )
    return _batched(examples, share)


def eval_steps(split: Split | Stream, config: train_config.TrainConfig) -> int:
    """Returns the batches that hold a whole split."""
    return -(-split.num_examples // config.global_batch_size)


def distribute(
    strategy: tf.distribute.Strategy,
    config: train_config.TrainConfig,
    make: Callable[[Share], tf.data.Dataset],
) -> tf.distribute.DistributedDataset:
    """Returns a dataset of global batches, one part for each replica.

    Args:
      strategy: what it is distributed over.
      config: `global_batch_size` is read.
      make: makes the part of the batches that one pipeline gives.

    Returns:
      A distributed dataset.
    """

    def of_pipeline(context):
        return make(
            Share(
                index=context.input_pipeline_id,
                count=context.num_input_pipelines,
                batch_size=config.global_batch_size
                // strategy.num_replicas_in_sync,
            )
        )

    return strategy.distribute_datasets_from_function(of_pipeline)


def _positions(start_step, end_step, global_batch_size, share):
    """Returns the places in the run of one pipeline's examples."""
    if share.count == 1:
        return tf.data.Dataset.range(
            start_step * global_batch_size, end_step * global_batch_size
        )
    size = global_batch_size // share.count

    def of_step(step):
        first = step * global_batch_size + share.index * size
        return tf.data.Dataset.range(first, first + size)

    return tf.data.Dataset.range(start_step, end_step).flat_map(of_step)


def _batched(examples, share, change=None):
    options = tf.data.Options()
    options.deterministic = True
    batches = examples.batch(share.batch_size, drop_remainder=True)
    if change:
        batches = batches.map(change, tf.data.AUTOTUNE)
    return batches.prefetch(tf.data.AUTOTUNE).with_options(options)
