"""Recipes: functions that return a TrainConfig.

A recipe is a starting point; any flag of main.py overrides a field of it.
docs/training.md tells them apart.
"""

import dataclasses
from collections.abc import Callable

import keras_regnet
from keras_regnet import errors
from training.config import config as train_config

TrainConfig = train_config.TrainConfig

# Global batch on 8 GPUs and warm-up epochs of the configurations that the
# paper's code publishes (pycls configs/dds_baselines).
_LARGE, _MIDDLE, _SMALL = (1024, 5.0), (512, 5.0), (256, 5.0)
_NO_WARMUP = (256, 0.0)
_BATCHES = {
    "RegNetX-200MF": _LARGE,
    "RegNetX-400MF": _LARGE,
    "RegNetX-600MF": _LARGE,
    "RegNetX-800MF": _LARGE,
    "RegNetX-1.6GF": _LARGE,
    "RegNetX-3.2GF": _MIDDLE,
    "RegNetX-4.0GF": _MIDDLE,
    "RegNetX-6.4GF": _MIDDLE,
    "RegNetX-8.0GF": _MIDDLE,
    "RegNetX-12GF": _MIDDLE,
    "RegNetX-16GF": _MIDDLE,
    "RegNetX-32GF": _SMALL,
    "RegNetY-200MF": _LARGE,
    "RegNetY-400MF": _LARGE,
    "RegNetY-600MF": _LARGE,
    "RegNetY-800MF": _LARGE,
    "RegNetY-1.6GF": _LARGE,
    "RegNetY-3.2GF": _MIDDLE,
    "RegNetY-4.0GF": _MIDDLE,
    "RegNetY-6.4GF": _MIDDLE,
    "RegNetY-8.0GF": _MIDDLE,
    "RegNetY-12GF": _MIDDLE,
    "RegNetY-16GF": _SMALL,
    "RegNetY-32GF": _SMALL,
    "ResNet-50": _NO_WARMUP,
    "ResNet-101": _NO_WARMUP,
    "ResNet-152": _NO_WARMUP,
    "ResNeXt-50": _NO_WARMUP,
    "ResNeXt-101": _NO_WARMUP,
    "ResNeXt-152": _NO_WARMUP,
}


def quickstart() -> TrainConfig:
    """The default: a small RegNet on the digits, under two minutes.

    No flips (a mirrored 2 is not a 2) and small shifts only.
    """
    return TrainConfig(
        recipe="quickstart",
        variant="RegNetX-6MF",
        dataset="digits",
        image_size=32,
        augmentation="pad_crop",
        flip=False,
        epochs=20,
        global_batch_size=64,
        base_learning_rate=0.2,
        warmup_epochs=2.0,
        weight_decay=5e-4,
        label_smoothing=0.1,
    )


def paper(variant: str = "") -> TrainConfig:
    """Section 5 of "Designing Network Design Spaces" (arXiv 2003.13678).

    100 epochs, lr 0.1 per 128 images, half-period cosine set once per epoch,
    five epochs of warm-up from a tenth, L2 of 5e-5 on all parameters (batch
    norm and biases too), velocity without the rate, no other regularization.
    Batch norm is per replica: 8 of them see 128, 64 or 32 images each. What
    is left of a difference from pycls: batch norm keeps the biased variance.

    Args:
      variant: decides the batch (1024, 512 or 256) and, for ResNets, that
        there is no warm-up; 1024 for networks that the paper does not have.

    Returns:
      A new `TrainConfig`.
    """
    config = TrainConfig(
        recipe="paper",
        dataset="imagenet2012",
        image_size=224,
        augmentation="auto",
        min_crop_area=0.08,
        crop_aspect="uniform_swapped",
        pca_lighting_std=0.1,
        epochs=100,
        optimizer="sgd",
        momentum=0.9,
        lr_in_velocity=False,
        base_learning_rate=0.1,
        base_batch_size=128,
        schedule="cosine",
        per_epoch_schedule=True,
        warmup_factor=0.1,
        weight_decay=5e-5,
        decay_norm_and_bias=True,
    )
    batch, warmup = _BATCHES.get(_published_name(variant), _LARGE)
    return dataclasses.replace(
        config, global_batch_size=batch, warmup_epochs=warmup
    )


def _published_name(variant):
    """Returns the variant's name in the table, "" if it has none."""
    if not variant or variant.endswith(".json"):
        return ""
    try:
        network = keras_regnet.get_config(variant)
    except ValueError:
        # No published network; whoever builds it will say so.
        return ""
    names = (
        name for name in _BATCHES if keras_regnet.get_config(name) == network
    )
    return next(names, "")


def modern() -> TrainConfig:
    """A current recipe: long, strongly augmented, averaged weights.

    In the style of torchvision's second recipe (pytorch/vision#3995) and
    "ResNet strikes back" (arXiv 2110.00476): smoothed labels, mixup, CutMix,
    RandAugment, random erasing, every image four times in a batch, decay on
    kernels only, and evaluation at a larger size than training (FixRes,
    arXiv 1906.06423). `--loss=binary_cross_entropy --label_smoothing=0` is
    the other loss.
    """
    return TrainConfig(
        recipe="modern",
        dataset="imagenet2012",
        image_size=176,
        eval_image_size=224,
        eval_crop_fraction=224 / 232,
        crop_aspect="log_uniform",
        auto_augment="randaugment",
        randaugment_layers=2,
        randaugment_magnitude=9.0,
        random_erasing=0.1,
        mixup_alpha=0.2,
        cutmix_alpha=1.0,
        repeated_augmentation=4,
        epochs=600,
        global_batch_size=1024,
        optimizer="sgd",
        base_learning_rate=0.0625,
        base_batch_size=128,
        schedule="cosine",
        warmup_epochs=5.0,
        warmup_factor=0.01,
        weight_decay=2e-5,
        decay_norm_and_bias=False,
        label_smoothing=0.1,
        ema_decay=0.9999,
        zero_init_last_gamma=True,
        drop_path_rate=0.05,
    )


def mobile() -> TrainConfig:
    """For networks of up to some 400 MF, which underfit more than overfit.

    Long, with averaged weights and smoothed labels, but mild augmentation:
    no mixing, no erasing, weak RandAugment, larger crops.
    """
    return TrainConfig(
        recipe="mobile",
        variant="RegNetX-200MF",
        dataset="imagenet2012",
        image_size=224,
        min_crop_area=0.2,
        crop_aspect="log_uniform",
        auto_augment="randaugment",
        randaugment_layers=1,
        randaugment_magnitude=5.0,
        epochs=300,
        global_batch_size=1024,
        optimizer="sgd",
        base_learning_rate=0.1,
        base_batch_size=128,
        schedule="cosine",
        warmup_epochs=5.0,
        warmup_factor=0.01,
        weight_decay=2e-5,
        decay_norm_and_bias=False,
        ema_decay=0.9999,
        label_smoothing=0.1,
    )


def finetune() -> TrainConfig:
    """From --weights to another set.

    The new classifier alone for an epoch, then all layers, the early ones at
    a lower rate. `--frozen_stages` and `--frozen_bn` hold more still.
    """
    return TrainConfig(
        recipe="finetune",
        image_size=224,
        min_crop_area=0.35,
        crop_aspect="log_uniform",
        epochs=20,
        global_batch_size=64,
        base_learning_rate=0.02,
        warmup_epochs=1.0,
        head_epochs=1.0,
        layer_decay=0.9,
        weight_decay=5e-5,
        decay_norm_and_bias=False,
        label_smoothing=0.1,
    )


_RECIPES: dict[str, Callable[[], TrainConfig]] = {
    "quickstart": quickstart,
    "paper": paper,
    "modern": modern,
    "mobile": mobile,
    "finetune": finetune,
}
NAMES = tuple(_RECIPES)


def get(name: str, variant: str = "") -> TrainConfig:
    """Returns the configuration of a recipe.

    Args:
      name: one of `NAMES`.
      variant: the network to be trained, where the recipe depends on it.

    Returns:
      A new `TrainConfig`; its `variant` is the recipe's own.

    Raises:
      ValueError: if there is no such recipe.
    """
    if name not in _RECIPES:
        raise errors.unknown_value("recipe", name, NAMES)
    if name == "paper":
        return paper(variant)
    return _RECIPES[name]()
