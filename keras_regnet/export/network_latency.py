"""The latency of a configuration: the job of `latency_meter`'s process."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

import keras_regnet
from keras_regnet.export import timer


def of_network(
    config: str,
    input_shape: Sequence[int],
    classes: int,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Returns the fields of the latency of a configuration, given as JSON."""
    keras.backend.clear_session(free_memory=False)
    model = keras_regnet.build(
        keras_regnet.config.from_json(config),
        input_shape=tuple(input_shape),
        classes=classes,
    )
    return dataclasses.asdict(timer.latency(model, **options))
