"""Networks of kecam (keras_cv_attention_models) with random weights.

For an environment of its own, with tensorflow, tf_keras (Keras 2),
keras-cv-attention-models 1.4.3, and TF_USE_LEGACY_KERAS=1.
`benchmarks/weight_parity.py` asks for the published networks, and
`make_kecam.py` for small ones. kecam normalises all images as ImageNet's;
the mean and the deviation here are those with which timm trained.
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import keras_cv_attention_models as kecam
import numpy as np
import tf_keras_weights
from keras_cv_attention_models.aotnet import AotNet
from keras_cv_attention_models.resnet_family import regnet


def versions():
    """Returns what runs here."""
    return tf_keras_weights.versions() | {"kecam": kecam.__version__}


def _build(request, size):
    options = {
        "input_shape": (size, size, 3),
        "pretrained": None,
        "classifier_activation": None,
    }
    if "arch" in request:
        return getattr(regnet, request["arch"])(**options)
    build = regnet.RegNetY if "RegNetY" in request else AotNet
    arguments = request.get("RegNetY", request.get("AotNet"))
    return build(num_classes=request["classes"], **options, **arguments)


def _prepare(request, images):
    mean, std = (np.array(request[name], "f4") for name in ("mean", "std"))
    return (images - mean) / std


_PROJECT = tf_keras_weights.Project(
    _build,
    stage=r"stack(\d)_block\d+_output",
    first_stage=1,
    last_norm=r"_block\d+_3_(bn|evo_norm)",
    prepare=_prepare,
)


def answer(request):
    """Writes a network's weights and what it computes.

    Args:
      request: what `tf_keras_weights.answer` takes, "mean" and "std" of the
        images; instead of "arch", "classes" and the arguments of kecam's
        builder under its name, "RegNetY" or "AotNet".
    """
    tf_keras_weights.answer(request, _PROJECT)
