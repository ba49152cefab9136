"""Checks that timm and torchvision load what we export, and agree with it.

In two steps, each in an environment of its own:

    python tests/oracles/check_exports.py write FOLDER   # with keras_regnet
    python tests/oracles/check_exports.py check FOLDER   # with torch, timm
"""

import json
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

# Our variant, its rounding, the family and that project's name.
NETWORKS = [
    ("RegNetX-200MF", "pycls", "timm", "regnetx_002"),
    ("RegNetX-8.0GF", "pycls", "timm", "regnetx_080"),
    ("RegNetY-400MF", "pycls", "timm", "regnety_004"),
    ("RegNetY-800MF", "torchvision", "timm", "regnety_008_tv"),
    ("RegNetZ-500MF", "pycls", "timm", "regnetz_005"),
    ("RegNetZ-4.0GF", "pycls", "timm", "regnetz_040_h"),
    ("RegNetZ-4.0GF-NoHeadConv", "pycls", "timm", "regnetz_040"),
    ("RegNetY-4.0GF-GroupNorm", "pycls", "timm", "regnety_040_sgn"),
    ("RegNetV-4.0GF", "pycls", "timm", "regnetv_040"),
    ("RegNetV-6.4GF", "pycls", "timm", "regnetv_064"),
    ("RegNetX-400MF", "torchvision", "torchvision", "regnet_x_400mf"),
    ("RegNetY-800MF", "torchvision", "torchvision", "regnet_y_800mf"),
    ("RegNetY-1.6GF", "torchvision", "torchvision", "regnet_y_1_6gf"),
]
CLASSES = 7
MEAN = np.array([123.675, 116.28, 103.53], "f4")
STD = np.array([58.395, 57.12, 57.375], "f4")


def write(folder):
    """Exports every network, and its logits as ours computes them."""
    import dataclasses

    import keras_regnet
    from tests.support import oracle_weights

    for variant, rounding, family, name in NETWORKS:
        config = dataclasses.replace(
            keras_regnet.get_config(variant), width_rounding=rounding
        )
        images = oracle_weights.images()
        model = keras_regnet.build(
            config,
            input_shape=images.shape[1:],
            classes=CLASSES,
            classifier_activation=None,
        )
        oracle_weights.fill(model)
        keras_regnet.weights.export(
            model, folder / f"{name}.safetensors", family
        )
        np.savez(folder / f"{name}.npz", model.predict(images, verbose=0))


def check(folder):
    """Loads every file strictly, and prints how far the logits differ."""
    import safetensors.torch
    import timm
    import torch
    import torchvision

    from tests.support import oracle_weights

    images = (oracle_weights.images() - MEAN) / STD
    images = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    for _, _, family, name in NETWORKS:
        make = torchvision.models.get_model
        if family == "timm":
            make = timm.create_model
        model = make(name, num_classes=CLASSES).eval()
        state = safetensors.torch.load_file(folder / f"{name}.safetensors")
        if state.keys() != model.state_dict().keys():
            raise SystemExit(f"{name}: keys differ")
        model.load_state_dict(state, strict=True)
        with torch.no_grad():
            got = model(images).numpy()
        expected = np.load(folder / f"{name}.npz")["arr_0"]
        difference = np.abs(got - expected).max() / np.abs(expected).max()
        print(json.dumps({"network": name, "difference": float(difference)}))
        if difference > 1e-5:
            raise SystemExit(f"{name}: logits differ")


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](pathlib.Path(sys.argv[2]))
