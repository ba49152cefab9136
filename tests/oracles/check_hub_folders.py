"""Checks that timm opens the folders that `save_folder` writes, and agrees.

In two steps, each in an environment of its own:

    python tests/oracles/check_hub_folders.py write FOLDER   # with keras_regnet
    python tests/oracles/check_hub_folders.py check FOLDER   # with torch, timm
"""

import json
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

_LINE = {"depth": 6, "w_0": 16, "w_a": 16, "w_m": 2, "group_width": 8}
_OWN_BLOCKS = {"block": "z", "bottleneck_ratio": 0.25, "head_width": 40}
# A variant or a line, changes of its configuration, channels and classes.
NETWORKS = {
    "x": ("RegNetX-200MF", {}, 3, 5),
    "x_without_top": ("RegNetX-200MF", {}, 3, 0),
    "x_of_torchvision": (
        "RegNetX-400MF",
        {"width_rounding": "torchvision"},
        3,
        5,
    ),
    "y_unnamed": ("RegNetY-4.0GF", {"width_rounding": "torchvision"}, 3, 5),
    "z": ("RegNetZ-500MF", {}, 3, 5),
    "z_d8": ("RegNetZ-D8", {}, 3, 5),
    "v_with_pool": ("RegNetV-6.4GF", {}, 3, 5),
    "line": (_LINE, {"block": "y"}, 3, 5),
    "gray": (_LINE, {"activation": "gelu"}, 1, 5),
    "four_channels": (_LINE, {"activation": "hard_silu"}, 4, 5),
    "silu": (_LINE, {"activation": "silu", "stem_width": 24}, 3, 5),
    "elu": (_LINE, {"activation": "elu"}, 3, 5),
    "selu": (_LINE, {"activation": "selu"}, 3, 5),
    "relu6": (_LINE, {"activation": "relu6"}, 3, 5),
    "ungrouped": (_LINE, {"group_width": None}, 3, 5),
    "bottleneck": (_LINE, {"bottleneck_ratio": 2}, 3, 5),
    "expanded": (_LINE, {"bottleneck_ratio": 0.5, "group_width": 24}, 3, 5),
    "z_unnamed": (_LINE, {**_OWN_BLOCKS, "se_ratio": 0.5}, 3, 5),
    "pre": (_LINE, {"block": "pre", "projection": "pool"}, 3, 5),
}
MEAN, STD = (120.0, 110.0, 100.0), (50.0, 60.0, 70.0)
NAMES = ["ant", "bee", "cat", "dog", "eel"]
# Of differences, relative to the largest logit.
TOLERANCE = 1e-5


def write(folder):
    """Writes every network, and its logits as ours computes them."""
    import dataclasses

    import keras_regnet
    from tests.support import oracle_weights

    for name, (network, changes, channels, classes) in NETWORKS.items():
        if isinstance(network, str):
            config = keras_regnet.get_config(network)
        else:
            config = keras_regnet.RegNetConfig(**network)
        resolved = keras_regnet.weights.ResolvedWeights(
            dataclasses.replace(config, **changes), MEAN, STD
        )
        images = _images(channels)
        top = {"include_top": False, "pooling": "avg"}
        if classes:
            top = {"classes": classes, "classifier_activation": None}
        model = keras_regnet.build(
            resolved.config, resolved, input_shape=images.shape[1:], **top
        )
        oracle_weights.fill(model)
        if classes:
            record = dataclasses.replace(model.record, class_names=NAMES)
            model.set_record(record)
        keras_regnet.weights.save_folder(model, folder / name)
        np.savez(folder / f"{name}.npz", model.predict(images, verbose=0))


def _images(channels):
    from tests.support import oracle_weights

    images = oracle_weights.images()
    return np.concatenate([images, images[..., :1]], axis=-1)[..., :channels]


def check(folder):
    """Opens every folder with timm, and prints how far the logits differ."""
    import timm
    import timm.data
    import torch

    for name, (_, _, channels, classes) in NETWORKS.items():
        source = f"local-dir:{folder / name}"
        model = timm.create_model(source, pretrained=True).eval()
        data = timm.data.resolve_model_data_config(model)
        mean, std = (255 * np.array(data[key]) for key in ("mean", "std"))
        images = (_images(channels) - mean) / std
        images = torch.from_numpy(images.transpose(0, 3, 1, 2).astype("f4"))
        with torch.no_grad():
            got = model(images).numpy()
        expected = np.load(folder / f"{name}.npz")["arr_0"]
        difference = np.abs(got - expected).max() / np.abs(expected).max()
        known = model.pretrained_cfg
        facts = {
            "num_classes": (model.num_classes, classes),
            "size": (tuple(data["input_size"]), (channels, 96, 64)),
            "crop": (data["crop_pct"], 224 / 256),
            "interpolation": (data["interpolation"], "bilinear"),
            "names": (known.get("label_names"), NAMES if classes else None),
        }
        print(json.dumps({"network": name, "difference": float(difference)}))
        for fact, (found, right) in facts.items():
            if found != right:
                raise SystemExit(f"{name}: {fact} is {found}, not {right}")
        if not difference < TOLERANCE:
            raise SystemExit(f"{name}: logits differ")


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](pathlib.Path(sys.argv[2]))
