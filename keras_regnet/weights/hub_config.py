"""A model's `config.json` on the hub: timm's fields, and what they cannot say.

timm names the network, its classes, the size of its images and how they are
cropped and normalized. What is ours alone stands under a key of its own, which
timm does not look at. No Keras here.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from typing import NamedTuple

from keras_regnet import config as config_lib
from keras_regnet import errors
from keras_regnet import model_record
from keras_regnet import plan
from keras_regnet import safe_files
from keras_regnet.center_crop import CenterCrop
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.version import VERSION
from keras_regnet.weights import fetch
from keras_regnet.weights import mapping
from keras_regnet.weights import records
from keras_regnet.weights import timm_networks
from keras_regnet.weights.records import WeightRecord

NAME = "config.json"
# In place of a size that is not known.
DEFAULT_SIZE = (224, 224)
_OURS = "keras_regnet"
# timm's names of the interpolations of `tf.image.resize`.
_INTERPOLATIONS = {
    "bilinear": "bilinear",
    "bicubic": "bicubic",
    "nearest": "nearest",
    "lanczos3": "lanczos",
}
# timm samples one of these in training.
_OTHERS = {"random": "bilinear"}
_CLASSIFIER = "head.fc"
_WHITE = 255
# Of an image, which is made for it before anything is computed.
_MAX_SIDE = 4096


class Described(NamedTuple):
    """What a `config.json` says of the weights beside it.

    Args:
      network: None if only timm's name says what it is.
      record: of a model built from the weights.
    """

    network: RegNetConfig | AnyNetConfig | None
    record: "model_record.ModelRecord"


def write(
    network: RegNetConfig | AnyNetConfig,
    record: "model_record.ModelRecord",
    *,
    classes: int,
    channels: int = 3,
    licence: str | None = None,
) -> dict[str, Any]:
    """Returns the `config.json` of a model, as values; raises if timm has none.

    Args:
      network: what the model is.
      record: what it knows of itself.
      classes: outputs of its classifier, 0 if it has none.
      channels: of its images.
      licence: of its weights, None if it is not known.
    """
    architecture = timm_networks.architecture(network)
    crop = record.crop
    if crop.interpolation not in _INTERPOLATIONS:
        raise errors.unknown_value(
            "interpolation", crop.interpolation, _INTERPOLATIONS
        )
    names = mapping.of_format(network, architecture.file_format)
    first = names[mapping.first_kernel(network)].name.rpartition(".")[0]
    arguments = dict(architecture.model_args)
    if channels != 3:
        arguments["in_chans"] = channels
    pretrained = {
        "custom_load": False,
        "input_size": [channels, *(record.image_size or DEFAULT_SIZE)],
        "fixed_input_size": False,
        "interpolation": _INTERPOLATIONS[crop.interpolation],
        "crop_pct": crop.fraction,
        "crop_mode": "center",
        "mean": _fractions(record.mean, channels),
        "std": _fractions(record.std, channels),
        "num_classes": classes,
        "pool_size": None,
        # timm would adapt a stem of other channels than three once more.
        "first_conv": first if channels == 3 else None,
        "classifier": _CLASSIFIER,
        **({"license": licence} if licence else {}),
    }
    weights = record.weights
    ours = {
        "version": VERSION,
        "network": json.loads(network.to_json()),
        "image_size": record.image_size,
        "crop": {
            "antialias": crop.antialias,
            "rounding": crop.rounding,
            "to_integers": crop.to_integers,
        },
        "weights": weights and [weights.variant, weights.full_tag],
    }
    return {
        "architecture": architecture.name,
        "num_classes": classes,
        "num_features": network.head_width or plan.stages(network)[-1].width,
        "global_pool": "avg",
        **({"label_names": record.class_names} if record.class_names else {}),
        **({"model_args": arguments} if arguments else {}),
        "pretrained_cfg": pretrained,
        _OURS: ours,
    }


def _fractions(values, channels):
    """Returns numbers of 0..255 as timm has them, one for each channel."""
    if channels != 3:
        values = (sum(values) / len(values),) * channels
    return [round(value / _WHITE, 10) for value in values]


def read(path: Path) -> Described | None:
    """Returns what lies beside a file of weights of the hub, None for nothing.

    That of another project than timm is not looked at.
    """
    file = path.with_name(NAME)
    if path.name not in fetch.HUB_FILES or not file.is_file():
        return None
    values = safe_files.read_json(file)
    if not isinstance(values, dict) or "architecture" not in values:
        return None
    try:
        return _described(values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{str(file)!r} does not describe a network as timm's do: "
            f"{type(error).__name__}: {error}"
        ) from error


def _described(values: Mapping[str, Any]) -> Described:
    # Older files have all fields at the top.
    theirs = values.get("pretrained_cfg", values)
    ours = values.get(_OURS, {})
    network = ours.get("network")
    at_test = "test_" if theirs.get("test_input_size") else ""
    size = theirs.get(f"{at_test}input_size", (3, *DEFAULT_SIZE))
    fraction = theirs.get(f"{at_test}crop_pct") or theirs.get("crop_pct", 0.875)
    if theirs.get("crop_mode", "center") != "center":
        warnings.warn(
            f"The weights are evaluated with crop_mode="
            f"{theirs['crop_mode']!r}, which is not known here: the center of "
            "images is taken.",
            stacklevel=2,
        )
    size = tuple(ours.get("image_size", size[1:]) or ())
    if max(size, default=0) > _MAX_SIDE:
        raise ValueError(f"images of more than {_MAX_SIDE} pixels: {size}")
    names = values.get("label_names") or theirs.get("label_names")
    record = model_record.ModelRecord(
        weights=_origin(ours.get("weights")),
        class_names=tuple(names) if isinstance(names, list) else None,
        image_size=size or None,
        crop=CenterCrop(
            float(fraction),
            _interpolation(theirs.get("interpolation", "bicubic")),
            **ours.get("crop", _CROP_OF_TIMM),
        ),
        mean=_pixels(theirs.get("mean"), records.IMAGENET_MEAN),
        std=_pixels(theirs.get("std"), records.IMAGENET_STD),
    )
    return Described(network and config_lib.from_dict(network), record)


_CROP_OF_TIMM = {"antialias": True, "rounding": "even", "to_integers": True}


def _interpolation(name):
    known = {theirs: ours for ours, theirs in _INTERPOLATIONS.items()} | _OTHERS
    if name not in known:
        raise errors.unknown_value("interpolation", name, known)
    return known[name]


def _pixels(values, default):
    """Returns the mean or the deviation of red, green and blue in 0..255."""
    if values is None:
        return default
    found = tuple(round(float(value) * _WHITE, 6) for value in values)
    if len(found) != 3 and len(set(found)) != 1:
        raise ValueError(
            "channels other than red, green and blue must be normalized alike; "
            f"it has {found}"
        )
    return found if len(found) == 3 else found[:1] * 3


def _origin(weights: Any) -> WeightRecord | None:
    """Returns the published set, None if this version does not know it."""
    if weights is None:
        return None
    variant, full_tag = weights
    try:
        return records.find(variant, full_tag)
    except ValueError:
        return None
