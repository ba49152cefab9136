"""Recipes: functions that return a TrainConfig.

A recipe is a starting point; any flag of main.py overrides a field of it.
"""

from collections.abc import Callable

from keras_regnet import errors
from training import config as train_config

TrainConfig = train_config.TrainConfig


def quickstart() -> TrainConfig:
    """The default: a small RegNet on the digits, under two minutes.

    No flips (a mirrored 2 is no 2) and small shifts only.
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


def paper() -> TrainConfig:
    """Section 5 of "Designing Network Design Spaces" (arXiv 2003.13678).

    100 epochs, lr 0.1 per 128 images, half-period cosine set once per epoch,
    five epochs of warm-up from a tenth, L2 of 5e-5 on all parameters (batch
    norm and biases too), no other regularisation. The paper's batch is 1024,
    512 or 256 for small, middle and large networks on 8 GPUs. One known
    difference from pycls: batch norm keeps the biased variance.
    """
    return TrainConfig(
        recipe="paper",
        dataset="imagenet2012",
        image_size=224,
        augmentation="auto",
        min_crop_area=0.08,
        crop_aspect="uniform_swapped",
        pca_lighting_std=0.1,
        epochs=100,
        global_batch_size=1024,
        optimizer="sgd",
        base_learning_rate=0.1,
        base_batch_size=128,
        schedule="cosine",
        per_epoch_schedule=True,
        warmup_epochs=5.0,
        warmup_factor=0.1,
        weight_decay=5e-5,
        decay_norm_and_bias=True,
    )


def modern() -> TrainConfig:
    """A current recipe: per-step cosine, smoothing, decay on kernels only."""
    return TrainConfig(
        recipe="modern",
        dataset="imagenet2012",
        image_size=224,
        crop_aspect="log_uniform",
        epochs=300,
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
        zero_init_last_gamma=True,
        drop_path_rate=0.05,
    )


def finetune() -> TrainConfig:
    """From --weights to another set: new head, a tenth of the lr, milder."""
    return TrainConfig(
        recipe="finetune",
        image_size=224,
        min_crop_area=0.35,
        crop_aspect="log_uniform",
        epochs=20,
        global_batch_size=64,
        base_learning_rate=0.02,
        warmup_epochs=1.0,
        weight_decay=5e-5,
        decay_norm_and_bias=False,
        label_smoothing=0.1,
    )


_RECIPES: dict[str, Callable[[], TrainConfig]] = {
    "quickstart": quickstart,
    "paper": paper,
    "modern": modern,
    "finetune": finetune,
}
NAMES = tuple(_RECIPES)


def get(name: str) -> TrainConfig:
    """Returns the configuration of a recipe.

    Args:
      name: one of `NAMES`.

    Returns:
      A new `TrainConfig`.

    Raises:
      ValueError: if there is no such recipe.
    """
    if name not in _RECIPES:
        raise errors.unknown_value("recipe", name, NAMES)
    return _RECIPES[name]()
