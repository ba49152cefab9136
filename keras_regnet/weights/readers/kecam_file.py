"""Reading the files of kecam (keras_cv_attention_models), a port of timm's.

kecam writes them with Keras 2, its layers have fixed names, and the model's
name is no part of them. A 3x3 convolution is called differently where it has
one group only; here it has one name.
"""

import os
import re

from keras_regnet.weights.readers import keras2_file
from keras_regnet.weights.readers.tensors import Tensors

_SIGN = "stack1_block1_deep_1_conv/kernel"
_GROUPED = re.compile(r"(stack\d+_block\d+_deep_2_)GC_(conv/kernel)")


def is_of_kecam(path: str | os.PathLike) -> bool:
    """Returns whether a file holds a network of kecam; False if damaged."""
    try:
        return _SIGN in keras2_file.open_tensors(path)[0]
    except ValueError:
        return False


def read(path: str | os.PathLike) -> Tensors:
    """Returns the tensors of a network of kecam."""
    tensors, _ = keras2_file.open_tensors(path)
    return tensors.renamed(lambda name: _GROUPED.sub(r"\1\2", name))
