"""From the argument `weights` to a model with those weights, in two steps.

`resolve` runs before a network is built: it finds the file, and what the
network must be to take its weights. `ResolvedWeights.assign` runs after.
"""

import dataclasses
import os
from pathlib import Path

from keras_regnet import model_record
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.weights import detect
from keras_regnet.weights import hub_config
from keras_regnet.weights import locate
from keras_regnet.weights import notices
from keras_regnet.weights import readers
from keras_regnet.weights import records
from keras_regnet.weights import rules
from keras_regnet.weights.readers import keras3_file
from keras_regnet.weights.readers import safetensors_file
from keras_regnet.weights.resolved import ResolvedWeights
from keras_regnet.weights.rules import UnknownNetworkError


def resolve(
    weights: "str | os.PathLike | ResolvedWeights | None",
    config: RegNetConfig | AnyNetConfig | None = None,
    *,
    tag: str | None = None,
    classes: int | None = None,
    include_top: bool = True,
) -> ResolvedWeights:
    """Returns what must be built for the requested weights.

    Args:
      weights: None for random weights; "default" for the best of
        `keras_regnet.list_weights`; "imagenet" for the paper's; a tag of
        another set; "hf:owner/name"; the path of a file; a folder of the
        trainer, whose `model.keras` it stands for, or one that `save_folder`
        wrote; or what this function returned.
      config: the requested network; None for the one that the file is of.
      tag: for a file, the weights that it is; its normalization follows.
      classes: outputs of the model; None for those of the weights.
      include_top: whether the model has a classifier.

    Returns:
      The resolved weights; files are fetched and read, and nothing is built.

    Raises:
      ImportError: if the file needs PyTorch, which is not installed.
      OSError: if a file cannot be fetched.
      UnknownNetworkError: if `config` is None and the file does not tell it.
      ValueError: if there are no such weights, they are another network's,
        or the file is damaged or unsafe.

    Example:
    >>> import keras_regnet
    >>> config = keras_regnet.get_config("RegNetX-200MF")
    >>> resolve(None, config).mean
    (123.675, 116.28, 103.53)
    """
    if isinstance(weights, ResolvedWeights):
        if config is not None:
            _check_network(weights, config)
        return weights
    if weights is None:
        return _random(config, tag)
    if isinstance(weights, os.PathLike):
        weights = Path(weights)
    record, path = locate.locate(weights, config, tag, include_top)
    if readers.is_ours(path):
        resolved = _of_keras_file(config, record, path)
    else:
        resolved = _of_other_file(config, record, path)
    if include_top:
        name = resolved.record.tag if resolved.record else path.name
        notices.check_has_head(resolved.classes, name)
        notices.warn_of_other_classes(resolved.classes, classes, name)
    return resolved


def _random(config, tag):
    if tag is not None:
        raise ValueError(
            "`tag` says what the file `weights` is. Received: "
            f"weights=None, tag={tag!r}"
        )
    if config is None:
        raise ValueError(
            "`config` must be given where `weights` is None. "
            "Received: config=None"
        )
    return ResolvedWeights(config)


def _check_network(resolved, config):
    if rules.with_rules_of(resolved.config, config) != resolved.config:
        raise ValueError(
            "`weights` were resolved for another network. Received: "
            f"weights for {resolved.config}, config={config}"
        )


def _of_other_file(config, record, path):
    try:
        described = hub_config.read(path)
        checkpoint = detect.detect(readers.read(path))
        if config is None and described is not None:
            config = described.network
        config = rules.network(config, checkpoint, path)
    except UnknownNetworkError:
        raise
    except ValueError as error:
        raise rules.unloadable(path, error) from error
    if record is None:
        record = locate.record_of_hash(path, checkpoint)
    saved = described.record if described else None
    if record is None:
        _warn_of_license(saved, checkpoint)
    if record is None and saved is not None:
        return ResolvedWeights(
            config, saved.mean, saved.std, None, path, checkpoint, saved=saved
        )
    source = record or records.typical(checkpoint.format, checkpoint.variant())
    config = dataclasses.replace(config, padding=source.padding)
    mean, std = source.mean, source.std
    if record is None:
        mean, std = _stored_normalization(path) or (mean, std)
    return ResolvedWeights(config, mean, std, record, path, checkpoint)


def _stored_normalization(path):
    """Returns (mean, deviation) of a file that `weights.export` wrote."""
    if path.suffix != ".safetensors":
        return None
    return safetensors_file.normalization(path)


def _warn_of_license(saved, checkpoint):
    """Warns by the set a file came from, or else by what it can be."""
    if saved is not None and saved.weights is not None:
        notices.warn_of_license(saved.weights)
    else:
        notices.warn_of_unknown_license(checkpoint)


def _of_keras_file(config, record, path):
    try:
        saved = keras3_file.saved_rules(path)
        checkpoint = detect.detect_ours(
            keras3_file.read(path), saved and saved.network
        )
        config = rules.network_of_ours(config, saved, checkpoint, path)
        record_of_model = _record_of_model(saved)
    except UnknownNetworkError:
        raise
    except ValueError as error:
        raise rules.unloadable(path, error) from error
    resolved = ResolvedWeights(
        config, path=path, checkpoint=checkpoint, saved=record_of_model
    )
    if record is not None:
        config = dataclasses.replace(config, padding=record.padding)
        return dataclasses.replace(
            resolved,
            config=config,
            record=record,
            mean=record.mean,
            std=record.std,
        )
    if saved is not None and saved.mean is not None and saved.std is not None:
        return dataclasses.replace(resolved, mean=saved.mean, std=saved.std)
    if record_of_model is not None:
        return dataclasses.replace(
            resolved, mean=record_of_model.mean, std=record_of_model.std
        )
    return resolved


def _record_of_model(saved):
    """Returns the record of a saved model, None of an older one."""
    if saved is None or saved.record is None:
        return None
    return model_record.ModelRecord.from_json(saved.record)
