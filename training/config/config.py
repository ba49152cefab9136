"""TrainConfig: everything that decides what a training run does.

One frozen object, made by main.py from a recipe and flags, written to the run
folder before the first step, and passed down; nothing below main.py reads
flags. It imports no TensorFlow of its own.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from training.config import config_checks

# A run is the same run if these differ: where it is kept and computed, and how
# long it goes on.
_FREE_TO_CHANGE = (
    "workdir",
    "epochs",
    "total_steps",
    "total_examples",
    "worker_hosts",
    "task_index",
    "profile",
    "results",
)


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
    worker_hosts: str = _field(
        "",
        "For --strategy=multi_worker without TF_CONFIG: host:port of every "
        "worker, separated by commas, the chief's first.",
    )
    task_index: int = _field(
        0, "Which of --worker_hosts this process is, counted from 0."
    )
    collectives: str = _field(
        "auto", "How workers sum gradients: auto, ring or nccl."
    )
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
        "",
        "Initial weights, as `weights=` of the package: a run folder, a file "
        "(.keras, .weights.h5, .h5, .safetensors, .pth), the tag of a "
        "published set, such as imagenet, or hf:owner/name. The network gets "
        "their padding, widths and normalization.",
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
    frozen_stages: int = _field(
        0, "Stages that keep their weights, the stem with them; 0 for none."
    )
    frozen_bn: bool = _field(
        False, "Batch norm keeps its weights and statistics."
    )
    precision: str = _field(
        "float32", "float32, mixed_float16 or mixed_bfloat16."
    )

    # The images.
    dataset: str = _field(
        "digits",
        "digits, synthetic, folder:PATH (train/ and val/ with one folder per "
        "class), shards:PATH (what make_shards.py wrote), arrays:PATH.npz or "
        "the name of a tensorflow-datasets classification set.",
    )
    data_dir: str = _field("", "Where tensorflow-datasets keeps its files.")
    num_train_examples: int = _field(
        0, "Train on so many images of the set, drawn by the seed; 0 for all."
    )
    balanced_subset: bool = _field(
        False, "Draw num_train_examples from all classes alike."
    )
    val_share: float = _field(
        0.0,
        "Share of every class held out of the training images for "
        "evaluation, in place of the set's own evaluation images.",
    )
    cache: bool = _field(
        False, "Hold the image files in memory, whatever their size."
    )
    skip_bad_images: bool = _field(
        False,
        "Read all files before the run, and count and leave out those that "
        "are no images, in place of an error.",
    )
    image_size: int = _field(224, "Side of the training images in pixels.")
    eval_image_size: int = _field(
        0, "Side of the evaluation images; 0 for that of training."
    )
    eval_crop_share: float = _field(
        224 / 256, "Evaluation sees this share of the shorter side."
    )
    interpolation: str = _field(
        "bilinear", "How images are scaled: bilinear, bicubic or area."
    )
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

    auto_augment: str = _field(
        "none", "Policy: none, randaugment or trivialaugment."
    )
    randaugment_layers: int = _field(2, "Operations per image.")
    randaugment_magnitude: float = _field(
        9.0, "Their strength, of 0 to 30 (trivialaugment draws it)."
    )
    random_erasing: float = _field(
        0.0, "Share of the training images in which a rectangle is erased."
    )
    mixup_alpha: float = _field(
        0.0, "Beta distribution of mixup's weights; 0 for no mixup."
    )
    cutmix_alpha: float = _field(
        0.0, "Beta distribution of CutMix's areas; 0 for no CutMix."
    )
    mix_probability: float = _field(
        1.0, "Share of batches that are mixed, where either is on."
    )
    repeated_augmentation: int = _field(
        1, "Times an image is in a batch, augmented anew."
    )

    # How long and how fast.
    epochs: int = _field(100, "Passes over the training images.")
    total_steps: int = _field(
        0, "Length of the run in steps, in place of epochs."
    )
    total_examples: int = _field(
        0, "Length of the run in training images, in place of epochs."
    )
    global_batch_size: int = _field(
        1024, "Images per step, summed over replicas."
    )
    optimizer: str = _field("sgd", "sgd (Nesterov), or any other of Keras's.")
    momentum: float = _field(0.9, "Of sgd, rmsprop and muon.")
    rate_in_velocity: bool = _field(
        True, "sgd: v = mv - lr g as in Keras; if not, v = mv + g, w -= lr v."
    )
    optimizer_arguments: str = _field(
        "", "More for Keras's optimizer, such as beta_2=0.95,epsilon=1e-6."
    )
    layer_decay: float = _field(
        1.0, "lr of each block, as a share of that of the block after it."
    )
    head_epochs: float = _field(
        0.0, "Epochs in which only the classifier is trained, at the start."
    )
    base_learning_rate: float = _field(
        0.1, "Learning rate per `base_batch_size` images of the batch."
    )
    base_batch_size: int = _field(
        128, "lr = base_learning_rate * global_batch_size / this."
    )
    schedule: str = _field(
        "cosine", "cosine, step, exponential, polynomial or constant."
    )
    decay_every: str = _field(
        "30epochs",
        "step and exponential: length after which lr has been multiplied by "
        "decay_factor, in epochs, steps or examples.",
    )
    milestones: str = _field(
        "", "step: lengths at which lr falls, as 30epochs,60epochs."
    )
    decay_factor: float = _field(0.1, "step and exponential: see above.")
    polynomial_power: float = _field(1.0, "polynomial: 1 is a straight line.")
    final_rate_share: float = _field(
        0.0, "cosine and polynomial: share of lr that is left at the end."
    )
    warmup: str = _field(
        "", "Length in place of warmup_epochs: 500steps, 1e6examples, 2epochs."
    )
    warmup_epochs: float = _field(5.0, "Epochs of rising learning rate.")
    warmup_factor: float = _field(
        0.1, "Share of the learning rate at which warm-up begins."
    )
    per_epoch_schedule: bool = _field(
        False, "Hold the learning rate for an epoch, as the paper's code does."
    )
    weight_decay: float = _field(
        5e-5,
        "L2 added to the gradient for sgd; decoupled for all others.",
    )
    decay_norm_and_bias: bool = _field(
        True, "Decay batch norm and biases too, not only kernels."
    )
    clip_norm: float = _field(
        0.0, "Largest global norm of the gradient; 0 for no limit."
    )
    label_smoothing: float = _field(0.0, "Weight of the uniform target.")
    loss: str = _field(
        "cross_entropy", "cross_entropy (softmax) or binary_cross_entropy."
    )
    precise_bn_images: int = _field(
        0, "Training images that batch norm is measured on before evaluation."
    )
    accumulation_steps: int = _field(
        1,
        "Parts in which each replica computes its share of a step, one after "
        "the other, to save memory; batch norm sees a part at a time.",
    )
    ema_decay: float = _field(
        0.0,
        "Share that the averaged weights keep at each step; they are what is "
        "evaluated and exported. 0 averages nothing.",
    )
    jit_compile: bool = _field(
        False, "Compile the forward and backward pass with XLA."
    )

    # The run.
    log_seconds: float = _field(
        30.0, "Longest silence within an epoch, roughly."
    )
    results: str = _field(
        "", "CSV to which the finished run adds a row, as validate.py does."
    )
    profile: bool = _field(
        False,
        "Write a TensorBoard profile of ten training steps of this process to "
        "events/.",
    )
    export_best: bool = _field(
        False,
        "Export the weights of the epoch with the best validation top-1, in "
        "place of the last epoch's.",
    )
    portable_export: bool = _field(
        True,
        "Store only operations that every TensorFlow runs; if not, the "
        "SavedModel is faster and needs oneDNN.",
    )
    checkpoints_to_keep: int = _field(
        2, "Newest checkpoints kept, beside the best."
    )
    best_checkpoints_to_keep: int = _field(
        1, "Checkpoints of the best epochs kept, beside the newest."
    )
    checkpoint_seconds: float = _field(
        600.0,
        "Longest time between checkpoints, roughly; 0 for none within an "
        "epoch. There is always one at its end.",
    )
    checkpoint_steps: int = _field(
        0, "Steps between checkpoints; 0 goes by the time alone."
    )

    def __post_init__(self):
        config_checks.check(self)

    def learning_rate(self) -> float:
        """Returns the peak learning rate for this global batch."""
        return (
            self.base_learning_rate
            * self.global_batch_size
            / self.base_batch_size
        )

    def num_steps(self, steps_per_epoch: int) -> int:
        """Returns the steps of the whole run."""
        unit, number = length(dataclasses.asdict(self))
        if unit == "epochs":
            return number * steps_per_epoch
        if unit == "total_examples":
            return math.ceil(number / self.global_batch_size)
        return number

    def num_epochs(self, steps_per_epoch: int) -> int:
        """Returns the epochs of the whole run, the last perhaps a part."""
        return math.ceil(self.num_steps(steps_per_epoch) / steps_per_epoch)

    def evaluation_size(self) -> int:
        """Returns the side of the evaluation images."""
        return self.eval_image_size or self.image_size

    def mixes(self) -> bool:
        """Returns whether batches are mixed, so that labels are soft."""
        return bool(
            self.mix_probability and (self.mixup_alpha or self.cutmix_alpha)
        )

    def to_json(self) -> str:
        """Returns the fields as a JSON object."""
        return json.dumps(dataclasses.asdict(self), indent=2)


def length(fields: Mapping[str, Any]) -> tuple[str, int]:
    """Returns the field that gives the length of a run, and its value."""
    for name in ("total_steps", "total_examples"):
        if fields.get(name):
            return name, int(fields[name])
    return "epochs", int(fields["epochs"])


def differences(ours: TrainConfig, stored: dict[str, Any]) -> list[str]:
    """Returns what makes two runs different runs, one line per field.

    Args:
      ours: the configuration asked for.
      stored: the fields a run folder was made with.

    Returns:
      Lines such as "seed: 0 in the folder, 1 asked for". Empty if a run of
      `stored` may go on as `ours`; where it is kept and its length may
      differ.
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
