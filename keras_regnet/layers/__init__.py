"""Keras layers whose stock form is slow or fails to train on a CPU.

Each layer has the weights, the config and the results of the Keras layer it
extends; only the operations it is computed with differ. What is chosen where,
and the timings behind it, is reproduced by `python -m benchmarks run
--suite=layers`. `Pixels` begins an exported model, and stands here so that a
saved one opens.
"""

from keras_regnet.layers.convolution import Conv2D
from keras_regnet.layers.convolution import GroupedConv2D
from keras_regnet.layers.folding import folded_norms
from keras_regnet.layers.forms import native_ops
from keras_regnet.layers.forms import portable_ops
from keras_regnet.layers.group_norms import EvoNormS0a
from keras_regnet.layers.group_norms import GroupNormalization
from keras_regnet.layers.normalization import BatchNormalization
from keras_regnet.layers.normalization import Normalization
from keras_regnet.layers.pixels import Pixels
from keras_regnet.layers.pooling import PaddedMaxPooling2D

__all__ = [
    "BatchNormalization",
    "Conv2D",
    "EvoNormS0a",
    "GroupNormalization",
    "GroupedConv2D",
    "Normalization",
    "PaddedMaxPooling2D",
    "Pixels",
    "folded_norms",
    "native_ops",
    "portable_ops",
]
