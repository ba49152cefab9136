"""What the fields of a TrainConfig may be.

Each field by itself, and those that must fit each other; what needs the data
or the devices is checked where they are known.
"""

import dataclasses
import math
from typing import Any

from keras_regnet import errors

STRATEGIES = ("mirrored", "one_device", "multi_worker", "tpu")
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
SCHEDULES = ("cosine", "step", "exponential", "polynomial", "constant")
LOSSES = ("cross_entropy", "binary_cross_entropy")
POLICIES = ("none", "randaugment", "trivialaugment")
INTERPOLATIONS = ("bilinear", "bicubic", "area")
AUGMENTATIONS = ("auto", "random_resized_crop", "pad_crop", "none")
CROP_ASPECTS = ("uniform_swapped", "log_uniform")
COLLECTIVES = ("auto", "ring", "nccl")
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
MIN_IMAGE_SIZE = 32
MAX_CPU_DEVICES = 1024


def check(config: Any) -> None:
    """Raises unless all fields have values they may have.

    Args:
      config: a `TrainConfig`.

    Raises:
      ValueError: naming the field, what is allowed and what was received.
    """
    _check_types(config)
    _check_names(config)
    _check_ranges(config)


def _check_types(config):
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        wanted = (int, float) if field.type is float else field.type
        is_bool = isinstance(value, bool)
        if not isinstance(value, wanted) or is_bool != (field.type is bool):
            raise ValueError(
                f"`{field.name}` must be of type {field.type.__name__}. "
                f"Received: {field.name}={value!r}"
            )


def _check_names(config):
    for name, allowed in (
        ("strategy", STRATEGIES),
        ("optimizer", OPTIMIZERS),
        ("schedule", SCHEDULES),
        ("augmentation", AUGMENTATIONS),
        ("crop_aspect", CROP_ASPECTS),
        ("collectives", COLLECTIVES),
        ("precision", PRECISIONS),
        ("loss", LOSSES),
        ("auto_augment", POLICIES),
        ("interpolation", INTERPOLATIONS),
    ):
        if getattr(config, name) not in allowed:
            raise errors.unknown_value(name, getattr(config, name), allowed)


def _check_batch(config):
    if config.global_batch_size % config.repeated_augmentation:
        raise ValueError(
            "`global_batch_size` must be divisible by "
            "`repeated_augmentation`. Received: global_batch_size="
            f"{config.global_batch_size}, repeated_augmentation="
            f"{config.repeated_augmentation}"
        )
    if config.precise_bn_images and config.ema_decay:
        raise ValueError(
            "`precise_bn_images` measures the weights themselves, and needs "
            "`ema_decay` to be 0. Received: ema_decay="
            f"{config.ema_decay}"
        )
    if config.eval_image_size and config.eval_image_size < MIN_IMAGE_SIZE:
        raise ValueError(
            f"`eval_image_size` must be 0 or at least {MIN_IMAGE_SIZE}. "
            f"Received: eval_image_size={config.eval_image_size}"
        )


def _check_pairs(config):
    """Raises on a field that would have no effect as the others are."""
    for name, needed, meets in (
        ("balanced_subset", "num_train_examples", config.num_train_examples),
        ("milestones", "schedule='step'", config.schedule == "step"),
        ("tpu", "strategy='tpu'", config.strategy == "tpu"),
        ("task_index", "worker_hosts", config.worker_hosts),
    ):
        if getattr(config, name) and not meets:
            raise ValueError(
                f"`{name}` needs {needed}. "
                f"Received: {name}={getattr(config, name)!r}"
            )


def check_start(config: Any) -> None:
    """Raises if a run would keep random weights as they are.

    A recipe's defaults alone need not hold: its `weights` are given later.

    Args:
      config: a `TrainConfig`, recipe and flags.

    Raises:
      ValueError: naming the field.
    """
    for name in ("head_epochs", "frozen_stages", "frozen_bn"):
        if getattr(config, name) and not config.weights:
            raise ValueError(
                f"`{name}` needs `weights`: layers with random ones must "
                f"train. Received: {name}={getattr(config, name)!r}, weights=''"
            )


def _check_run(config):
    if config.total_steps and config.total_examples:
        raise ValueError(
            "The length must be given once. Received: total_steps="
            f"{config.total_steps}, total_examples={config.total_examples}"
        )
    if config.export_best and not config.best_checkpoints_to_keep:
        raise ValueError(
            "`export_best` needs `best_checkpoints_to_keep` to be at least "
            "1. Received: best_checkpoints_to_keep=0"
        )


def _check_ranges(config):
    at_least = {
        "image_size": MIN_IMAGE_SIZE,
        "epochs": 1,
        "total_steps": 0,
        "total_examples": 0,
        "global_batch_size": 1,
        "base_batch_size": 1,
        "warmup_epochs": 0,
        "weight_decay": 0,
        "clip_norm": 0,
        "log_seconds": 0,
        "pca_lighting_std": 0,
        "base_learning_rate": 0,
        "checkpoints_to_keep": 1,
        "frozen_stages": 0,
        "num_train_examples": 0,
        "randaugment_layers": 1,
        "mixup_alpha": 0,
        "cutmix_alpha": 0,
        "repeated_augmentation": 1,
        "head_epochs": 0,
        "polynomial_power": 0,
        "precise_bn_images": 0,
        "best_checkpoints_to_keep": 0,
        "checkpoint_seconds": 0,
        "checkpoint_steps": 0,
        "accumulation_steps": 1,
        "task_index": 0,
    }
    for name, low in at_least.items():
        # Not `value < low`: nan is wrong too.
        if not low <= getattr(config, name) < math.inf:
            raise ValueError(
                f"`{name}` must be finite and at least {low}. "
                f"Received: {name}={getattr(config, name)}"
            )
    _check_batch(config)
    _check_pairs(config)
    _check_run(config)
    for name, low, high in (
        ("num_cpu_devices", 0, MAX_CPU_DEVICES),
        ("dropout_rate", 0, 0.99),
        ("drop_path_rate", 0, 0.99),
        ("label_smoothing", 0, 0.99),
        ("ema_decay", 0, 0.999999),
        ("warmup_factor", 0, 1),
        ("min_crop_area", 0.001, 1),
        ("eval_crop_share", 0.1, 1),
        ("val_share", 0, 0.9),
        ("randaugment_magnitude", 0, 30),
        ("random_erasing", 0, 1),
        ("mix_probability", 0, 1),
        ("momentum", 0, 0.9999),
        ("layer_decay", 0.01, 1),
        ("decay_factor", 0, 1),
        ("final_rate_share", 0, 1),
        ("seed", 0, 2**31 - 1),
    ):
        if not low <= getattr(config, name) <= high:
            raise ValueError(
                f"`{name}` must be within {low} and {high}. "
                f"Received: {name}={getattr(config, name)}"
            )
