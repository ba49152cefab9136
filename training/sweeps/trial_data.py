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
from training.sweeps.regimes import Regime

# Mean colour of ImageNet, which the networks subtract: what lies beyond an
# image's border is then zero to them.
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
    """Returns where a regime's arrays lie, None if they need no file.

    Args:
      regime: the regime.
      folder: of the sweep.

    Returns:
      An .npz file for a set that fits into memory, a folder of .npy files
      for ImageNet.
    """
    if regime.dataset in ("digits", "synthetic"):
        return None
    name = regime.dataset
    if regime.train_images:
        name += f"-{regime.train_images}-seed{regime.subset_seed}"
    suffix = "" if regime.dataset == "imagenet2012" else ".npz"
    return pathlib.Path(folder) / "data" / (name + suffix)


def prepare(
    name: str, regime: Regime, folder: str | os.PathLike, data_dir: str
) -> None:
    """Converts a regime's data set to arrays unless that was done before.

    In a process of its own, since tensorflow-datasets loads TensorFlow.

    Args:
      name: the regime's name.
      regime: the regime.
      folder: of the sweep.
      data_dir: where tensorflow-datasets has the set, or puts it when it has
        fetched it.

    Raises:
      ValueError: if the set cannot be read.
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
    """Returns a regime's arrays.

    Args:
      regime: the regime.
      folder: of the sweep.

    Returns:
      An `Arrays`; ImageNet's stay on the disk until they are used.
    """
    if regime.dataset == "digits":
        return _digits()
    if regime.dataset == "synthetic":
        return _synthetic(regime)
    target = path(regime, folder)
    if target.suffix == ".npz":
        with np.load(target, allow_pickle=False) as stored:
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
    """Noise around a grey that tells the class."""
    rng = np.random.default_rng(_SYNTHETIC_SEED)
    splits = []
    for count in (regime.train_images, regime.test_images):
        labels = np.arange(count, dtype=np.int32) % regime.classes
        grey = (40 + 160 * labels / regime.classes).astype(int)
        shape = (count, regime.image_size, regime.image_size, 3)
        noise = rng.integers(-20, 20, shape)
        images = grey[:, None, None, None] + noise
        splits += [images.astype(np.uint8), labels]
    return Arrays(*splits)


def stratified(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Returns indices of a subset with as many images of each class.

    Args:
      labels: (n,).
      count: size of the subset, a multiple of the number of classes.
      seed: chooses the images.

    Returns:
      `count` indices, rising.
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
    """Yields an epoch's augmented batches, in a new order.

    Args:
      arrays: the data.
      regime: the regime.
      rng: shuffles and augments.

    Yields:
      uint8 (steps, batch, height, width, 3) and int32 (steps, batch), of at
      most `steps_per_call` steps.
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
    """Yields the first test images, cut to the network's size at the centre.

    Args:
      arrays: the data.
      regime: the regime.
      count: how many images.

    Yields:
      uint8 (steps, batch, height, width, 3) and int32 (steps, batch); what
      fills the last batch has the label -1.
    """
    batch, side = regime.test_batch_size, regime.image_size
    per_call = (regime.steps_per_call or -(-count // batch)) * batch
    for start in range(0, count, per_call):
        stop = min(start + per_call, count)
        images = _centre(arrays.test_images[start:stop], side)
        labels = arrays.test_labels[start:stop]
        missing = -len(labels) % batch
        images = np.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0)))
        labels = np.pad(labels, (0, missing), constant_values=-1)
        yield (
            images.reshape(-1, batch, side, side, 3),
            labels.reshape(-1, batch),
        )


def _centre(images, side):
    margin = (images.shape[1] - side) // 2
    return images[:, margin : margin + side, margin : margin + side]


def augment(
    images: np.ndarray, regime: Regime, rng: np.random.Generator
) -> np.ndarray:
    """Returns images shifted and mirrored at random.

    Args:
      images: uint8 (n, side, side, 3), of the network's size or larger.
      regime: `image_size`, `shift` and `flip` are read.
      rng: makes the choices.

    Returns:
      uint8 (n, image_size, image_size, 3).
    """
    side, shift = regime.image_size, regime.shift
    count, height = images.shape[:2]
    if height == side and shift:
        shape = (count, side + 2 * shift, side + 2 * shift, 3)
        framed = np.empty(shape, np.uint8)
        framed[:] = _FILL
        framed[:, shift:-shift, shift:-shift] = images
        images = framed
    places = images.shape[1] - side + 1
    tops, lefts = rng.integers(places, size=(2, count))
    windows = np.lib.stride_tricks.sliding_window_view(
        images, (side, side), axis=(1, 2)
    )
    # (n, places, places, 3, side, side) -> one window per image.
    cut = windows[np.arange(count), tops, lefts].transpose(0, 2, 3, 1)
    if regime.flip:
        mirrored = rng.random(count) < 0.5
        cut = np.where(mirrored[:, None, None, None], cut[:, :, ::-1], cut)
    return np.ascontiguousarray(cut)
