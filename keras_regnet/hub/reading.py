"""What a built model says of its network, and its weights by layer."""

from collections.abc import Iterator
from typing import Any

import keras

from keras_regnet import layers
from keras_regnet import plan
from keras_regnet import rows
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.regnet_model import RegNetModel

POOL, DROPOUT, LOGITS, ACTIVATION = (
    "head_pool",
    "head_dropout",
    "head_fc",
    "predictions",
)
_TOP = (POOL, DROPOUT, LOGITS, ACTIVATION)
# Of a layer's config, what its results do not depend on.
_NOT_COMPARED = ("dtype", "seed", "synchronized", "trainable")


def check(model: Any) -> RegNetConfig | AnyNetConfig:
    """Returns the configuration of a model that a builder made, or raises."""
    network = getattr(model, "network", None)
    if network is None:
        raise ValueError(
            "`model` must be made by a builder of keras_regnet. "
            f"Received: model={model!r}"
        )
    return network


def backbone_arguments(model: RegNetModel) -> dict[str, Any]:
    """Returns the arguments of a backbone that has the layers of a model."""
    network = check(model)
    first = next(_convolutions(model))
    arguments: dict[str, Any] = {
        "network": network,
        "image_shape": _image_shape(model, first.data_format),
        "drop_path_rate": _drop_path_rate(model),
        "output_stride": _output_stride(model, network),
        "published": _published(model),
        "data_format": first.data_format,
        "dtype": first.dtype_policy,
    }
    normalization = _layers(model).get(rows.NORMALIZATION)
    if normalization is None:
        return {**arguments, "include_preprocessing": False}
    config = normalization.get_config()
    return {
        **arguments,
        "mean": config["mean"],
        "std": [variance**0.5 for variance in config["variance"]],
    }


def classifier_arguments(model: RegNetModel) -> dict[str, Any]:
    """Returns the arguments of the top of a model, none without a top."""
    top = _layers(model)
    if not {LOGITS, ACTIVATION} <= top.keys():
        return {}
    activation = keras.activations.serialize(top[ACTIVATION].activation)
    return {
        "num_classes": top[LOGITS].units,
        "activation": None if activation == "linear" else activation,
        "dropout": top[DROPOUT].rate if DROPOUT in top else 0.0,
    }


def image_size(model: RegNetModel, data_format: str) -> tuple[int, int] | None:
    """Returns the (height, width) of a model's images, None for any."""
    shape = model.input.shape[1:]
    size = shape[1:] if data_format == "channels_first" else shape[:2]
    return None if None in size else tuple(size)


def copy_weights(model: RegNetModel, backbone: keras.Model) -> None:
    """Gives a backbone the weights of a model, whose layers must be its own."""
    given = _layers(model)
    for name in _TOP:
        given.pop(name, None)
    own = _layers(backbone)
    if differing := sorted(given.keys() ^ own.keys()):
        raise ValueError(
            "`model` must have the layers that its builder gave it. Received: "
            f"model={model.name!r}, which differs in {differing}"
        )
    for name, layer in own.items():
        if _essence(given[name]) != _essence(layer):
            raise ValueError(
                "`model` must have the layers that its builder gave it. "
                f"Received: model={model.name!r}, whose layer {name!r} has "
                f"another config: {_difference(given[name], layer)}"
            )
    for name, layer in own.items():
        layer.set_weights(given[name].get_weights())


def _layers(model):
    return {
        layer.name: layer
        for layer in model.layers
        if not isinstance(layer, keras.layers.InputLayer)
    }


def _convolutions(model: RegNetModel) -> Iterator[layers.GroupedConv2D]:
    for layer in model.layers:
        if isinstance(layer, layers.GroupedConv2D):
            yield layer


def _image_shape(model, data_format):
    shape = model.input.shape
    if data_format == "channels_first":
        return (shape[1], None, None)
    return (None, None, shape[3])


def _drop_path_rate(model):
    """Returns the rate of the last block, which is the highest."""
    return max(
        (
            layer.rate
            for name, layer in _layers(model).items()
            if name.endswith("_drop_path")
        ),
        default=0.0,
    )


def _output_stride(model, network):
    """Returns None, or the stride at which the strides became dilation."""
    built = {layer.name: layer.dilation_rate for layer in _convolutions(model)}
    stages = plan.stages(network)
    stem = rows.stem_stride(network)
    strides = [stem]
    for stage in stages:
        strides.append(strides[-1] * stage.stride)
    for stride in (None, *sorted(set(strides), reverse=True)):
        planned = stages
        if stride is not None:
            planned = plan.dilate(stages, stem, stride)
        dilations = {
            row.name: (row.dilation, row.dilation)
            for row in rows.layers(network, planned, classes=0)
            if row.name in built
        }
        if dilations == built:
            return stride
    return None


def _published(model):
    """Returns what was published of the weights that a model began with."""
    weights = model.record.weights
    if not weights:
        return None
    fields = ("variant", "tag", "source", "licence")
    return {field: getattr(weights, field) for field in fields}


def _essence(layer):
    return {
        key: value
        for key, value in layer.get_config().items()
        if key not in _NOT_COMPARED and not key.endswith("_initializer")
    }


def _difference(given, own):
    pairs = _essence(given).items(), _essence(own).items()
    return [pair for pair in pairs[0] if pair not in pairs[1]]
