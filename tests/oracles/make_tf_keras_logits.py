"""Writes tests/data/tf_keras_logits.npz: what tf_keras.applications computes.

Run in an environment of its own, with tensorflow and tf_keras (Keras 2):

    python tests/oracles/make_tf_keras_logits.py

Its RegNets pad as TensorFlow does ("same") and return logits whatever
activation is asked for. They get the weights and images of `oracle_weights`.
"""

import pathlib
import re
import sys

import numpy as np
import tf_keras

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS.parent))

from tests.support import oracle_weights  # noqa: E402

PARTS = {
    "conv_1x1_1": "conv1",
    "conv_1x1_1_bn": "conv1_bn",
    "conv_3x3": "conv2",
    "conv_3x3_bn": "conv2_bn",
    "squeeze_and_excite_squeeze": "se_reduce",
    "squeeze_and_excite_excite": "se_expand",
    "conv_1x1_2": "conv3",
    "conv_1x1_2_bn": "conv3_bn",
    "skip_1x1": "shortcut",
    "skip_bn": "shortcut_bn",
}
ENDS = {"stem_conv": "stem_conv", "stem_bn": "stem_conv_bn"}


def our_name(layer):
    """Returns our name of one of their layers."""
    if layer.endswith("head_dense"):
        return "head_fc"
    block = re.search(r"_Stage_(\d)_[XY]Block_(\d+)_(.*)", layer)
    if block:
        stage, number = int(block[1]) + 1, int(block[2]) + 1
        return f"stage{stage}_block{number}_{PARTS[block[3]]}"
    return ENDS[re.search(r"stem_\w+", layer)[0]]


def logits(builder):
    """Returns the logits of one of their networks."""
    model = builder(
        weights=None,
        include_preprocessing=False,
        input_shape=oracle_weights.IMAGE_SHAPE[1:],
    )
    for layer in model.layers:
        for variable in layer.weights:
            kind = variable.name.rsplit("/")[-1].split(":")[0]
            path = f"{our_name(layer.name)}/{kind}"
            variable.assign(oracle_weights.weight(path, variable.shape))
    images = (oracle_weights.images() - 127) / 60
    return model(images, training=False).numpy()


MODELS = {
    "RegNetX-200MF": tf_keras.applications.RegNetX002,
    "RegNetY-400MF": tf_keras.applications.RegNetY004,
}


def main():
    results = {name: logits(builder) for name, builder in MODELS.items()}
    for name, values in results.items():
        print(name, values.shape, np.abs(values).mean())
    np.savez_compressed(TESTS / "data" / "tf_keras_logits.npz", **results)


if __name__ == "__main__":
    main()
