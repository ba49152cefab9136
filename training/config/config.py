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

from keras_regnet import image_sizes
from keras_regnet.center_crop import CenterCrop
from training.config import config_checks
from training.config import fields

MIN_IMAGE_SIZE = 32
# All of Keras's, by their lower-case names.
OPTIMIZERS = (
    "sgd",
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "ftrl",
    "lamb",
    "lion",
    "muon",
    "nadam",
    "rmsprop",
)

# Fields that config.json files of older runs have under other names.
_RENAMED = {
    "val_share": "val_fraction",
    "eval_crop_share": "eval_crop_fraction",
    "final_rate_share": "final_lr_fraction",
    "rate_in_velocity": "lr_in_velocity",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run. Each field is also a flag of main.py.

    Rates are per step and per image as their names say; `*_epochs` are passes
    over the training images.
    """

    # Where and on what.
    strategy: str = fields.field(
        "mirrored",
        "Devices: mirrored, one_device, multi_worker or tpu.",
        choices=("mirrored", "one_device", "multi_worker", "tpu"),
    )
    num_cpu_devices: int = fields.field(
        0,
        "Logical CPU devices that stand in for GPUs; 0 uses what there is.",
        low=0,
        high=1024,
    )
    tpu: str = fields.field(
        "",
        "Name or address of the TPU, for --strategy=tpu.",
        resume=fields.NOTHING,
    )
    worker_hosts: str = fields.field(
        "",
        "For --strategy=multi_worker without TF_CONFIG: host:port of every "
        "worker, separated by commas, the chief's first.",
        resume=fields.NOTHING,
    )
    task_index: int = fields.field(
        0,
        "Which of --worker_hosts this process is, counted from 0.",
        low=0,
        resume=fields.NOTHING,
    )
    collectives: str = fields.field(
        "auto",
        "How workers sum gradients: auto, ring or nccl.",
        choices=("auto", "ring", "nccl"),
        resume=fields.NOTHING,
    )
    recipe: str = fields.field("quickstart", "Recipe that gives the defaults.")
    workdir: str = fields.field(
        "", "Run folder; default runs/<recipe>.", resume=fields.NOTHING
    )
    seed: int = fields.field(
        0,
        "Seed of initial weights, order and augmentation.",
        low=0,
        high=2**31 - 1,
    )

    # The network.
    variant: str = fields.field(
        "RegNetX-200MF",
        "Network: a published variant, RegNetX-6MF or RegNetX-30MF for small "
        "images, or a .json file written by RegNetConfig.to_json.",
        resume=fields.NETWORK,
    )
    stem: str = fields.field(
        "",
        "Stem in place of the variant's own: simple, cifar or resnet.",
        resume=fields.NETWORK,
    )
    weights: str = fields.field(
        "",
        "Initial weights, as `weights=` of the package: a run folder, a file "
        "(.keras, .weights.h5, .h5, .safetensors, .pth), the tag of a "
        "published set, default or imagenet, or hf:owner/name. The network "
        "gets their padding, widths and normalization.",
    )
    dropout_rate: float = fields.field(
        0.0,
        "Dropout before the classifier.",
        low=0,
        high=0.99,
    )
    drop_path_rate: float = fields.field(
        0.0,
        "Stochastic depth of the last block, linear over depth.",
        low=0,
        high=0.99,
    )
    zero_init_last_gamma: bool = fields.field(
        False, "Start every residual branch at zero."
    )
    sync_bn: bool = fields.field(
        False, "Batch norm over the global batch, not per replica."
    )
    frozen_stages: int = fields.field(
        0,
        "Stages that keep their weights, the stem with them; 0 for none.",
        low=0,
    )
    frozen_bn: bool = fields.field(
        False, "Batch norm keeps its weights and statistics."
    )
    precision: str = fields.field(
        "float32",
        "float32, mixed_float16 or mixed_bfloat16, which a CPU without "
        "instructions for it computes as float32.",
        choices=("float32", "mixed_float16", "mixed_bfloat16"),
    )

    # The images.
    dataset: str = fields.field(
        "digits",
        "digits, synthetic, folder:PATH (train/ and val/ with one folder per "
        "class, or a CSV of labels), shards:PATH (what make_shards.py wrote), "
        "arrays:PATH.npz or the name of a tensorflow-datasets classification "
        "set.",
        resume=fields.DATA,
    )
    data_dir: str = fields.field(
        "",
        "Where tensorflow-datasets keeps its files.",
        resume=fields.DATA,
    )
    labels: str = fields.field(
        "auto",
        "single: one label an image (softmax); multiple: any number of them, "
        "each class by itself (sigmoid, binary cross-entropy); auto is what "
        "the data set has, see docs/training.md.",
        choices=("auto", "single", "multiple"),
    )
    num_train_examples: int = fields.field(
        0,
        "Train on so many images of the set, drawn by the seed; 0 for all.",
        low=0,
    )
    balanced_subset: bool = fields.field(
        False, "Draw num_train_examples from all classes alike."
    )
    val_fraction: float = fields.field(
        0.0,
        "Fraction of every class held out of the training images for "
        "evaluation, in place of the set's own evaluation images.",
        low=0,
        high=0.9,
    )
    cache: bool = fields.field(
        False,
        "Hold the image files in memory, whatever their size.",
        resume=fields.NOTHING,
    )
    skip_bad_images: bool = fields.field(
        False,
        "Read all files before the run, and count and leave out those that "
        "are not images, in place of an error.",
        resume=fields.NOTHING,
    )
    image_size: int | str = fields.field(
        224,
        "Training images in pixels: the side of a square, or HEIGHTxWIDTH.",
        low=MIN_IMAGE_SIZE,
    )
    eval_image_size: int | str = fields.field(
        0,
        "Likewise of the evaluation images; 0 for that of training.",
        low=MIN_IMAGE_SIZE,
        or_zero=True,
    )
    eval_crop_fraction: float = fields.field(
        224 / 256,
        "Evaluation sees this fraction of the shorter side, or of the side "
        "that fits HEIGHTxWIDTH most tightly.",
        low=0.1,
        high=1,
    )
    interpolation: str = fields.field(
        "bilinear",
        "How images are scaled: bilinear, bicubic or area.",
        choices=("bilinear", "bicubic", "area"),
    )
    augmentation: str = fields.field(
        "auto",
        "random_resized_crop, pad_crop or none; auto is pad_crop for sets of "
        "small images of one size, else random_resized_crop. For pad_crop and "
        "none, images are scaled and cropped as in evaluation.",
        choices=("auto", "random_resized_crop", "pad_crop", "none"),
    )
    min_crop_area: float = fields.field(
        0.08,
        "Smallest fraction of the image that a random crop keeps.",
        low=0.001,
        high=1,
    )
    crop_aspect: str = fields.field(
        "uniform_swapped",
        "Aspect of random crops: uniform_swapped (the paper's) or "
        "log_uniform (torchvision's).",
        choices=("uniform_swapped", "log_uniform"),
    )
    flip: bool = fields.field(True, "Mirror half of the training images.")
    pca_lighting_std: float = fields.field(
        0.0,
        "Strength of the color noise along ImageNet's components.",
        low=0,
    )
    antialias: bool = fields.field(
        False, "Average over source pixels where resizing makes smaller."
    )

    auto_augment: str = fields.field(
        "none",
        "Policy: none, randaugment or trivialaugment.",
        choices=("none", "randaugment", "trivialaugment"),
    )
    randaugment_layers: int = fields.field(
        2,
        "Operations per image.",
        low=1,
    )
    randaugment_magnitude: float = fields.field(
        9.0,
        "Their strength, of 0 to 30 (trivialaugment draws it).",
        low=0,
        high=30,
    )
    random_erasing: float = fields.field(
        0.0,
        "Fraction of the training images in which a rectangle is erased.",
        low=0,
        high=1,
    )
    mixup_alpha: float = fields.field(
        0.0,
        "Beta distribution of mixup's weights; 0 for no mixup.",
        low=0,
    )
    cutmix_alpha: float = fields.field(
        0.0,
        "Beta distribution of CutMix's areas; 0 for no CutMix.",
        low=0,
    )
    mix_probability: float = fields.field(
        1.0,
        "Fraction of batches that are mixed, where either is on.",
        low=0,
        high=1,
    )
    repeated_augmentation: int = fields.field(
        1,
        "Times an image is in a batch, augmented anew.",
        low=1,
    )

    # How long and how fast.
    epochs: int = fields.field(
        100,
        "Passes over the training images.",
        low=1,
        resume=fields.NOTHING,
    )
    total_steps: int = fields.field(
        0,
        "Length of the run in steps, in place of epochs.",
        low=0,
        resume=fields.NOTHING,
    )
    total_examples: int = fields.field(
        0,
        "Length of the run in training images, in place of epochs.",
        low=0,
        resume=fields.NOTHING,
    )
    global_batch_size: int = fields.field(
        1024,
        "Images per step, summed over replicas.",
        low=1,
    )
    optimizer: str = fields.field(
        "sgd",
        "sgd (Nesterov), or any other of Keras's.",
        choices=OPTIMIZERS,
    )
    momentum: float = fields.field(
        0.9,
        "Of sgd, rmsprop and muon.",
        low=0,
        high=0.9999,
    )
    lr_in_velocity: bool = fields.field(
        True, "sgd: v = mv - lr g as in Keras; if not, v = mv + g, w -= lr v."
    )
    optimizer_arguments: str = fields.field(
        "", "More for Keras's optimizer, such as beta_2=0.95,epsilon=1e-6."
    )
    layer_decay: float = fields.field(
        1.0,
        "lr of each block, as a fraction of that of the block after it.",
        low=0.01,
        high=1,
    )
    head_epochs: float = fields.field(
        0.0,
        "Epochs in which only the classifier is trained, at the start.",
        low=0,
    )
    base_learning_rate: float = fields.field(
        0.1,
        "Learning rate per `base_batch_size` images of the batch.",
        low=0,
    )
    base_batch_size: int = fields.field(
        128,
        "lr = base_learning_rate * global_batch_size / this.",
        low=1,
    )
    schedule: str = fields.field(
        "cosine",
        "cosine, step, exponential, polynomial or constant.",
        choices=("cosine", "step", "exponential", "polynomial", "constant"),
    )
    decay_every: str = fields.field(
        "30epochs",
        "step and exponential: length after which lr has been multiplied by "
        "decay_factor, in epochs, steps or examples.",
    )
    milestones: str = fields.field(
        "", "step: lengths at which lr falls, as 30epochs,60epochs."
    )
    decay_factor: float = fields.field(
        0.1,
        "step and exponential: see above.",
        low=0,
        high=1,
    )
    polynomial_power: float = fields.field(
        1.0,
        "polynomial: 1 is a straight line.",
        low=0,
    )
    final_lr_fraction: float = fields.field(
        0.0,
        "cosine and polynomial: fraction of lr that is left at the end.",
        low=0,
        high=1,
    )
    warmup: str = fields.field(
        "", "Length in place of warmup_epochs: 500steps, 1e6examples, 2epochs."
    )
    warmup_epochs: float = fields.field(
        5.0,
        "Epochs of rising learning rate.",
        low=0,
    )
    warmup_factor: float = fields.field(
        0.1,
        "Fraction of the learning rate at which warm-up begins.",
        low=0,
        high=1,
    )
    per_epoch_schedule: bool = fields.field(
        False, "Hold the learning rate for an epoch, as the paper's code does."
    )
    weight_decay: float = fields.field(
        5e-5,
        "L2 added to the gradient for sgd; decoupled for all others.",
        low=0,
    )
    decay_norm_and_bias: bool = fields.field(
        True, "Decay batch norm and biases too, not only kernels."
    )
    clip_norm: float = fields.field(
        0.0,
        "Largest global norm of the gradient; 0 for no limit.",
        low=0,
    )
    label_smoothing: float = fields.field(
        0.0,
        "Weight of the uniform target.",
        low=0,
        high=0.99,
    )
    loss: str = fields.field(
        "cross_entropy",
        "cross_entropy (softmax) or binary_cross_entropy, of one label an "
        "image; of several it is binary_cross_entropy.",
        choices=("cross_entropy", "binary_cross_entropy"),
    )
    class_weights: str = fields.field(
        "none",
        "What the loss of an image counts, by its class: none (all alike), "
        "balanced (images / (classes * images of the class)), or a file: "
        "NAME.csv with rows of class name and weight, or NAME.json with an "
        "object of them. The loss is the weighted sum over the batch, by the "
        "number of its images.",
    )
    precise_bn_images: int = fields.field(
        0,
        "Training images that batch norm is measured on before evaluation.",
        low=0,
    )
    accumulation_steps: int = fields.field(
        1,
        "Parts in which each replica computes its part of a step, one after "
        "the other, to save memory; batch norm sees a part at a time.",
        low=1,
    )
    ema_decay: float = fields.field(
        0.0,
        "Fraction that the averaged weights keep at each step; they are "
        "evaluated and exported. 0 averages nothing.",
        low=0,
        high=0.999999,
    )
    jit_compile: bool = fields.field(
        False, "Compile the forward and backward pass with XLA."
    )

    # The run.
    early_stopping_epochs: int = fields.field(
        0,
        "Stop when so many epochs in a row have not been better than the best "
        "before them, by best_metric; 0 never does.",
        low=0,
        resume=fields.NOTHING,
    )
    best_metric: str = fields.field(
        "accuracy",
        "Of which epoch the validation images say that it is the best: "
        "accuracy (the highest top-1; mAP of several labels an image) or loss "
        "(the lowest).",
        choices=("accuracy", "loss"),
        resume=fields.NOTHING,
    )
    log_seconds: float = fields.field(
        30.0,
        "Longest silence within an epoch, roughly.",
        low=0,
        resume=fields.NOTHING,
    )
    results: str = fields.field(
        "",
        "CSV to which the finished run adds a row, as validate.py does.",
        resume=fields.NOTHING,
    )
    profile: bool = fields.field(
        False,
        "Write a TensorBoard profile of ten training steps of this process to "
        "events/.",
        resume=fields.NOTHING,
    )
    threshold: float = fields.field(
        0.5,
        "Of several labels an image: probability from which a class counts as "
        "predicted, for precision, recall, F1 and what the exports say.",
        low=0,
        high=1,
        resume=fields.NOTHING,
    )
    export_best: bool = fields.field(
        False,
        "Export the weights of the best epoch, by best_metric, in place of the "
        "last epoch's.",
        resume=fields.NOTHING,
    )
    portable_export: bool = fields.field(
        True,
        "Store only operations that every TensorFlow runs; if not, the "
        "SavedModel is faster and needs oneDNN.",
        resume=fields.NOTHING,
    )
    checkpoints_to_keep: int = fields.field(
        2,
        "Newest checkpoints kept, beside the best.",
        low=1,
        resume=fields.NOTHING,
    )
    best_checkpoints_to_keep: int = fields.field(
        1,
        "Checkpoints of the best epochs kept, beside the newest.",
        low=0,
        resume=fields.NOTHING,
    )
    checkpoint_seconds: float = fields.field(
        600.0,
        "Longest time between checkpoints, roughly; 0 for none within an "
        "epoch. There is always one at its end.",
        low=0,
        resume=fields.NOTHING,
    )
    checkpoint_steps: int = fields.field(
        0,
        "Steps between checkpoints; 0 goes by the time alone.",
        low=0,
        resume=fields.NOTHING,
    )

    def __post_init__(self):
        fields.expand_paths(self)
        fields.shorten_sizes(self)
        fields.check(self)
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

    def training_size(self) -> tuple[int, int]:
        """Returns height and width of the training images."""
        return image_sizes.parse("image_size", self.image_size)

    def evaluation_size(self) -> tuple[int, int]:
        """Returns height and width of the evaluation images."""
        size = self.eval_image_size or self.image_size
        return image_sizes.parse("eval_image_size", size)

    def center_crop(self) -> CenterCrop:
        """Returns how evaluation images are scaled and cropped."""
        return CenterCrop(
            self.eval_crop_fraction, self.interpolation, self.antialias
        )

    def mixes(self) -> bool:
        """Returns whether batches are mixed, so that labels are soft."""
        return bool(
            self.mix_probability and (self.mixup_alpha or self.cutmix_alpha)
        )

    def to_json(self) -> str:
        """Returns the fields as a JSON object."""
        return json.dumps(dataclasses.asdict(self), indent=2)


def stored_fields(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of a run's config.json under their names of today."""
    return {
        _RENAMED.get(name, name): value for name, value in dict(stored).items()
    }


def length(fields: Mapping[str, Any]) -> tuple[str, int]:
    """Returns the field that gives the length of a run, and its value."""
    for name in ("total_steps", "total_examples"):
        if fields.get(name):
            return name, int(fields[name])
    return "epochs", int(fields["epochs"])


def differences(
    ours: TrainConfig,
    stored: Mapping[str, Any],
    compared: str = fields.VALUE,
) -> list[str]:
    """Returns the fields in which two runs differ, one line per field.

    Args:
      ours: the configuration requested.
      stored: the fields a run folder was made with.
      compared: which fields: those of which a run that resumes compares this,
        see `fields.field`.

    Returns:
      Lines such as "seed: 0 in the folder, 1 requested". A field that the
      folder does not know yet had the value that is its default. Those of
      `fields.VALUE` are empty if a run of `stored` may resume as `ours`, where
      network, data set and length allow it.
    """
    requested = dataclasses.asdict(ours)
    kinds = {f.name: f.metadata["resume"] for f in dataclasses.fields(ours)}
    # Fields that there are no longer are compared by their values.
    names = [
        name
        for name in dict.fromkeys((*requested, *stored))
        if kinds.get(name, fields.VALUE) == compared
    ]
    missing = "nothing"
    defaults = {f.name: f.default for f in dataclasses.fields(ours)}
    stored = {**defaults, **stored}
    return [
        f"{name}: {stored.get(name, missing)!r} in the folder, "
        f"{requested.get(name, missing)!r} requested"
        for name in names
        if stored.get(name, missing) != requested.get(name, missing)
    ]
