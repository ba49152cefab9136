"""TrainConfig: everything that decides what a training run does.

One frozen object, made by main.py from a recipe and flags, written to the run
folder before the first step, and passed down; nothing below main.py reads
flags. It imports no TensorFlow of its own.
"""

import dataclasses
import json
import math
from typing import Any

from keras_regnet import errors

STRATEGIES = ("mirrored", "one_device", "multi_worker", "tpu")
OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("cosine", "constant")
AUGMENTATIONS = ("auto", "random_resized_crop", "pad_crop", "none")
CROP_ASPECTS = ("uniform_swapped", "log_uniform")
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
MIN_IMAGE_SIZE = 32

# A run is the same run if these differ: where it is kept, how long it goes on.
_FREE_TO_CHANGE = ("workdir", "epochs")


def _field(default: Any, meaning: str) -> Any:
    """Returns a dataclass field that carries its own help text."""
    return dataclasses.field(default=default, metadata={"help": meaning})


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run. Each field is also a flag of main.py.

    Rates are per step and per image as their names say; `*_epochs` are passes
    over the training images.
    """

    # Where and on what.
    strategy: str = _field(
        "mirrored", "Devices: mirrored, one_device, multi_worker or tpu."
    )
    num_cpu_devices: int = _field(
        0, "Logical CPU devices that stand in for GPUs; 0 uses what there is."
    )
    tpu: str = _field("", "Name or address of the TPU, for --strategy=tpu.")
    recipe: str = _field("quickstart", "Recipe that gives the defaults.")
    workdir: str = _field("", "Run folder; default runs/<recipe>.")
    seed: int = _field(0, "Seed of initial weights, order and augmentation.")

    # The network.
    variant: str = _field(
        "RegNetX-200MF",
        "Network: a published variant, RegNetX-6MF or RegNetX-30MF for small "
        "images, or a .json file written by RegNetConfig.to_json.",
    )
    stem: str = _field(
        "", "Stem in place of the variant's own: simple, cifar or resnet."
    )
    weights: str = _field(
        "", "Initial weights: a .keras or .weights.h5 file or a run folder."
    )
    dropout_rate: float = _field(0.0, "Dropout before the classifier.")
    drop_path_rate: float = _field(
        0.0, "Stochastic depth of the last block, linear over depth."
    )
    zero_init_last_gamma: bool = _field(
        False, "Start every residual branch at zero."
    )
    sync_bn: bool = _field(
        False, "Batch norm over the global batch, not per replica."
    )
    precision: str = _field(
        "float32", "float32, mixed_float16 or mixed_bfloat16."
    )

    # The images.
    dataset: str = _field(
        "digits",
        "digits, synthetic, folder:PATH (train/ and val/ with one folder per "
        "class) or the name of a tensorflow-datasets classification set.",
    )
    data_dir: str = _field("", "Where tensorflow-datasets keeps its files.")
    image_size: int = _field(224, "Side of the training images in pixels.")
    augmentation: str = _field(
        "auto",
        "random_resized_crop, pad_crop or none; auto is pad_crop for sets of "
        "small images of one size, else random_resized_crop.",
    )
    min_crop_area: float = _field(
        0.08, "Smallest share of the image that a random crop keeps."
    )
    crop_aspect: str = _field(
        "uniform_swapped",
        "Aspect of random crops: uniform_swapped (the paper's) or "
        "log_uniform (torchvision's).",
    )
    flip: bool = _field(True, "Mirror half of the training images.")
    pca_lighting_std: float = _field(
        0.0, "Strength of the colour noise along ImageNet's components."
    )
    antialias: bool = _field(
        False, "Average over source pixels where resizing makes smaller."
    )

    # How long and how fast.
    epochs: int = _field(100, "Passes over the training images.")
    global_batch_size: int = _field(
        1024, "Images per step, summed over replicas."
    )
    optimizer: str = _field("sgd", "sgd (momentum 0.9, Nesterov) or adamw.")
    base_learning_rate: float = _field(
        0.1, "Learning rate per `base_batch_size` images of the batch."
    )
    base_batch_size: int = _field(
        128, "lr = base_learning_rate * global_batch_size / this."
    )
    schedule: str = _field("cosine", "cosine (half period) or constant.")
    warmup_epochs: float = _field(5.0, "Epochs of rising learning rate.")
    warmup_factor: float = _field(
        0.1, "Share of the learning rate at which warm-up begins."
    )
    per_epoch_schedule: bool = _field(
        False, "Hold the learning rate for an epoch, as the paper's code does."
    )
    weight_decay: float = _field(
        5e-5,
        "L2 added to the gradient for sgd; decoupled for adamw.",
    )
    decay_norm_and_bias: bool = _field(
        True, "Decay batch norm and biases too, not only kernels."
    )
    clip_norm: float = _field(
        0.0, "Largest global norm of the gradient; 0 for no limit."
    )
    label_smoothing: float = _field(0.0, "Weight of the uniform target.")

    # The run.
    log_seconds: float = _field(
        30.0, "Longest silence within an epoch, roughly."
    )
    portable_export: bool = _field(
        True,
        "Store only operations that every TensorFlow runs; if not, the "
        "SavedModel is faster and needs oneDNN.",
    )
    checkpoints_to_keep: int = _field(
        2, "Newest checkpoints kept, beside the best."
    )

    def __post_init__(self):
        _check_types(self)
        _check_names(self)
        _check_ranges(self)

    def learning_rate(self) -> float:
        """Returns the peak learning rate for this global batch."""
        return (
            self.base_learning_rate
            * self.global_batch_size
            / self.base_batch_size
        )

    def to_json(self) -> str:
        """Returns the fields as a JSON object."""
        return json.dumps(dataclasses.asdict(self), indent=2)


def differences(ours: TrainConfig, stored: dict[str, Any]) -> list[str]:
    """Returns what makes two runs different runs, one line per field.

    Args:
      ours: the configuration asked for.
      stored: the fields a run folder was made with.

    Returns:
      Lines such as "seed: 0 in the folder, 1 asked for". Empty if a run of
      `stored` may go on as `ours`; `epochs` and `workdir` may differ.
    """
    asked = dataclasses.asdict(ours)
    names = [name for name in asked if name not in _FREE_TO_CHANGE]
    names += [name for name in stored if name not in asked]
    missing = "nothing"
    return [
        f"{name}: {stored.get(name, missing)!r} in the folder, "
        f"{asked.get(name, missing)!r} asked for"
        for name in names
        if stored.get(name, missing) != asked.get(name, missing)
    ]


def _check_types(config: TrainConfig) -> None:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        wanted = (int, float) if field.type is float else field.type
        is_bool = isinstance(value, bool)
        if not isinstance(value, wanted) or is_bool != (field.type is bool):
            raise ValueError(
                f"`{field.name}` must be of type {field.type.__name__}. "
                f"Received: {field.name}={value!r}"
            )


def _check_names(config: TrainConfig) -> None:
    for name, allowed in (
        ("strategy", STRATEGIES),
        ("optimizer", OPTIMIZERS),
        ("schedule", SCHEDULES),
        ("augmentation", AUGMENTATIONS),
        ("crop_aspect", CROP_ASPECTS),
        ("precision", PRECISIONS),
    ):
        if getattr(config, name) not in allowed:
            raise errors.unknown_value(name, getattr(config, name), allowed)


def _check_ranges(config: TrainConfig) -> None:
    at_least = {
        "num_cpu_devices": 0,
        "image_size": MIN_IMAGE_SIZE,
        "epochs": 1,
        "global_batch_size": 1,
        "base_batch_size": 1,
        "warmup_epochs": 0,
        "weight_decay": 0,
        "clip_norm": 0,
        "log_seconds": 0,
        "pca_lighting_std": 0,
        "base_learning_rate": 0,
        "checkpoints_to_keep": 1,
    }
    for name, low in at_least.items():
        # Not `value < low`: nan is wrong too.
        if not low <= getattr(config, name) < math.inf:
            raise ValueError(
                f"`{name}` must be finite and at least {low}. "
                f"Received: {name}={getattr(config, name)}"
            )
    for name, low, high in (
        ("dropout_rate", 0, 0.99),
        ("drop_path_rate", 0, 0.99),
        ("label_smoothing", 0, 0.99),
        ("warmup_factor", 0, 1),
        ("min_crop_area", 0.001, 1),
        ("seed", 0, 2**31 - 1),
    ):
        if not low <= getattr(config, name) <= high:
            raise ValueError(
                f"`{name}` must be within {low} and {high}. "
                f"Received: {name}={getattr(config, name)}"
            )
