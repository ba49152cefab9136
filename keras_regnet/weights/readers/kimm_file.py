"""Reading the `.keras` files of kimm, a port of timm's networks to Keras 3.

kimm saves its models as classes with arguments, not as graphs: the file holds
numbered layers and no names. They are in the order of keras.applications, and
get the names here that kimm gives its layers. kimm itself divides images by
the square root of the standard deviation; the network here does not.
"""

import os
import re

import numpy as np

from keras_regnet.weights.readers import damage
from keras_regnet.weights.readers import keras_archive
from keras_regnet.weights.readers import keras_numbered
from keras_regnet.weights.readers.tensors import Tensors

_BLOCK = re.compile(r"network_Stage_(\d)_.Block_(\d+)_(.+)/(\w+)")
_PARTS = {
    "conv_1x1_1": "conv1_conv2d",
    "conv_1x1_1_bn": "conv1_bn",
    "conv_3x3": "conv2_conv2d",
    "conv_3x3_bn": "conv2_bn",
    "squeeze_and_excite_squeeze": "se_conv_reduce",
    "squeeze_and_excite_excite": "se_conv_expand",
    "conv_1x1_2": "conv3_conv2d",
    "conv_1x1_2_bn": "conv3_bn",
    "skip_1x1": "downsample_conv2d",
    "skip_bn": "downsample_bn",
}
_ENDS = {
    "network_stem_conv": "stem_conv2d",
    "network_stem_bn": "stem_bn",
    "dense": "classifier",
}


def is_of_kimm(path: str | os.PathLike) -> bool:
    """Returns whether a file is a model of kimm; False if damaged."""
    try:
        config = keras_archive.read_json(path, "config.json")
        return str(config["module"]).split(".")[0] == "kimm"
    except damage.ERRORS:
        return False


def read(path: str | os.PathLike) -> Tensors:
    """Returns the tensors of a model of kimm."""
    try:
        file = keras_archive.open_weights(path)
        paths = {
            _name(name): location
            for name, location in keras_numbered.paths_by_order(file).items()
        }
        shapes = {
            name: file[location].shape for name, location in paths.items()
        }
    except damage.ERRORS as error:
        raise ValueError(
            f"{os.fspath(path)!r} is not a RegNet of kimm, or is damaged: "
            f"{damage.reason(error)}."
        ) from error
    return Tensors(shapes, lambda name: np.asarray(file[paths[name]]))


def _name(name):
    """Returns kimm's name of what keras.applications calls otherwise."""
    if match := _BLOCK.fullmatch(name):
        stage, block, part, variable = match.groups()
        layer = f"s{int(stage) + 1}_b{int(block) + 1}_{_PARTS[part]}"
        return f"{layer}/{variable}"
    layer, variable = name.rsplit("/", 1)
    return f"{_ENDS.get(layer, layer)}/{variable}"
