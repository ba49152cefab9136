"""Writing a model's weights as the state dict of another project."""

import dataclasses
import os
from pathlib import Path

import keras
import numpy as np
import safetensors
import safetensors.numpy

from keras_regnet import atomic
from keras_regnet import errors
from keras_regnet import model_record
from keras_regnet import plan
from keras_regnet.config import RegNetConfig
from keras_regnet.weights import mapping
from keras_regnet.weights import timm_networks
from keras_regnet.weights import transforms
from keras_regnet.weights.readers import damage
from keras_regnet.weights.readers import safetensors_file
from keras_regnet.weights.readers import torch_file

FORMATS = ("timm", "torchvision", "pycls")
SUFFIXES = (".safetensors", *torch_file.SUFFIXES)
# PyTorch counts the batches that its batch norm has seen.
_COUNTER = "num_batches_tracked"


def export(
    model: keras.Model, path: str | os.PathLike, format: str = "timm"
) -> None:
    """Writes the weights of a model for another project.

    That project builds the network with the model's number of classes, and
    loads the file with `strict=True`. Its images are normalized outside the
    network, as for a model with `include_preprocessing=False`; with what, a
    `.safetensors` file keeps for `weights=`, and a pickle does not.

    Args:
      model: one of our models, with or without its top.
      path: of the file: `.safetensors`, or with PyTorch `.pth`, `.pt`,
        `.pyth`, `.bin` or `.torch`. It appears when it is whole.
      format: "timm", "torchvision" or "pycls". A pickle for pycls has the
        tensors under "model_state", as its checkpoints have.

    Raises:
      ImportError: if the path needs PyTorch, which is not installed.
      OSError: if the file cannot be written.
      ValueError: if there is no such format or suffix, the format has no
        such networks or other widths, or the model was built for padding
        "same".

    Example:
    >>> import keras_regnet, tempfile
    >>> model = keras_regnet.RegNetX("200MF", input_shape=(32, 32, 3))
    >>> export(model, tempfile.mkdtemp() + "/regnetx_002.safetensors", "timm")
    """
    path = Path(path)
    if format not in FORMATS:
        raise errors.unknown_value("format", format, FORMATS)
    if path.suffix not in SUFFIXES:
        raise errors.unknown_value("path", path.suffix, SUFFIXES)
    check_model(model, format)
    _check_rounding(model.network, format)
    names = format
    if format == "timm":
        names = timm_networks.file_format(model.network)
    state = state_dict(model, names)
    if path.suffix == ".safetensors":
        write_safetensors(state, path, model_record.of_model(model))
        return
    try:
        with atomic.replacing(path) as partial:
            wrapped = format == "pycls"
            torch_file.write(
                {"model_state": state} if wrapped else state, partial
            )
    except RuntimeError as error:
        # So PyTorch calls a folder that is missing and a disk that is full.
        raise _unwritable(path, error) from error


def write_safetensors(
    state: dict[str, np.ndarray],
    path: Path,
    record: "model_record.ModelRecord",
) -> None:
    """Writes named arrays; the file appears when it is whole.

    Its metadata keep what the model subtracts from images and divides by,
    which the names of other projects have no place for.
    """
    try:
        with atomic.replacing(path) as partial:
            metadata = {
                # What transformers and others expect of a file of PyTorch's.
                "format": "pt",
                safetensors_file.MEAN: " ".join(map(repr, record.mean)),
                safetensors_file.STD: " ".join(map(repr, record.std)),
            }
            safetensors.numpy.save_file(state, partial, metadata)
    except safetensors.SafetensorError as error:
        raise _unwritable(path, error) from error


def _unwritable(path, error):
    return OSError(f"Cannot write {str(path)!r}: {damage.reason(error)}.")


def check_model(model: keras.Model, file_format: str) -> None:
    """Raises for a model of another kind, or of another padding."""
    if getattr(model, "network", None) is None:
        raise ValueError(
            "`model` must be one that keras_regnet's builders made. "
            f"Received: model={getattr(model, 'name', model)!r}"
        )
    if model.network.padding != "symmetric":
        raise ValueError(
            "`model` must have symmetric padding, the only one that "
            f"{file_format!r} has. Received: "
            f"padding={model.network.padding!r}"
        )


def _check_rounding(network, file_format):
    """Raises if torchvision would build other widths from the same line."""
    if file_format != "torchvision" or not isinstance(network, RegNetConfig):
        return
    theirs = dataclasses.replace(network, width_rounding=file_format)
    if plan.stages(theirs) != plan.stages(network):
        raise ValueError(
            "`model` must have the widths that torchvision's network has, "
            "which rounds them otherwise: build it from a configuration with "
            f"width_rounding={file_format!r}. Received: "
            f"width_rounding={network.width_rounding!r}"
        )


def state_dict(model: keras.Model, file_format: str) -> dict[str, np.ndarray]:
    """Returns the weights of a model under a format's names."""
    variables = {variable.path: variable for variable in model.weights}
    include_top = "head_fc/kernel" in variables
    for layer in model.layers:
        if getattr(layer, "quantization_mode", None) is not None:
            raise ValueError(
                "`model` must have float weights. Received: layer "
                f"{layer.name!r} with "
                f"quantization_mode={layer.quantization_mode!r}"
            )
        if getattr(layer, "lora_enabled", False):
            # Keras's property has the adapter in it.
            variables[f"{layer.name}/kernel"] = layer.kernel
    state = {}
    for path, source in mapping.of_format(
        model.network, file_format, include_top
    ).items():
        if path not in variables:
            raise ValueError(
                "`model` must have the layers of its network: what "
                "`fold_batch_norm` or `prefix_layer_names` has changed is "
                f"written before. Missing: {path}"
            )
        array = keras.ops.convert_to_numpy(variables[path])
        array = transforms.from_keras(source.transform, array)
        state[source.name] = np.ascontiguousarray(array)
        if path.endswith("/moving_variance"):
            layer, separator, _ = source.name.rpartition(".")
            state[layer + separator + _COUNTER] = np.zeros((), "int64")
    return state
