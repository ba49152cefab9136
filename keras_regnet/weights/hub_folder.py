"""A model as a folder of the hub: written, and pushed there."""

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_regnet import atomic
from keras_regnet import model_record
from keras_regnet import rows
from keras_regnet import safe_files
from keras_regnet.weights import detect
from keras_regnet.weights import fetch
from keras_regnet.weights import hub_config
from keras_regnet.weights import mapping
from keras_regnet.weights import model_card
from keras_regnet.weights import readers
from keras_regnet.weights import save
from keras_regnet.weights import timm_networks
from keras_regnet.weights import transforms

_WEIGHTS = fetch.HUB_FILES[0]
_OURS = {_WEIGHTS, hub_config.NAME, model_card.NAME}


def save_folder(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    licence: str | None = None,
    metrics: Mapping[str, float] | None = None,
    run_folder: str | os.PathLike | None = None,
) -> None:
    """Writes a model as a folder that timm and `weights=` open.

    It holds `model.safetensors` with timm's names, `config.json` with its
    fields (the network, class names, size of images, crop and normalization),
    and a card, `README.md`. `timm.create_model("local-dir:PATH",
    pretrained=True)` builds the model without its last activation.

    Args:
      model: one of our models, with or without its top.
      path: of the folder, which appears when it is whole. It must be new,
        empty, or one that this function wrote.
      licence: of the weights, as an identifier of the hub such as "mit"; None
        for that of the published set from which the model started, if any.
      metrics: what the card says of accuracy: numbers by what they are, such as
        {"top-1 on flowers, in percent": 97.1}. If the weights are those of a
        published set, and the file that was fetched is still there to compare
        them with, the card says what was published by itself.
      run_folder: of the trainer's run that made the model, whose settings the
        card lists.

    Raises:
      OSError: if the folder cannot be written.
      ValueError: if timm has no such network or interpolation, an argument is
        not allowed, or the folder holds other files.

    Example:
    >>> import keras_regnet, tempfile
    >>> model = keras_regnet.RegNetX("200MF", input_shape=(64, 64, 3))
    >>> save_folder(model, tempfile.mkdtemp() + "/mine", licence="mit")
    """
    path = Path(path).expanduser()
    _write(model, path, str(path), licence, metrics, run_folder)


def _write(model, path, source, licence, metrics, run_folder):
    if licence is not None:
        model_card.check_licence(licence)
    model_card.check_metrics(metrics)
    save.check_model(model, "timm")
    architecture = timm_networks.architecture(model.network)
    # Raises for layers that are not those of the network.
    state = save.state_dict(model, architecture.file_format)
    _check_layers(model)
    record = _complete_record(model)
    origin = record.weights
    classes = model.output.shape[-1] if _has_top(model) else 0
    about = {
        "classes": classes,
        "channels": _channels(model),
        "licence": licence or (origin.licence if origin else None),
    }
    config = hub_config.write(model.network, record, **about)
    card = model_card.Card(
        source=source,
        network=model.network,
        record=record,
        metrics=_published_metrics(model, origin) | dict(metrics or {}),
        settings=_settings(run_folder),
        **about,
    )
    text = json.dumps(config, indent=2) + "\n"
    with _replacing_folder(path) as folder:
        save.write_safetensors(state, folder / _WEIGHTS, record)
        atomic.write(folder / hub_config.NAME, text.encode())
        atomic.write(folder / model_card.NAME, card.text().encode())


@contextlib.contextmanager
def _replacing_folder(path):
    """Gives a folder to write into, in place of one of ours in the end."""
    present = {file.name for file in path.iterdir()} if path.is_dir() else set()
    if present - _OURS or (path.exists() and not path.is_dir()):
        raise ValueError(
            "`path` must be a new or empty folder, or one that `save_folder` "
            f"wrote. Received: path={str(path)!r}"
        )
    with atomic.replacing(path) as partial:
        partial.mkdir()
        yield partial
        if path.is_dir():
            # Beside the new one: both go, or stay, together.
            os.replace(path, partial.with_name(f"{path.name}.old"))


def _has_top(model):
    return any(layer.name == "head_fc" for layer in model.layers)


def _channels(model):
    stem = mapping.first_kernel(model.network).partition("/")[0]
    return int(model.get_layer(stem).kernel.shape[2])


def _check_layers(model):
    """Raises for a model that is no longer what its network says.

    With an `output_stride` strides became dilation: the same weights are
    another model then, and timm would build the network's.
    """
    layers = {layer.name: layer for layer in model.layers}
    for row in rows.layers(model.network, classes=0):
        if row.kind != "conv":
            continue
        if row.name not in layers:
            raise ValueError(
                "`model` must have the layers of its network: what "
                "`prefix_layer_names` has renamed is written before. Missing: "
                f"{row.name}"
            )
        layer = layers[row.name]
        found = (*np.ravel(layer.strides), *np.ravel(layer.dilation_rate))
        if {row.stride} != set(found[:2]) or set(found[2:]) != {row.dilation}:
            raise ValueError(
                "`model` must have the strides of its network, and not an "
                f"`output_stride`. Received: layer {row.name!r} with "
                f"strides={layer.strides}, dilation_rate={layer.dilation_rate}"
            )


def _complete_record(model: Any) -> "model_record.ModelRecord":
    """Returns the record of a model, with the size and the mean that it has."""
    record = model.record
    shape = model.inputs[0].shape[1:]
    first = mapping.first_kernel(model.network).partition("/")[0]
    if model.get_layer(first).data_format == "channels_first":
        shape = (*shape[1:], shape[0])
    height, width = shape[:2]
    if record.image_size is None and height and width:
        record = dataclasses.replace(record, image_size=(height, width))
    for layer in model.layers:
        if layer.name == rows.NORMALIZATION:
            mean = np.ravel(keras.ops.convert_to_numpy(layer.mean))
            variance = np.ravel(keras.ops.convert_to_numpy(layer.variance))
            return dataclasses.replace(
                record, mean=_rgb(mean), std=_rgb(np.sqrt(variance))
            )
    return record


def _rgb(values):
    rounded = tuple(round(float(value), 4) for value in values)
    return rounded if len(rounded) == 3 else rounded[:1] * 3


def _settings(run_folder):
    """Returns the configuration of a run, {} for none."""
    if run_folder is None:
        return {}
    file = Path(run_folder).expanduser() / hub_config.NAME
    try:
        return dict(safe_files.read_json(file)["config"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            "`run_folder` must be a folder of the trainer, with its "
            f"config.json ({error}). Received: run_folder={str(run_folder)!r}"
        ) from error


def _published_metrics(model, origin):
    """Returns what was published of a model's very numbers, {} if of others."""
    if origin is None or origin.top1 is None or not _is_same(model, origin):
        return {}
    size = origin.test_size
    return {
        f"top-1 on ImageNet-1k in percent, as published for {size} x {size} "
        "pixels and not measured here": origin.top1
    }


def _is_same(model, origin):
    """Whether a model has the numbers of a published file that was fetched."""
    path = fetch.cached(origin)
    include_top = _has_top(model)
    if path is None or not include_top:
        return False
    try:
        tensors = detect.detect(readers.read(path)).tensors
        sources = mapping.of_format(
            model.network, origin.format, include_top, origin.channel_order
        )
        variables = {variable.path: variable for variable in model.weights}
        return all(
            np.array_equal(
                transforms.to_keras(source.transform, tensors[source.name]),
                keras.ops.convert_to_numpy(variables[name]),
            )
            for name, source in sources.items()
        )
    except (ImportError, KeyError, OSError, ValueError):
        return False


def push(
    model: keras.Model,
    repo: str,
    *,
    licence: str | None = None,
    metrics: Mapping[str, float] | None = None,
    run_folder: str | os.PathLike | None = None,
    private: bool | None = None,
    token: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Uploads a model to a repository of the Hugging Face hub.

    The repository holds what `save_folder` writes, in place of what it held
    under these names; it is made if it is not there. `weights="hf://..."` and
    `timm.create_model("hf-hub:...", pretrained=True)` open it.

    Args:
      model: as of `save_folder`.
      repo: "owner/name", or spelled as `weights=` takes it, "hf://owner/name".
        With "@" and a branch it goes there.
      licence: as of `save_folder`.
      metrics: as of `save_folder`.
      run_folder: as of `save_folder`.
      private: whether a repository that is made is private; None for what the
        owner's settings say.
      token: of the hub; None for that of `hf auth login` or `HF_TOKEN`.
      endpoint: URL of the hub; by default what `HF_ENDPOINT` says.

    Returns:
      The URL of the commit.

    Raises:
      OSError: if the hub does not answer, or refuses.
      ValueError: as of `save_folder`, before anything is sent.
    """
    import huggingface_hub

    name, revision = fetch.hub_repository(repo, "repo")
    source = f"hf://{name}{f'@{revision}' if revision else ''}"
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "model"
        _write(model, folder, source, licence, metrics, run_folder)
        hub = huggingface_hub.HfApi(endpoint, token)
        try:
            hub.create_repo(name, private=private, exist_ok=True)
            done = hub.upload_folder(
                repo_id=name,
                folder_path=folder,
                revision=revision,
                commit_message=f"{detect.name_of(model.network)}, by "
                "keras_regnet",
            )
        except Exception as error:
            # The hub's errors have no other base in common.
            raise OSError(
                f"Cannot push to {source!r} at {hub.endpoint!r}: "
                f"{fetch.reason(error)}"
            ) from error
    return done.commit_url
