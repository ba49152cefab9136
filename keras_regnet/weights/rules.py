"""The rules of weights: what a network must be to take them."""

import dataclasses
from pathlib import Path

from keras_regnet import variants
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import NetworkTemplate
from keras_regnet.config import RegNetConfig
from keras_regnet.weights import detect
from keras_regnet.weights import inspect
from keras_regnet.weights.detect import DetectedCheckpoint
from keras_regnet.weights.readers.keras3_file import SavedRules
from keras_regnet.weights.records import WeightRecord

# Fields of a network that may differ from those of the network a `.keras`
# file was saved from: the first is taken from the file, and a stem of another
# stride has the same weights.
_MAY_DIFFER = ("padding", "stem")


class UnknownNetworkError(ValueError):
    """A file does not tell of which network its weights are."""


def with_rules_of(
    source: RegNetConfig | AnyNetConfig | WeightRecord,
    config: RegNetConfig | AnyNetConfig,
) -> RegNetConfig | AnyNetConfig:
    """Returns a configuration with another's padding and width rounding.

    An `AnyNetConfig` has no rounding: the configuration then keeps its own.
    """
    if isinstance(config, RegNetConfig):
        rounding = getattr(source, "width_rounding", config.width_rounding)
        config = dataclasses.replace(config, width_rounding=rounding)
    return dataclasses.replace(config, padding=source.padding)


def network_of_ours(
    config: RegNetConfig | AnyNetConfig | None,
    rules: SavedRules | None,
    checkpoint: DetectedCheckpoint,
    path: Path,
) -> RegNetConfig | AnyNetConfig:
    """Returns the network for a file that one of our models saved."""
    if config is None:
        config = rules.network if rules else network(None, checkpoint, path)
        checkpoint.check_size(config)
    elif rules is None:
        config = _of_same_widths(config, checkpoint)
    else:
        config = with_rules_of(rules.network, config)
        _check_same(rules.network, config)
    if not checkpoint.has_any(config):
        if rules is not None and rules.network == config:
            raise ValueError(
                "its layers have other names than the network's, as after "
                "`prefix_layer_names`."
            )
        raise _other_network(checkpoint, config)
    _check_shapes(checkpoint, config)
    return config


def network(
    config: RegNetConfig | AnyNetConfig | None,
    checkpoint: DetectedCheckpoint,
    path: Path,
) -> RegNetConfig | AnyNetConfig:
    """Returns the network in the rounding that the file's widths have."""
    if config is None:
        if checkpoint.variant() is None:
            raise unloadable(
                path,
                f"it holds {checkpoint.describe()}, which is not a published "
                "network, so the network must be named too.",
                UnknownNetworkError,
            )
        config = inspect.network(checkpoint)[1]
        checkpoint.check_size(config)
        _check_shapes(checkpoint, config)
        return config
    for rounded in detect.with_each_rounding(config):
        if checkpoint.fits(rounded):
            return rounded
    if _is_the_same(checkpoint, config):
        _check_shapes(checkpoint, config)
    raise _other_network(checkpoint, config)


def _check_shapes(checkpoint, config):
    """Raises before a network is built that the tensors cannot fill."""
    for name, (path, theirs, ours) in checkpoint.misfits(config).items():
        raise ValueError(
            f"the tensor {name!r} has, in Keras's order of axes, the shape "
            f"{theirs}, where {path!r} needs {ours}."
        )


def _of_same_widths(config, checkpoint):
    """Returns the network in the rounding of a file of weights alone.

    Names other than those of bottleneck blocks do not tell the stages, and
    the groups of a stage's first block may be others than its group width.
    """
    stages = [(stage.depth, stage.width) for stage in checkpoint.stages]
    for rounded in detect.with_each_rounding(config):
        shapes = detect.stage_shapes(rounded)
        if not stages or stages == [(s.depth, s.width) for s in shapes]:
            return rounded
    raise _other_network(checkpoint, config)


def _check_same(theirs, ours):
    """Raises if the network of a file is another than the requested one."""
    their_name, our_name = map(detect.name_of, (theirs, ours))
    shapes = detect.stage_shapes(theirs), detect.stage_shapes(ours)
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"it holds {their_name}, but {our_name} was requested"
            f"{_of_groups(*shapes)}."
        )
    differing = [
        field.name
        for field in dataclasses.fields(NetworkTemplate)
        if field.name not in _MAY_DIFFER
        and getattr(theirs, field.name) != getattr(ours, field.name)
    ]
    if differing:
        raise ValueError(
            f"it holds {their_name} of {_values(theirs, differing)}, but "
            f"{our_name} of {_values(ours, differing)} was requested."
        )


def _values(config, fields):
    return ", ".join(f"{name}={getattr(config, name)!r}" for name in fields)


def _other_network(checkpoint, config):
    requested = detect.name_of(config)
    parts = "".join(
        f"; {name} is only in {'the file' if in_file else 'what was requested'}"
        for name, in_file, in_config in (
            ("squeeze-and-excitation", checkpoint.has_se, config.se_ratio),
            (
                "a convolution before the pool",
                checkpoint.has_head_conv,
                config.head_width,
            ),
        )
        if in_file != bool(in_config)
    )
    if checkpoint.stages and checkpoint.norm != config.norm:
        parts += (
            f"; norm {checkpoint.norm!r} in the file, {config.norm!r} in what "
            "was requested"
        )
    groups = _of_groups(checkpoint.stages, detect.stage_shapes(config))
    return ValueError(
        f"it holds {checkpoint.describe()}, but {requested} was requested"
        f"{parts}{groups}."
    )


def _is_the_same(checkpoint, config):
    """Returns whether a file is of a network, but for a tensor's shape."""
    stages = checkpoint.stages, detect.stage_shapes(config)
    return (
        checkpoint.variant() == variants.find_name(config)
        and checkpoint.norm == config.norm
        and _are_of_sizes(*stages)
        and not _of_groups(*stages)
    )


def _of_groups(theirs, ours):
    """Returns what tells two networks of the same depths and widths apart."""
    if not _are_of_sizes(theirs, ours) or all(
        a.group_width in (0, b.group_width)
        for a, b in zip(theirs, ours, strict=True)
    ):
        return ""
    widths = ("-".join(str(s.group_width) for s in x) for x in (theirs, ours))
    return "; group widths {} and {}".format(*widths)


def _are_of_sizes(theirs, ours):
    """Returns whether the stages of two networks have the same sizes."""
    return [(s.depth, s.width) for s in theirs] == [
        (s.depth, s.width) for s in ours
    ]


def unloadable(
    path: Path,
    reason: str | ValueError,
    error: type[ValueError] = ValueError,
) -> ValueError:
    """Returns the error for a file that cannot be loaded."""
    return error(
        f"`weights` cannot be loaded: {reason} Received: weights={str(path)!r}"
    )
