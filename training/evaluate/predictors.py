"""Opens the classifiers that are evaluated, in the trainer's terms."""

import dataclasses

from keras_regnet import open_model
from keras_regnet.weights import rules
from training.config import config as train_config
from training.config import network as network_lib


def load(model: str, weights: str = "") -> open_model.OpenedModel:
    """Opens a classifier, as `keras_regnet.open_model` does.

    Args:
      model: what `open_model` takes, or any network that --variant takes.
      weights: of a network: what --weights takes.

    Raises:
      ValueError: if there is no such model, or weights do not fit.
    """
    try:
        with network_lib.logged_warnings():
            if not open_model.is_variant(model):
                return open_model.open_model(model, weights or None)
            config = train_config.TrainConfig(variant=model)
            network = network_lib.network_config(config)
            if not weights:
                raise ValueError(
                    "A variant needs `weights`, or it only guesses. "
                    f"Received: model={model!r}, weights=''"
                )
            opened = open_model.open_model(network, weights)
            return dataclasses.replace(opened, name=model, weights=weights)
    except ImportError as error:
        raise ValueError(str(error)) from error
    except rules.UnknownNetworkError as error:
        raise ValueError(
            f"{error} Give the network as --model=VARIANT and the file as "
            "--weights=FILE"
        ) from error
