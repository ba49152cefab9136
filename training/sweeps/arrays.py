"""Images of a regime as plain arrays, and their augmentation in NumPy.

No framework here: a population trains on any Keras backend.
"""

import dataclasses
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import numpy as np

from keras_regnet import digits
from keras_regnet import safe_files
from training.sweeps import files
from training.sweeps.regimes import Regime

# Mean color of ImageNet, which the networks subtract: beyond an image's border
# they see zeros.
_FILL = (124, 116, 104)
_CONVERT = pathlib.Path(__file__).parent / "convert.py"
_DIGIT_SCALE = 4
_SYNTHETIC_SEED = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Arrays:
    """A data set.

    Args:
      train_images: uint8 (n, side, side, 3), RGB.
      train_labels: int32 (n,).
      test_images: uint8 (m, side, side, 3).
      test_labels: int32 (m,).
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


NAMES = tuple(field.name for field in dataclasses.fields(Arrays))


def path(regime: Regime, folder: str | os.PathLike) -> pathlib.Path | None:
    """Returns where a regime's arrays are stored, None if they are not.

    An .npz file for a set that fits into memory, a folder of .npy files for
    ImageNet.
    """
    if regime.dataset in ("digits", "synthetic"):
        return None
    name = regime.dataset
    if regime.train_images:
        name += f"-{regime.train_images}-seed{regime.subset_seed}"
    suffix = "" if regime.dataset == "imagenet2012" else ".npz"
    return pathlib.Path(folder) / files.DATA / (name + suffix)


def prepare(
    name: str, regime: Regime, folder: str | os.PathLike, data_dir: str
) -> None:
    """Converts a regime's data set to arrays unless that was done before.

    In a process of its own, since tensorflow-datasets loads TensorFlow. A set
    that `data_dir` does not hold is fetched there; one that cannot be read is
    a ValueError.
    """
    target = path(regime, folder)
    if target is None or target.exists():
        return
    if not data_dir:
        raise ValueError(
            f"`data_dir` must be where tensorflow-datasets has "
            f"{regime.dataset!r}, unless {target} is brought from elsewhere. "
            f"Received: data_dir={data_dir!r}"
        )
    if not os.path.isdir(data_dir):
        raise ValueError(
            "`data_dir` must be an existing folder. "
            f"Received: data_dir={data_dir!r}"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    result = subprocess.run(
        [sys.executable, str(_CONVERT), name, data_dir, str(target)],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if result.returncode:
        lines = result.stderr.strip().splitlines() or ["it was killed"]
        raise ValueError(
            f"`data_dir` gave no {regime.dataset!r}: {lines[-1]}. "
            f"Received: data_dir={data_dir!r}"
        )


def load(regime: Regime, folder: str | os.PathLike) -> Arrays:
    """Returns a regime's arrays; ImageNet's stay on the disk until used."""
    if regime.dataset == "digits":
        return _digits()
    if regime.dataset == "synthetic":
        return _synthetic(regime)
    target = path(regime, folder)
    if target.suffix == ".npz":
        stored = safe_files.load_npz(target)
        return Arrays(**{name: stored[name] for name in NAMES})
    return Arrays(
        **{
            name: np.load(target / f"{name}.npy", mmap_mode="r")
            for name in NAMES
        }
    )


def _digits():
    def enlarged(images):
        return images.repeat(_DIGIT_SCALE, 1).repeat(_DIGIT_SCALE, 2)

    train, test = digits.load("train"), digits.load("test")
    return Arrays(
        enlarged(train.images), train.labels, enlarged(test.images), test.labels
    )


def _synthetic(regime):
    """Noise around a gray that tells the class."""
    rng = np.random.default_rng(_SYNTHETIC_SEED)
    splits = []
    for count in (regime.train_images, regime.test_images):
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
    """Yields the first `count` test images, center-cropped, as `train_chunks`.

    Images that only fill the last batch have the label -1.
    """
    batch, side = regime.test_batch_size, regime.image_size
    per_call = (regime.steps_per_call or -(-count // batch)) * batch
    for start in range(0, count, per_call):
        stop = min(start + per_call, count)
        images = _center_crop(arrays.test_images[start:stop], side)
        labels = arrays.test_labels[start:stop]
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
    """Returns images shifted and mirrored at random, of the network's size.

    The given ones, uint8 (n, side, side, 3), are of that size or larger.
    """
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
    cut = cut.reshape(count, side, side, 3)
    if regime.flip:
        mirrored = np.flatnonzero(rng.random(count) < 0.5)
        cut[mirrored] = cut[mirrored].take(np.arange(side)[::-1], axis=2)
    return cut
