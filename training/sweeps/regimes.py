"""Regimes: the data and the training of the networks of a population.

A preset is named in every record, so a published one is never changed: its
successor gets another name. Any other regime is named after its data and a
hash of its fields, and stands in full in the `sweep.json` of its sweep.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from keras_regnet import errors
from keras_regnet.config import STEMS
from keras_regnet.design_space import proposals
from keras_regnet.design_space import sampling
from training.config import fields

# Types of fields, of which flags are texts.
Budget = tuple[float, float] | None
Strides = tuple[int, ...]

# What the data say of themselves; no flags.
_FROM_DATA = ("classes", "data_digest")
# Sets that are made, or come with the package, by the number of classes.
BUILT_IN = {"digits": 10, "synthetic": 4}
# One of these there must be. A latency alone would have networks of any size
# built and measured.
BUDGETS = ("flops", "params", "activations")
_required = dataclasses.MISSING


@dataclasses.dataclass(frozen=True, kw_only=True)
class Regime:
    """Data and training of all trials of a population.

    Each field but `name` and what the data say is also a flag of sweep.py. A
    new field has the default that older regimes had without it: their trials
    keep their ids.
    """

    name: str = fields.field("", "Of the preset, or after the data.")

    # The images.
    dataset: str = fields.field(
        _required,
        "Data set, as of main.py: folder:PATH, shards:PATH, arrays:PATH.npz, "
        "digits, synthetic, or a name of tensorflow-datasets. Without "
        "--regime, the other fields have defaults for a small set of images.",
    )
    image_size: int = fields.field(
        _required, "Side of the network's input in pixels.", low=8, high=4096
    )
    classes: int = fields.field(_required, "Number of classes.", low=2)
    data_digest: str = fields.field(
        "", "Hash of classes and list of files; none for presets."
    )
    val_fraction: float = fields.field(
        0.0,
        "Fraction of each class held out of the training images, on which "
        "the error of a trial is measured; a set with a validation and a test "
        "part uses its own. 0 measures on the test images.",
        low=0,
        high=0.9,
    )
    train_images: int = fields.field(
        0,
        "Train on so many images, of each class the same number; 0 for all.",
        low=0,
    )
    test_images: int = fields.field(0, "Images of a synthetic test set.", low=0)
    subset_seed: int = fields.field(0, "Chooses the training images.", low=0)
    interim_test_images: int = fields.field(
        0,
        "How many images the error is measured on after epochs before the "
        "last; the last uses all. 0 for all.",
        low=0,
    )

    # The networks.
    stem: str = fields.field(
        "simple", "Stem of the networks that are sampled.", choices=STEMS
    )
    stem_width: int = fields.field(32, "Channels of the stem.", low=1)
    strides: tuple[int, ...] = fields.field(
        (2, 2, 2, 2), "Stride of each stage's first block, as in 2,2,2,2."
    )
    flops: tuple[float, float] | None = fields.field(
        _required, "Multiply-adds of the networks, as in 4e6..6e6 or 4M..6M."
    )
    params: tuple[float, float] | None = fields.field(
        None, "Parameters of the networks, as in 1M..2M, or ..2M."
    )
    activations: tuple[float, float] | None = fields.field(
        None, "Activations of the networks, as in 50K..100K, or ..100K."
    )
    latency_ms: tuple[float, float] | None = fields.field(
        None,
        "Milliseconds that a network takes on this machine, one image at a "
        "time on one thread, as an int8 LiteRT file, as in 0.5..2, or ..2. "
        "Narrows another budget. Needs the extra [export].",
    )

    # The training.
    epochs: int = fields.field(
        _required, "Passes over the training images.", low=1
    )
    batch_size: int = fields.field(
        _required, "Images per step; the rest of an epoch is dropped.", low=1
    )
    learning_rate: float = fields.field(
        _required, "At the start of a half-period cosine.", low=0
    )
    per_epoch_schedule: bool = fields.field(
        False, "Hold the learning rate for an epoch."
    )
    warmup_epochs: float = fields.field(
        0.0, "The learning rate rises over them, from a tenth.", low=0
    )
    momentum: float = fields.field(0.9, "Nesterov's.", low=0, high=0.9999)
    weight_decay: float = fields.field(5e-5, "L2 on all parameters.", low=0)
    crop: str = fields.field(
        "shift",
        "What is trained on of an image: shift (the whole, see --shift) or "
        "area (a part of random area and aspect, as in the recipe `paper`).",
        choices=("shift", "area"),
    )
    min_crop_area: float = fields.field(
        0.08,
        "--crop=area: smallest fraction of the image.",
        low=0.001,
        high=1,
    )
    shift: int = fields.field(
        0,
        "--crop=shift: pixels by which an image is shifted at most; where it "
        "is larger than `image_size`, a random window is taken instead.",
        low=0,
    )
    flip: bool = fields.field(True, "Mirror half of the training images.")
    steps_per_call: int = fields.field(
        0, "Training steps per call into the backend; 0 for an epoch.", low=0
    )
    test_batch_size: int = fields.field(
        250, "Images per step of evaluation.", low=1
    )

    def __post_init__(self) -> None:
        fields.check(self)
        for name in (*BUDGETS, "latency_ms"):
            if getattr(self, name) is not None:
                sampling.check_range(name, getattr(self, name))
        if not any(getattr(self, name) for name in BUDGETS):
            raise ValueError(
                "A budget must be given: "
                f"{', '.join(f'--{name}' for name in BUDGETS)}"
            )

    @property
    def kind(self) -> str:
        """What the data set is called, wherever it lies."""
        if not self.data_digest:
            return self.dataset
        return self.dataset.partition(":")[0]

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields but the name, as JSON holds them."""
        values = dataclasses.asdict(self)
        del values["name"]
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }

    @classmethod
    def from_dict(cls, name: str, values: Mapping[str, Any]) -> "Regime":
        """Returns the regime of which `to_dict` wrote the fields.

        Fields that were not there yet had the value that is their default.

        Raises:
          ValueError: if one is missing, unknown or of another type.
        """
        known = {f.name for f in dataclasses.fields(cls)} - {"name"}
        needed = {
            f.name for f in dataclasses.fields(cls) if f.default is _required
        }
        wrong = (values.keys() - known) | (needed - values.keys())
        if wrong:
            raise ValueError(
                "A regime must have the fields of this version. Missing or "
                f"unknown: {', '.join(sorted(wrong))}"
            )
        given = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in values.items()
        }
        return cls(name=name, **given)

    def identity(self) -> dict[str, Any]:
        """Returns what identifies the regime: all that is not a default.

        Images that have a digest go by it, wherever they lie.
        """
        changed = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.name != "name" and getattr(self, f.name) != f.default
        }
        return {**changed, "dataset": self.kind}


_REGIMES = {
    # The paper's, sections 3.1 and 3.2, but that crops are cut from center
    # squares of 256 pixels: arrays hold one size. Nothing has been published
    # with it yet, so it may still change: crops of random area were added.
    "imagenet": Regime(
        name="imagenet",
        dataset="imagenet2012",
        image_size=224,
        classes=1000,
        flops=(360e6, 400e6),
        epochs=10,
        batch_size=128,
        learning_rate=0.05,
        per_epoch_schedule=True,
        crop="area",
        steps_per_call=50,
    ),
    # For two cores: about a quarter of a minute a network.
    "cifar10": Regime(
        name="cifar10",
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
    # Ten times the training of cifar10, for experiments/cifar10_long, whose
    # pilot chooses learning rate and epochs. Until it has, they may change.
    "cifar10_long": Regime(
        name="cifar10_long",
        dataset="cifar10",
        image_size=32,
        classes=10,
        interim_test_images=1_000,
        stem_width=16,
        strides=(1, 2, 2, 2),
        flops=(1.5e6, 2.0e6),
        epochs=4,
        batch_size=64,
        learning_rate=0.1,
        warmup_epochs=0.5,
        shift=4,
        steps_per_call=200,
    ),
    # Comes with the package: to try a sweep within minutes.
    "digits": Regime(
        name="digits",
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
        name="synthetic",
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
# Of a sweep of somebody's images: a minute or so a network on two cores, for
# some thousand of them. Without the warm-up the first steps ruin deep networks,
# which then stay near chance.
_SMALL = {
    "image_size": 64,
    "val_fraction": 0.2,
    "stem_width": 16,
    "flops": (4e6, 6e6),
    "epochs": 10,
    "batch_size": 64,
    "learning_rate": 0.05,
    "warmup_epochs": 2.0,
    "steps_per_call": 100,
}
# What the fields of sweep.py's flags are: all that the data do not say.
FLAGS = {
    f.name: f
    for f in dataclasses.fields(Regime)
    if f.name not in ("name", *_FROM_DATA)
}


def get(name: str) -> Regime:
    """Returns the preset of a name, one of `NAMES`."""
    if name not in _REGIMES:
        raise errors.unknown_value("regime", name, NAMES)
    return _REGIMES[name]


def of_data(dataset: str, **changes: Any) -> Regime:
    """Returns the regime of a small sweep of a data set.

    Args:
      dataset: the data set.
      **changes: fields that differ from `_SMALL`, `classes` among them. Of
        the budgets, one that is given stands in place of that of `_SMALL`.
    """
    values = dict(_SMALL)
    if any(changes.get(name) for name in BUDGETS):
        values["flops"] = None
    return _named(Regime(dataset=dataset, **{**values, **changes}))


def changed(base: Regime, **changes: Any) -> Regime:
    """Returns a regime with other fields, under a name of its own."""
    regime = dataclasses.replace(base, **changes)
    return base if regime == base else _named(regime)


def _named(regime):
    """Returns a regime under the name of the preset that it is, or its own."""
    identity = regime.identity()
    for preset in _REGIMES.values():
        if preset.identity() == identity:
            return preset
    content = json.dumps(identity, sort_keys=True)
    short = hashlib.sha256(content.encode()).hexdigest()[:8]
    return dataclasses.replace(regime, name=f"{regime.kind}-{short}")


def parse(name: str, value: Any) -> Any:
    """Returns the value of a field from that of its flag."""
    kind = FLAGS[name].type
    if kind == Budget:
        return _parse_budget(name, value)
    if kind == Strides:
        return _parse_strides(name, value)
    return value


def _parse_budget(name, text):
    low, dots, high = text.partition("..")
    if not dots or not high:
        raise ValueError(
            f"`{name}` must be MIN..MAX or ..MAX, as in 4e6..6e6. "
            f"Received: {name}={text!r}"
        )
    ends = [
        proposals.parse_amount(name, end) if end else 0.0 for end in (low, high)
    ]
    return sampling.check_range(name, tuple(ends))


def _parse_strides(name, text):
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(
            f"`{name}` must be integers, as in 2,2,2,2. "
            f"Received: {name}={text!r}"
        ) from error
