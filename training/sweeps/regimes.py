"""Regimes: the data and the training of the networks of a population.

A regime is named in every record, so a published one is never changed: its
successor gets another name.
"""

import dataclasses
from typing import Any

from keras_regnet import errors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Regime:
    """Data and training of all trials of a population.

    Args:
      dataset: "cifar10", "imagenet2012" (of tensorflow-datasets), "digits"
        or "synthetic".
      image_size: side of the network's input in pixels.
      classes: number of classes.
      train_images: size of the subset trained on, the same number of each
        class; 0 for all.
      test_images: size of the test set; 0 for all.
      subset_seed: chooses the subset.
      interim_test_images: how many test images are used after epochs before
        the last; the last uses all. 0 for all.
      stem: of the networks that are sampled.
      stem_width: channels of the stem.
      strides: stride of each stage's first block.
      flops: (min, max) multiply-adds of the networks.
      epochs: passes over the training images.
      batch_size: images per step; the rest of an epoch is dropped.
      learning_rate: at the start of a half-period cosine.
      per_epoch_schedule: whether the learning rate is constant in an epoch.
      momentum: Nesterov's.
      weight_decay: L2 on all parameters.
      shift: an image is shifted by up to so many pixels; where it is larger
        than `image_size`, a random crop is taken instead.
      flip: whether images are mirrored at random.
      steps_per_call: training steps per call into the backend; 0 for a whole
        epoch.
      test_batch_size: images per step of evaluation.
    """

    dataset: str
    image_size: int
    classes: int
    train_images: int = 0
    test_images: int = 0
    subset_seed: int = 0
    interim_test_images: int = 0
    stem: str = "simple"
    stem_width: int = 32
    strides: tuple[int, ...] = (2, 2, 2, 2)
    flops: tuple[float, float]
    epochs: int
    batch_size: int
    learning_rate: float
    per_epoch_schedule: bool = False
    momentum: float = 0.9
    weight_decay: float = 5e-5
    shift: int = 0
    flip: bool = True
    steps_per_call: int = 0
    test_batch_size: int = 250

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields, as JSON holds them."""
        values = dataclasses.asdict(self)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }


_REGIMES = {
    # The paper's, sections 3.1 and 3.2. Crops are cut from images of 256
    # pixels, not of random area and shape as there: arrays hold one size.
    "imagenet": Regime(
        dataset="imagenet2012",
        image_size=224,
        classes=1000,
        flops=(360e6, 400e6),
        epochs=10,
        batch_size=128,
        learning_rate=0.05,
        per_epoch_schedule=True,
        steps_per_call=50,
    ),
    # For two cores: about a quarter of a minute a network.
    "cifar10": Regime(
        dataset="cifar10",
        image_size=32,
        classes=10,
        train_images=10_000,
        interim_test_images=1_000,
        stem="cifar",
        stem_width=16,
        flops=(1.0e6, 1.5e6),
        epochs=2,
        batch_size=64,
        learning_rate=0.1,
        shift=4,
    ),
    # Comes with the package: to try a sweep within minutes.
    "digits": Regime(
        dataset="digits",
        image_size=32,
        classes=10,
        stem="cifar",
        stem_width=16,
        flops=(0.5e6, 1.0e6),
        epochs=3,
        batch_size=32,
        learning_rate=0.05,
        shift=2,
        flip=False,
        test_batch_size=360,
    ),
    # Noise, for tests and to time the machinery.
    "synthetic": Regime(
        dataset="synthetic",
        image_size=32,
        classes=4,
        train_images=32,
        test_images=16,
        stem="cifar",
        stem_width=8,
        flops=(0.2e6, 0.6e6),
        epochs=2,
        batch_size=8,
        learning_rate=0.05,
        shift=2,
        test_batch_size=8,
    ),
}
NAMES = tuple(_REGIMES)


def get(name: str) -> Regime:
    """Returns the regime of a name, one of `NAMES`."""
    if name not in _REGIMES:
        raise errors.unknown_value("regime", name, NAMES)
    return _REGIMES[name]
