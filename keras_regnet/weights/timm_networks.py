"""Which of timm's networks a configuration is; no Keras.

timm builds a RegNet from the parameters of the paper and a few switches, each
of which its `create_model` takes as an argument. What it cannot build is
refused: a file of such a network would be of no use there, or be misread.
"""

import dataclasses
from typing import Any
from typing import NamedTuple

import numpy as np

from keras_regnet import errors
from keras_regnet import plan
from keras_regnet import variants
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.weights import mapping
from keras_regnet.weights import records

# Whose arguments are replaced for a network that has no name.
_BASES = {"x": "regnetx_002", "z": "regnetz_005", "pre": "regnetv_040"}
_NUM_STAGES = 4
_WIDTH_QUANTUM = 8
# Of torchvision's rounding.
_MIN_KEPT_WIDTH = 0.9
# Keras's activations by timm's names of the same functions.
_ACTIVATIONS = {
    "relu": "relu",
    "relu6": "relu6",
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "elu": "elu",
    "selu": "selu",
    "hard_silu": "hard_swish",
    "hard_swish": "hard_swish",
}
# Fields of a configuration that are its arguments, or are checked; of any other
# it has our default.
_EXPRESSED = (
    *("depth", "w_0", "w_a", "w_m", "group_width", "bottleneck_ratio"),
    *("strides", "width_rounding", "block", "se_ratio", "se_activation"),
    *("projection", "stem_width", "head_width", "activation"),
)
_DOWNSAMPLES = {"conv": "conv1x1", "pool": "avg"}


class Architecture(NamedTuple):
    """A network as timm names it.

    Args:
      name: as of `timm.create_model`.
      model_args: further arguments of it, for a network without a name.
      file_format: whose names its tensors have.
    """

    name: str
    model_args: dict[str, Any]
    file_format: str


def architecture(config: RegNetConfig | AnyNetConfig) -> Architecture:
    """Returns what timm calls a network; raises if it has none such.

    Example:
    >>> architecture(variants.get_config("RegNetY-3.2GF")).name
    'regnety_032'
    """
    if config.padding != "symmetric":
        raise _refusal("padding", config.padding, "pads symmetrically")
    if name := _published_name(config):
        return Architecture(name, {}, file_format(config))
    # Raises where timm has no such layers.
    mapping.layout_of(config, "timm")
    if not isinstance(config, RegNetConfig):
        raise _refusal(
            "type",
            type(config).__name__,
            "builds RegNets from depth, w_0, w_a and w_m, and of networks "
            "given stage by stage only the published ones",
        )
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name not in _EXPRESSED and value != field.default:
            raise _refusal(field.name, value, f"has no such {field.name}")
    if config.se_activation is not None:
        raise _refusal(
            "se_activation", config.se_activation, "has one activation"
        )
    if config.activation not in _ACTIVATIONS:
        raise errors.unknown_value(
            "activation", config.activation, _ACTIVATIONS
        )
    strides = config.strides
    if strides not in (2, (2,) * _NUM_STAGES):
        raise _refusal("strides", strides, "halves the image in every stage")
    arguments = _arguments(config)
    stages = plan.stages(config)
    expected = [(s.depth, s.width, s.rest.inner, s.group_width) for s in stages]
    if _stages(arguments) != expected:
        raise _refusal(
            "stages",
            expected,
            f"makes {_NUM_STAGES} stages of the same parameters, of widths "
            "that it rounds in its own way",
        )
    base = _BASES[config.block]
    if config.block == "x" and config.se_ratio:
        base = "regnety_002"
    return Architecture(base, arguments, "timm")


def file_format(config: RegNetConfig | AnyNetConfig) -> str:
    """Returns whose names timm's tensors of a network have.

    RegNetZ-B16 to E8 are of its byobnet.
    """
    try:
        mapping.layout_of(config, "byobnet")
    except ValueError:
        return "timm"
    return "byobnet"


def _refusal(name, value, reason):
    return ValueError(
        f"`model` must be a network that timm can build, which {reason}. "
        f"Received: {name}={value!r}"
    )


def _published_name(config):
    """Returns timm's name of a network in its rounding of widths, or None."""
    variant = variants.find_name(config)
    stages = plan.stages(config)
    for record in records.all_records():
        if record.source != "timm" or record.variant != variant:
            continue
        theirs = variants.get_config(record.variant)
        if isinstance(theirs, RegNetConfig):
            rounding = record.width_rounding
            theirs = dataclasses.replace(theirs, width_rounding=rounding)
        if plan.stages(theirs) == stages:
            return record.hub_id.split("/")[1].split(".")[0]
    return None


def _arguments(config):
    """Returns every parameter of timm's RegNets."""
    is_z, is_pre = config.block == "z", config.block == "pre"
    widest = max(stage.rest.inner for stage in plan.stages(config))
    return {
        "depth": config.depth,
        "w0": int(config.w_0) if config.w_0 == int(config.w_0) else config.w_0,
        "wa": config.w_a,
        "wm": config.w_m,
        # A width of groups beyond that of a stage is no groups.
        "group_size": config.group_width or widest,
        "bottle_ratio": 1 / config.bottleneck_ratio,
        "se_ratio": config.se_ratio,
        "group_min_ratio": (
            _MIN_KEPT_WIDTH if config.width_rounding == "torchvision" else 0.0
        ),
        "stem_width": config.stem_width,
        "downsample": None if is_z else _DOWNSAMPLES[config.projection],
        "linear_out": is_z,
        "preact": is_pre,
        "num_features": config.head_width,
        "act_layer": _ACTIVATIONS[config.activation],
    }


def _stages(arguments):
    """Returns depth, width, inner and group width of timm's stages.

    None if it builds none. Its arithmetic is in single precision.
    """
    w_0, w_m = arguments["w0"], arguments["wm"]
    if w_0 % _WIDTH_QUANTUM:
        return None
    block = np.arange(arguments["depth"], dtype="float32")
    linear = block * np.float32(arguments["wa"]) + np.float32(w_0)
    level = np.rint(np.log(linear / np.float32(w_0)) / np.float32(np.log(w_m)))
    powers = np.float32(w_0) * np.power(np.float32(w_m), level)
    eighths = np.rint(powers / np.float32(_WIDTH_QUANTUM))
    widths, depths = np.unique(eighths * _WIDTH_QUANTUM, return_counts=True)
    if len(widths) != _NUM_STAGES:
        return None
    found = []
    for width, depth in zip(widths.tolist(), depths.tolist(), strict=True):
        inner = int(width * arguments["bottle_ratio"])
        group = min(arguments["group_size"], inner)
        if arguments["group_min_ratio"]:
            rounded = int(inner + group / 2) // group * group
            if rounded < arguments["group_min_ratio"] * inner:
                rounded += group
        else:
            rounded = round(inner / group) * group
        width = int(rounded / arguments["bottle_ratio"])
        inner = round(width * arguments["bottle_ratio"])
        found.append((depth, width, inner, group))
    return found
