"""What the fields of a TrainConfig may be together.

Each field by itself is checked by its own bounds and choices; what needs the
data or the devices is checked where they are known.
"""

from typing import Any

from keras_regnet import errors


def check(config: Any) -> None:
    """Raises unless the fields of a `TrainConfig` fit each other.

    Raises:
      ValueError: naming the fields and what was received.
    """
    _check_batch(config)
    _check_pairs(config)
    _check_class_weights(config.class_weights)
    _check_run(config)


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


def _check_class_weights(value):
    if value not in ("none", "balanced") and not value.lower().endswith(
        (".csv", ".json")
    ):
        raise errors.unknown_value(
            "class_weights",
            value,
            ("none", "balanced", "FILE.csv", "FILE.json"),
        )


def check_start(config: Any) -> None:
    """Raises if a run would keep random weights as they are.

    Asked for recipe and flags together: a recipe's `weights` are given later.

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
