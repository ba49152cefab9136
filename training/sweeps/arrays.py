"""Images of a regime as plain arrays, and their augmentation in NumPy.

No framework here: a population trains on any Keras backend.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterator

import numpy as np

from keras_regnet import digits
from keras_regnet import safe_files
from training.data.held_out import held_out_of
from training.sweeps import crops
from training.sweeps import files
from training.sweeps.regimes import BUILT_IN
from training.sweeps.regimes import Regime

# Mean color of ImageNet, which the networks subtract: beyond an image's border
# they see zeros.
_FILL = (124, 116, 104)
_DIGIT_SIDE = 8
_SYNTHETIC_SEED = 0
_SYNTHETIC_IMAGES = 512


@dataclasses.dataclass(frozen=True, eq=False)
class Arrays:
    """A data set, as images of one size.

    Args:
      train_images: uint8 (n, side, side, 3), RGB.
      train_labels: int32 (n,).
      test_images: uint8 (m, side, side, 3).
      test_labels: int32 (m,).
      val_images: uint8 (k, side, side, 3), on which the error of a trial is
        measured; None if it is on the test images.
      val_labels: int32 (k,), or None.
      test_held_out: whether the test images are a `val_fraction` of a set that
        has training images alone.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    val_images: np.ndarray | None = None
    val_labels: np.ndarray | None = None
    test_held_out: bool | np.ndarray = False

    def evaluated(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns images and labels by which errors are measured."""
        if self.val_images is None or self.val_labels is None:
            return self.test_images, self.test_labels
        return self.val_images, self.val_labels

    def for_test(self) -> "Arrays":
        """Returns the set whose trials are measured on the test images.

        For what was selected, once.
        """
        return dataclasses.replace(self, val_images=None, val_labels=None)


NAMES = tuple(field.name for field in dataclasses.fields(Arrays))
_OPTIONAL = ("val_images", "val_labels", "test_held_out")


def path(regime: Regime, folder: str | os.PathLike) -> pathlib.Path | None:
    """Returns where a regime's arrays are stored, None if they are not.

    An .npz file for a set that fits into memory, a folder of .npy files, with
    the same name but for the suffix, for one that does not. Where there is
    neither, the path of the file.
    """
    if regime.dataset in BUILT_IN:
        return None
    name = regime.kind.replace("/", "-")
    if regime.train_images:
        name += f"-{regime.train_images}-seed{regime.subset_seed}"
    file = pathlib.Path(folder) / files.DATA / f"{name}.npz"
    in_parts = file.with_name(name)
    return in_parts if in_parts.is_dir() else file


def load(regime: Regime, folder: str | os.PathLike) -> Arrays:
    """Returns a regime's arrays; large ones stay on the disk until used.

    Raises:
      ValueError: if there cannot be such arrays, or they are damaged.
    """
    if regime.dataset in BUILT_IN:
        if regime.dataset == "digits":
            made = _subset(_held_out(_digits(regime), regime), regime)
        else:
            made = _held_out(_synthetic(regime), regime)
        check_batch(len(made.train_labels), regime)
        return made
    target = path(regime, folder)
    if target.suffix == ".npz":
        stored = safe_files.load_npz(target)
        return Arrays(**{n: stored[n] for n in NAMES if n in stored})
    paths = {name: target / f"{name}.npy" for name in NAMES}
    return Arrays(
        **{
            name: np.load(file, mmap_mode="r")
            for name, file in paths.items()
            if name not in _OPTIONAL or file.exists()
        }
    )


def _held_out(arrays, regime):
    """Returns a set of which a fraction of the training images is held out."""
    if not regime.val_fraction:
        return arrays
    images, labels = arrays.train_images, arrays.train_labels
    chosen = held_out_of(labels, regime.classes, regime.val_fraction)
    rest = np.setdiff1d(np.arange(len(labels)), chosen)
    return dataclasses.replace(
        arrays,
        train_images=images[rest],
        train_labels=labels[rest],
        val_images=images[chosen],
        val_labels=labels[chosen],
    )


def _subset(arrays, regime):
    """Returns a set of which some images are trained on."""
    if not regime.train_images:
        return arrays
    labels = arrays.train_labels
    chosen = stratified(labels, regime.train_images, regime.subset_seed)
    return dataclasses.replace(
        arrays,
        train_images=arrays.train_images[chosen],
        train_labels=labels[chosen],
    )


def check_batch(count: int, regime: Regime) -> None:
    """Raises if there are too few training images for a step."""
    if count < regime.batch_size:
        raise ValueError(
            "`batch_size` must not exceed the number of training images, "
            f"{count}. Received: batch_size={regime.batch_size}"
        )


def _digits(regime):
    scale, rest = divmod(regime.image_size, _DIGIT_SIDE)
    if rest:
        raise ValueError(
            f"`image_size` must be a multiple of {_DIGIT_SIDE} for digits, "
            f"which are enlarged. Received: image_size={regime.image_size}"
        )

    def enlarged(images):
        return images.repeat(scale, 1).repeat(scale, 2)

    train, test = digits.load("train"), digits.load("test")
    return Arrays(
        enlarged(train.images), train.labels, enlarged(test.images), test.labels
    )


def _synthetic(regime):
    """Noise around a gray that tells the class."""
    rng = np.random.default_rng(_SYNTHETIC_SEED)
    splits = []
    for count in (
        regime.train_images or _SYNTHETIC_IMAGES,
        regime.test_images or _SYNTHETIC_IMAGES,
    ):
        labels = np.arange(count, dtype=np.int32) % regime.classes
        gray = (40 + 160 * labels / regime.classes).astype(int)
        shape = (count, regime.image_size, regime.image_size, 3)
        noise = rng.integers(-20, 20, shape)
        images = gray[:, None, None, None] + noise
        splits += [images.astype(np.uint8), labels]
    return Arrays(*splits)


def stratified(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Returns the sorted indices of a subset with equally many of each class.

    Another choice than the trainer's `balanced_subset`, and it stays: it made
    the arrays of published records.
    """
    rng = np.random.default_rng(seed)
    classes = np.unique(labels)
    if count % len(classes):
        raise ValueError(
            "`train_images` must be a multiple of the number of classes, "
            f"{len(classes)}. Received: train_images={count}"
        )
    each = count // len(classes)
    fewest = np.bincount(labels)[classes].min()
    if each > fewest:
        raise ValueError(
            f"`train_images` must be {fewest * len(classes)} at most: the "
            f"same number of each class, of which one has {fewest}. "
            f"Received: train_images={count}"
        )
    chosen = [
        rng.choice(np.flatnonzero(labels == label), each, replace=False)
        for label in classes
    ]
    return np.sort(np.concatenate(chosen))


def train_chunks(
    arrays: Arrays, regime: Regime, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields an epoch's augmented batches in a new order.

    At most `steps_per_call` at once: images, uint8 (steps, batch, height,
    width, 3), and labels, int32 (steps, batch).
    """
    steps = steps_per_epoch(arrays, regime)
    order = rng.permutation(len(arrays.train_labels))
    per_call = regime.steps_per_call or steps
    for start in range(0, steps, per_call):
        stop = min(start + per_call, steps)
        indices = order[start * regime.batch_size : stop * regime.batch_size]
        images = augment(arrays.train_images[indices], regime, rng)
        labels = arrays.train_labels[indices]
        shape = (stop - start, regime.batch_size)
        yield images.reshape(*shape, *images.shape[1:]), labels.reshape(shape)


def steps_per_epoch(arrays: Arrays, regime: Regime) -> int:
    """Returns the number of training steps in an epoch."""
    return len(arrays.train_labels) // regime.batch_size


def test_chunks(
    arrays: Arrays, regime: Regime, count: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the first images that are evaluated, as `train_chunks`.

    Their centers, `count` of them.

    Images that only fill the last batch have the label -1.
    """
    batch, side = regime.test_batch_size, regime.image_size
    all_images, all_labels = arrays.evaluated()
    per_call = (regime.steps_per_call or -(-count // batch)) * batch
    for start in range(0, count, per_call):
        stop = min(start + per_call, count)
        images = _center_crop(all_images[start:stop], side)
        labels = all_labels[start:stop]
        missing = -len(labels) % batch
        images = np.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0)))
        labels = np.pad(labels, (0, missing), constant_values=-1)
        yield (
            images.reshape(-1, batch, side, side, 3),
            labels.reshape(-1, batch),
        )


def _center_crop(images, side):
    margin = (images.shape[1] - side) // 2
    return images[:, margin : margin + side, margin : margin + side]


def augment(
    images: np.ndarray, regime: Regime, rng: np.random.Generator
) -> np.ndarray:
    """Returns images cropped and mirrored at random, of the network's size.

    The given ones, uint8 (n, side, side, 3), are of that size or larger.
    """
    crop = _shifted if regime.crop == "shift" else _area_crops
    cut = crop(images, regime, rng)
    if regime.flip:
        mirrored = np.flatnonzero(rng.random(len(cut)) < 0.5)
        cut[mirrored] = cut[mirrored][:, :, ::-1]
    return cut


def _area_crops(images, regime, rng):
    """Returns parts of random area and aspect, scaled."""
    shape = (len(images), crops.TRIES, crops.NUMBERS_PER_TRY)
    windows = crops.windows(
        rng.random(shape), images.shape[1], regime.min_crop_area
    )
    return crops.resized(images, windows, regime.image_size)


def _shifted(images, regime, rng):
    """Returns images shifted up to some pixels, or windows of larger ones."""
    side, shift = regime.image_size, regime.shift
    count, height = images.shape[:2]
    if height == side and shift:
        shape = (count, side + 2 * shift, side + 2 * shift, 3)
        padded = np.empty(shape, np.uint8)
        padded[:] = _FILL
        padded[:, shift:-shift, shift:-shift] = images
        images = padded
    positions = images.shape[1] - side + 1
    tops, lefts = rng.integers(positions, size=(2, count))
    # A row of pixels is one run of bytes, which is copied at once.
    windows = np.lib.stride_tricks.sliding_window_view(
        images.reshape(count, len(images[0]), -1), (side, 3 * side), axis=(1, 2)
    )
    cut = windows[np.arange(count), tops, 3 * lefts]
    return cut.reshape(count, side, side, 3)
