"""The network of a run, and the weights it starts from."""

import dataclasses
import pathlib
import re

import h5py
import keras
import numpy as np
from absl import logging

import keras_regnet
from keras_regnet import errors
from training.config import config as train_config

Network = keras_regnet.RegNetConfig | keras_regnet.AnyNetConfig
# Arrays of each layer, by the layer's name.
LayerWeights = dict[str, list[np.ndarray]]

HEAD = "head_fc"
_STAGE = re.compile(r"stage(\d+)_")

# Not published, made for small images: their names are the multiply-adds at
# 32 pixels. Stages of 1, 3, 3 blocks and 24, 56, 120 channels; and of 1, 2, 3
# blocks and 32, 64, 128 channels, the first at the full size of the image.
_SMALL_NETWORKS = {
    "RegNetX-30MF": keras_regnet.RegNetConfig(
        depth=6,
        w_0=32,
        w_a=25,
        w_m=2,
        group_width=16,
        stem="cifar",
        strides=(1, 2, 2),
    ),
    "RegNetX-6MF": keras_regnet.RegNetConfig(
        depth=7,
        w_0=24,
        w_a=16,
        w_m=2.2,
        group_width=8,
        stem="cifar",
        stem_width=16,
    ),
}


def network_config(config: train_config.TrainConfig) -> Network:
    """Returns the network that `variant` and `stem` name.

    Args:
      config: the run's configuration.

    Returns:
      A RegNetConfig or AnyNetConfig.

    Raises:
      ValueError: if there is no such variant, file or stem.
    """
    name = config.variant
    if name.endswith(".json"):
        network = _read_network(pathlib.Path(name))
    else:
        network = _named_network(name)
    if config.stem:
        network = dataclasses.replace(network, stem=config.stem)
    return network


def _read_network(path):
    if not path.is_file():
        raise ValueError(
            f"`variant` names a file that does not exist. Received: {path}"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"`variant` names a file that is no text. Received: {path}"
        ) from error
    return keras_regnet.config.from_json(text)


def _named_network(name):
    for small, network in _SMALL_NETWORKS.items():
        if name.lower() == small.lower():
            return network
    try:
        return keras_regnet.get_config(name)
    except ValueError as error:
        names = [*_SMALL_NETWORKS, *keras_regnet.list_variants()]
        raise errors.unknown_value("variant", name, names) from error


def build(
    config: train_config.TrainConfig, network: Network, classes: int
) -> keras.Model:
    """Builds the network of a run; call it in the strategy's scope.

    Args:
      config: the run's configuration.
      network: what `network_config` returned.
      classes: number of classes.

    Returns:
      A model from RGB in 0..255 of any size to probabilities, with the
      layers frozen that the configuration freezes.

    Raises:
      ValueError: if more stages are to be frozen than there are.
    """
    model = keras_regnet.build(
        network,
        input_shape=(None, None, 3),
        classes=classes,
        classifier_activation="softmax",
        dropout_rate=config.dropout_rate,
        drop_path_rate=config.drop_path_rate,
        zero_init_last_gamma=config.zero_init_last_gamma,
        synchronized_bn=config.sync_bn,
    )
    _freeze(model, config)
    return model


def _freeze(model, config):
    """Makes layers keep their weights, batch norm its statistics too."""
    stages = {found[1] for found in map(_stage_of, model.layers) if found}
    if config.frozen_stages > len(stages):
        raise ValueError(
            f"`frozen_stages` must be at most {len(stages)}, the number of "
            f"stages. Received: frozen_stages={config.frozen_stages}"
        )
    for layer in model.layers:
        stage = _stage_of(layer)
        early = layer.name.startswith("stem") or (
            stage and int(stage[1]) <= config.frozen_stages
        )
        is_bn = isinstance(layer, keras.layers.BatchNormalization)
        if (config.frozen_stages and early) or (config.frozen_bn and is_bn):
            layer.trainable = False


def _stage_of(layer):
    return _STAGE.match(layer.name)


def layer_weights(model: keras.Model) -> LayerWeights:
    """Returns the weights of every layer that has some."""
    return {
        layer.name: layer.get_weights()
        for layer in model.layers
        if layer.weights
    }


def set_layer_weights(model: keras.Model, weights: LayerWeights) -> None:
    """Fills a model from weights of the same network."""
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(weights[layer.name])


def read_weights(source: str, network: Network, classes: int) -> LayerWeights:
    """Returns the weights that --weights names.

    The classifier is left out if it has another number of classes, so that
    it keeps its fresh initial weights.

    Args:
      source: a run folder, a `.keras` or `.weights.h5` file, or a name that
        the builder knows.
      network: the network they must belong to.
      classes: number of classes of the run.

    Returns:
      Arrays by layer name.

    Raises:
      ValueError: if there is no such file or it is of another network.
    """
    path = pathlib.Path(source)
    if path.is_dir():
        path = path / "model.keras"
    if path.suffix == ".keras":
        donor = _load_keras_file(path, source)
        _check_network(source, donor, network)
    else:
        donor = keras_regnet.build(
            network,
            input_shape=(None, None, 3),
            weights=source,
            classes=_classes_in_h5(path) or classes,
        )
    weights = layer_weights(donor)
    found = weights[HEAD][-1].shape[0]
    if found != classes:
        logging.info(
            "new classifier: the weights are for %d classes, the data set "
            "has %d",
            found,
            classes,
        )
        del weights[HEAD]
    return weights


def fill(model: keras.Model, weights: LayerWeights) -> None:
    """Sets initial weights; layers without any keep theirs."""
    for layer in model.layers:
        if layer.name in weights:
            layer.set_weights(weights[layer.name])


def _load_keras_file(path, source):
    if not path.is_file():
        raise ValueError(
            "`weights` names a file that does not exist. Received: "
            f"weights={source!r} ({path})"
        )
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:
        # Keras, zipfile and h5py each raise their own on a damaged file.
        raise ValueError(
            f"`weights` is not a readable .keras file: {path} "
            f"({type(error).__name__})"
        ) from error


def _check_network(source, donor, network):
    theirs = getattr(donor, "network", None)
    if theirs == network:
        return
    raise ValueError(
        "`weights` belong to another network. Received: "
        f"weights={source!r} of {theirs}, for {network}"
    )


def _classes_in_h5(path):
    """Returns the length of the classifier's bias, None without a file."""
    if not path.is_file():
        return None
    sizes = []

    def visit(name, item):
        if "dense" in name and getattr(item, "ndim", 0) == 1:
            sizes.append(item.shape[0])

    try:
        with h5py.File(path) as file:
            file.visititems(visit)
    except OSError as error:
        raise ValueError(
            f"`weights` is not a readable .weights.h5 file: {path}"
        ) from error
    return sizes[-1] if sizes else None
