"""Reading files of Keras 2: weights, or a whole model.

Their layers are found by name, never by order or shape. The names begin with
the model's name, which the user could choose; here they come without it, as
`keras_regnet.weights.mapping` lists them under "keras_applications". The
classifier has no fixed name (Keras 2 counted it up with every model built in
a process): it is the one dense layer that follows the network.
"""

import dataclasses
import os
import re
import warnings
import zipfile
from typing import Any

import h5py
import numpy as np

from keras_regnet import safe_files
from keras_regnet.weights.readers import damage
from keras_regnet.weights.readers import hdf5
from keras_regnet.weights.readers import keras2_graph
from keras_regnet.weights.readers import keras_archive
from keras_regnet.weights.readers import keras_numbered
from keras_regnet.weights.readers.tensors import Tensors

_STEM = re.compile(r"(?P<model>.*)_stem_conv/kernel")
_OF_NETWORK = r"{model}_(?P<name>stem_(?:conv|bn)/\w+|Stage_\d+_[A-Z]Block_.+)"
# What may stand between the network and its dense layer, or follow it,
# where a network of ours has the same.
_PLAIN_HEAD = {
    "GlobalAveragePooling2D",
    "Dropout",
    "Dense",
    "Activation",
    "Softmax",
}
_NAMES_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Keras2File:
    """What a file of Keras 2 holds.

    Args:
      path: of the file.
      model_name: what the names of the network's layers begin with.
      network: the network's tensors, without the model's name.
      others: the tensors of all other layers, as "layer/variable".
      config: Keras 2's description of the whole model; None if the file holds
        weights alone.
    """

    path: str
    model_name: str
    network: Tensors
    others: Tensors
    config: dict[str, Any] | None

    def classifier(self) -> str | None:
        """Returns the name of the dense layer that is the classifier."""
        layers = {name.split("/")[0] for name in self.others}
        if len(layers) != 1:
            return None
        (layer,) = layers
        kernel = self.others.shapes.get(f"{layer}/kernel", ())
        if len(kernel) != 2 or not self._has_plain_head():
            return None
        return layer

    def _has_plain_head(self):
        if self.config is None:
            return True
        try:
            after = keras2_graph.chain(self.config, self.model_name).after
        except ValueError:
            return False
        return {layer["class_name"] for layer in after} <= _PLAIN_HEAD


def read(path: str | os.PathLike) -> Tensors:
    """Returns the tensors of the network, and of its classifier."""
    saved = open_file(path)
    classifier = saved.classifier()
    if saved.others and not classifier:
        layers = list(dict.fromkeys(n.split("/")[0] for n in saved.others))
        warnings.warn(
            f"{saved.path!r} holds the network {saved.model_name!r} and, "
            f"around it, the layers {_some(layers)}, which were not loaded: "
            "only a single dense layer on the average-pooled features is "
            "taken as the classifier. `keras_regnet.applications.load_model` "
            "loads whole models.",
            stacklevel=2,
        )
    head = {
        f"head_dense/{variable}": f"{classifier}/{variable}"
        for variable in ("kernel", "bias")
        if classifier
    }
    return _with_classifier(saved, head)


def _with_classifier(saved, head):
    shapes = dict(saved.network.shapes)
    for ours, theirs in head.items():
        # A dense layer without bias is one with a bias of zero.
        units = saved.others.shapes[head["head_dense/kernel"]][-1:]
        shapes[ours] = saved.others.shapes.get(theirs, units)

    def read_tensor(name):
        if name not in head:
            return saved.network[name]
        if head[name] not in saved.others:
            return np.zeros(shapes[name], "float32")
        return saved.others[head[name]]

    return Tensors(shapes, read_tensor)


def is_of_keras_2(path: str | os.PathLike) -> bool:
    """Returns whether Keras 2 wrote a file, and not Keras 3."""
    try:
        if zipfile.is_zipfile(path):
            metadata = keras_archive.read_json(path, "metadata.json")
            return str(metadata["keras_version"]).startswith("2.")
        with hdf5.open_file(path) as file:
            group = file.get("model_weights", file)
            if any(key.startswith("layer_names") for key in group.attrs):
                return True
            # Residual sums are bare operations, which Keras 3 does not have.
            return any(
                "layers/tf_op_lambda" in inner
                for inner in (file, *file.get("layers", {}).values())
            )
    except damage.ERRORS:
        return False


def open_file(path: str | os.PathLike) -> Keras2File:
    """Returns what a file holds; its tensors are read on access."""
    path = os.fspath(path)
    tensors, config = open_tensors(path)
    name = _model_name(path, tensors)
    pattern = re.compile(_OF_NETWORK.format(model=re.escape(name)))
    inner = {n: match["name"] for n in tensors if (match := pattern.match(n))}
    return Keras2File(
        path,
        name,
        _subset(tensors, inner).renamed(inner.__getitem__),
        _subset(tensors, [n for n in tensors if n not in inner]),
        config,
    )


def open_tensors(
    path: str | os.PathLike,
) -> tuple[Tensors, dict[str, Any] | None]:
    """Returns the tensors of a file of Keras 2, whatever the model is."""
    path = os.fspath(path)
    try:
        file, config, paths = _contents(path)
        shapes = {
            name: file[location].shape for name, location in paths.items()
        }
    except damage.ERRORS as error:
        raise ValueError(
            f"{path!r} is not a file of Keras 2, or is damaged: "
            f"{damage.reason(error)}."
        ) from error
    tensors = Tensors(shapes, lambda name: _read(file, path, paths[name]))
    return tensors, config


def _contents(path):
    """Returns the HDF5 file, the model's description and all paths."""
    if zipfile.is_zipfile(path):
        config = keras_archive.read_json(path, "config.json")
        file = keras_archive.open_weights(path)
        return file, config, keras_numbered.paths(file, config)
    file = hdf5.open_file(path)
    config = safe_files.parse_json(
        hdf5.text(file, "model_config", "null"), "'model_config'"
    )
    if "layers" in file and "layer_names" not in file.attrs:
        return file, config, keras_numbered.paths_by_order(file)
    return file, config, _paths(file)


def _subset(tensors, names):
    shapes = {name: tensors.shapes[name] for name in names}
    return Tensors(shapes, tensors.__getitem__)


def _read(file, path, location):
    try:
        return np.asarray(file[location])
    except damage.ERRORS as error:
        raise ValueError(f"{path!r} is damaged at {location!r}.") from error


def _model_name(path, names):
    """Returns what the names of one network's layers begin with."""
    found = [match["model"] for n in names if (match := _STEM.fullmatch(n))]
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} networks: {_some(found)}" if found else "none"
    raise ValueError(
        f"{path!r} must hold one RegNet of Keras 2's keras.applications, "
        f"whose first layer's name ends in '_stem_conv'. It holds {what}. "
        f"Its first tensors are {_some(list(names))}."
    )


def _some(names):
    shown = ", ".join(map(repr, names[:_NAMES_SHOWN])) or "none"
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _paths(file):
    """Returns where each tensor is, by "layer/variable".

    The variables of a nested model lie in one group, under full names. The
    file's own lists of names say nothing that its groups do not.
    """
    paths = {}

    def visit(_, node):
        if not isinstance(node, h5py.Dataset):
            return
        name = "/".join(node.name.removesuffix(":0").split("/")[-2:])
        if name in paths:
            raise KeyError(f"two tensors are named {name}")
        paths[name] = node.name

    group = file.get("model_weights", file)
    if not any(key.startswith("layer_names") for key in group.attrs):
        raise KeyError(f"{group.name} has no attribute layer_names")
    group.visititems(visit)
    return paths
