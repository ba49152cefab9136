"""The network of a run: variant, .json file, small networks, freezing."""

import contextlib
import dataclasses
import pathlib
import re
import warnings
from collections.abc import Iterator
from collections.abc import Sequence

import keras
import numpy as np
from absl import logging

import keras_regnet
from keras_regnet import class_names as names_lib
from keras_regnet import errors
from keras_regnet import weights as weights_lib
from keras_regnet.weights import notices
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

    Raises:
      ValueError: if there is no such variant, file or stem, or a field is
        about batch norm, which the network does not have.
    """
    name = config.variant
    if name.endswith(".json"):
        network = _read_network(pathlib.Path(name))
    else:
        network = _named_network(name)
    if config.stem:
        network = dataclasses.replace(network, stem=config.stem)
    _check_norm(config, network)
    return network


def _check_norm(config, network):
    """Raises on a field that would have no effect without batch norm."""
    for name in ("sync_bn", "frozen_bn", "precise_bn_images"):
        if getattr(config, name) and network.norm != "batch":
            raise ValueError(
                f"`{name}` needs a network with batch norm. Received: "
                f"{name}={getattr(config, name)!r}, variant={config.variant!r} "
                f"with norm={network.norm!r}"
            )


def _read_network(path):
    if not path.is_file():
        raise ValueError(
            f"`variant` names a file that does not exist. Received: {path}"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"`variant` names a file that is not text. Received: {path}"
        ) from error
    try:
        return keras_regnet.config.from_json(text)
    except ValueError as error:
        raise ValueError(
            "`variant` names a file that is not the network of this version: "
            f"{error} In {path}"
        ) from error


def _named_network(name):
    for small, network in _SMALL_NETWORKS.items():
        if name.lower() == small.lower():
            return network
    try:
        return keras_regnet.get_config(name)
    except ValueError as error:
        names = [*_SMALL_NETWORKS, *keras_regnet.list_variants()]
        raise errors.unknown_value("variant", name, names) from error


def resolve(
    weights: str,
    network: Network | None,
    class_names: Sequence[str] | None = None,
) -> weights_lib.ResolvedWeights:
    """Calls `keras_regnet.weights.resolve`, and logs what it warns of.

    Args:
      weights: what --weights takes; "" for random weights.
      network: what they are wanted for; None for that of the file.
      class_names: of the data set; None for the classes of the file. Where the
        file's names are known and others, its classifier is left out.

    Raises:
      OSError: if weights cannot be fetched.
      ValueError: if there are no such weights, or they do not fit.
    """
    try:
        with logged_warnings():
            return _resolve(weights or None, network, class_names)
    except ImportError as error:
        raise ValueError(str(error)) from error


def _resolve(weights, network, class_names):
    """Returns weights, for a classifier of `classes` also those without one."""
    classes = None if class_names is None else len(class_names)
    try:
        resolved = weights_lib.resolve(weights, network, classes=classes)
        return _with_own_classes(resolved, weights, class_names)
    except notices.NoClassifierError:
        if classes is None:
            raise
    logging.warning(
        "%r has no classifier: that of the model starts at random.", weights
    )
    return weights_lib.resolve(
        weights, network, classes=classes, include_top=False
    )


def _with_own_classes(resolved, weights, class_names):
    """Returns weights without a classifier of classes of other names."""
    if class_names is None or resolved.classes != len(class_names):
        return resolved
    known = resolved.class_names
    if names_lib.are_unnamed(class_names, known):
        logging.warning(
            "there are no names to match the classes of %r with those of the "
            "data set: they go by index, and its classifier is loaded too",
            weights,
        )
        return resolved
    different = names_lib.differences(known, class_names)
    if not different:
        return resolved
    logging.warning(
        "%r classifies as many other classes (%s): everything but the "
        "classifier is loaded, which starts at random",
        weights,
        "; ".join(different),
    )
    return resolved.without_classifier()


@contextlib.contextmanager
def logged_warnings() -> Iterator[None]:
    """Logs what the package warns of, in the place of Python's warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in caught:
        logging.warning("%s", warning.message)


def build(
    config: train_config.TrainConfig,
    network: Network,
    classes: int,
    weights: weights_lib.ResolvedWeights | None = None,
    multilabel: bool = False,
) -> keras.Model:
    """Builds the network of a run; call it in the strategy's scope.

    Args:
      config: the run's configuration.
      network: what `network_config` returned.
      classes: number of classes.
      weights: resolved for this network, whose padding, rounding and
        normalization it gets; None for random ones.
      multilabel: whether the classes do not exclude each other.

    Returns:
      A model from RGB in 0..255 of any size to probabilities, with the
      layers frozen that the configuration freezes.

    Raises:
      ValueError: if more stages are to be frozen than there are, or the
        weights do not fit.
    """
    model = keras_regnet.build(
        network,
        weights,
        input_shape=(None, None, 3),
        classes=classes,
        classifier_activation="sigmoid" if multilabel else "softmax",
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
    """Gives a model the weights of another of the same network."""
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(weights[layer.name])
