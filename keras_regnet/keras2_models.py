"""Whole models that Keras 2 saved, rebuilt with our layers.

Keras 3 cannot load them: their residual sums are bare TensorFlow operations.
"""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import keras

from keras_regnet import models
from keras_regnet import regnet_model
from keras_regnet import variants
from keras_regnet.config import AnyNetConfig
from keras_regnet.weights import assign
from keras_regnet.weights import detect
from keras_regnet.weights import mapping
from keras_regnet.weights import ResolvedWeights
from keras_regnet.weights.readers import keras2_file
from keras_regnet.weights.readers import keras2_graph
from keras_regnet.weights.readers import keras_archive
from keras_regnet.weights.readers.tensors import Tensors

_FORMAT = "keras_applications"
# Arguments that Keras 3's layers do not have (the shape was read before); the
# dtype is a policy's business, which is the caller's.
_DROPPED_ARGUMENTS = ("batch_input_shape", "dtype", "rng_type")
_POOLS = ("GlobalAveragePooling2D", "GlobalMaxPooling2D")
_SE_RATIO = 0.25
_SCALING = ("Rescaling", "Normalization")


def load_model(
    path: str | os.PathLike, custom_objects: Mapping[str, Any] | None = None
) -> regnet_model.RegNetModel:
    """Loads a whole model with a RegNet in it that Keras 2 saved.

    Layers before and behind the network are rebuilt as they were: several
    dense layers, other pools, augmentation. Optimizer and loss are not
    loaded: compile the model to train it.

    Args:
      path: what Keras 2's `model.save` wrote, `.h5` or `.keras`.
      custom_objects: layer classes of your own, by name.

    Returns:
      A model that computes what the saved one did.

    Raises:
      ValueError: if the file is damaged, holds weights alone, or a graph that
        is not a chain of layers.
    """
    saved = keras2_file.open_file(path)
    chain = _chain(saved)
    config = _network(saved)
    _check_layers(saved)
    inputs = keras.Input(chain.input_shape, name="images")
    x = _apply(chain.before, inputs, custom_objects)
    body = models.build(
        config,
        ResolvedWeights(config, mean=(0.0,) * 3, std=(255.0,) * 3),
        include_top=False,
        input_tensor=x,
        include_preprocessing=chain.rescales,
    )
    x = _apply(_with_our_pool(chain.after), body.output, custom_objects)
    model = regnet_model.RegNetModel(inputs, x, name=_name(saved))
    model.set_network(config, body.pyramid_outputs)
    # Layers of the caller's may scale pixels before the network does not.
    scales = any(layer["class_name"] in _SCALING for layer in chain.before)
    model.set_record(
        dataclasses.replace(body.record, normalizes=chain.rescales or scales)
    )
    _fill(model, saved, config)
    return model


def _chain(saved):
    if saved.config is None:
        raise ValueError(
            f"{saved.path!r} holds weights and no model. Build the model with "
            "a function of `keras_regnet.applications` and weights=PATH."
        )
    try:
        return keras2_graph.chain(saved.config, saved.model_name)
    except ValueError as error:
        raise ValueError(
            f"{saved.path!r} cannot be rebuilt: {error} With "
            "`include_top=False, weights=PATH` the functions of "
            "`keras_regnet.applications` load the network alone."
        ) from error


def _name(saved):
    return saved.config["config"].get("name", saved.model_name)


def _network(saved):
    """Returns the configuration that the shapes of the tensors tell."""
    found = detect.detect(saved.network)
    variant = found.variant()
    if variant:
        config = variants.get_config(variant)
        config = dataclasses.replace(config, padding="same")
    else:
        config = _of_stages(found)
    found.check_size(config)
    return config


def _of_stages(found):
    return AnyNetConfig(
        depths=[stage.depth for stage in found.stages],
        widths=[stage.width for stage in found.stages],
        group_widths=[stage.group_width for stage in found.stages],
        se_ratio=_SE_RATIO if found.has_se else 0.0,
        padding="same",
    )


def _check_layers(saved):
    """Raises before a layer is built that the tensors cannot fill."""
    shapes = (*saved.network.shapes.values(), *saved.others.shapes.values())
    try:
        keras_archive.check_outputs(saved.config, shapes)
    except ValueError as error:
        raise ValueError(f"{saved.path!r} cannot be rebuilt: {error}.") from (
            error
        )


def _with_our_pool(layers):
    """Names a pool as ours is named, for `keras_regnet.replace_head`."""
    if not layers or layers[0]["class_name"] not in _POOLS:
        return layers
    pool, *rest = layers
    return [{**pool, "config": {**pool["config"], "name": "head_pool"}}, *rest]


def _apply(layers, x, custom_objects):
    for layer in layers:
        x = _rebuilt(layer, custom_objects)(x)
    return x


def _rebuilt(layer, custom_objects):
    """Returns a layer of Keras 3 from Keras 2's description of it."""
    class_name = layer["class_name"]
    config = {
        name: value
        for name, value in layer["config"].items()
        if name not in _DROPPED_ARGUMENTS
    }
    if class_name == "BatchNormalization" and isinstance(config["axis"], list):
        (config["axis"],) = config["axis"]
    description = {"class_name": class_name, "config": config}
    if hasattr(keras.layers, class_name):
        # Without it, Keras looks among the caller's own classes.
        description |= {"module": "keras.layers", "registered_name": None}
    try:
        return keras.layers.deserialize(
            description, custom_objects=custom_objects
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # Classes raise their own for arguments that are not theirs.
        reason = str(error).strip().split("\n")[-1]
        raise ValueError(
            f"The layer {config.get('name')!r} of class {class_name!r} cannot "
            f"be rebuilt in Keras 3: {reason} `custom_objects` takes classes "
            "of your own."
        ) from error


def _fill(model, saved, config):
    sources = mapping.of_format(config, _FORMAT, include_top=False)
    for name in saved.others:
        sources[name] = mapping.Source(name, "same")
    parts = (saved.network, saved.others)
    tensors = Tensors(
        {name: shape for part in parts for name, shape in part.shapes.items()},
        lambda name: (
            saved.network[name] if name in saved.network else saved.others[name]
        ),
    )
    try:
        assign.assign(model, tensors, sources)
    except ValueError as error:
        raise ValueError(f"{saved.path!r} cannot be loaded: {error}") from error
