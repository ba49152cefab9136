"""Writes tests/data/torch_logits.npz: what timm and torchvision compute.

Run in an environment of its own, with torch, torchvision and timm:

    python tests/oracles/make_torch_logits.py

Their models get the weights of `oracle_weights`, ImageNet's mean and standard
deviation, and the same images. The test compares our models' logits.
"""

import pathlib
import re
import sys

import numpy as np
import torch

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS.parent))

import timm  # noqa: E402
import torchvision  # noqa: E402

from tests.support import oracle_weights  # noqa: E402

MEAN = np.array([123.675, 116.28, 103.53], "f4")
STD = np.array([58.395, 57.12, 57.375], "f4")

# Patterns of their module names and ours; the first that fits is taken.
TIMM = [
    (r"stem\.(conv\d)\.conv", r"stem_\1"),
    (r"stem\.(conv\d)\.bn", r"stem_\1_bn"),
    (r"stages\.(\d)\.(\d+)\.(conv\d)_\w+\.conv", r"stage\1+_block\2+_\3"),
    (r"stages\.(\d)\.(\d+)\.(conv\d)_\w+\.bn", r"stage\1+_block\2+_\3_bn"),
    (r"stages\.(\d)\.(\d+)\.attn\.fc1", r"stage\1+_block\2+_se_reduce"),
    (r"stages\.(\d)\.(\d+)\.attn\.fc2", r"stage\1+_block\2+_se_expand"),
    (r"s(\d)\.b(\d+)\.(conv\d|norm\d)", r"stage\1_block\2_\3"),
    (r"s(\d)\.b(\d+)\.downsample(?:\.1)?", r"stage\1_block\2_shortcut"),
    (r"stem", r"stem_conv"),
    (r"stem\.conv", r"stem_conv"),
    (r"stem\.bn", r"stem_conv_bn"),
    (r"s(\d)\.b(\d+)\.conv(\d)\.conv", r"stage\1_block\2_conv\3"),
    (r"s(\d)\.b(\d+)\.conv(\d)\.bn", r"stage\1_block\2_conv\3_bn"),
    (r"s(\d)\.b(\d+)\.se\.fc1", r"stage\1_block\2_se_reduce"),
    (r"s(\d)\.b(\d+)\.se\.fc2", r"stage\1_block\2_se_expand"),
    (r"s(\d)\.b(\d+)\.downsample\.conv", r"stage\1_block\2_shortcut"),
    (r"s(\d)\.b(\d+)\.downsample\.bn", r"stage\1_block\2_shortcut_bn"),
    (r"final_conv\.conv", r"head_conv"),
    (r"final_conv\.bn", r"head_conv_bn"),
    (r"head\.fc", r"head_fc"),
]


TORCHVISION_ENDS = {
    "stem.0": "stem_conv",
    "stem.1": "stem_conv_bn",
    "conv1": "stem_conv",
    "bn1": "stem_conv_bn",
    "fc": "head_fc",
}
TORCHVISION_PARTS = {
    "f.a.0": "conv1",
    "f.a.1": "conv1_bn",
    "f.b.0": "conv2",
    "f.b.1": "conv2_bn",
    "f.c.0": "conv3",
    "f.c.1": "conv3_bn",
    "f.se.fc1": "se_reduce",
    "f.se.fc2": "se_expand",
    "proj.0": "shortcut",
    "proj.1": "shortcut_bn",
    "conv1": "conv1",
    "bn1": "conv1_bn",
    "conv2": "conv2",
    "bn2": "conv2_bn",
    "conv3": "conv3",
    "bn3": "conv3_bn",
    "downsample.0": "shortcut",
    "downsample.1": "shortcut_bn",
}


def timm_name(module):
    for pattern, ours in TIMM:
        if re.fullmatch(pattern, module):
            name = re.sub(pattern, ours, module)
            # Where they count from 0.
            return re.sub(r"(\d+)\+", lambda m: str(int(m[1]) + 1), name)
    raise KeyError(module)


def torchvision_name(module):
    if module in TORCHVISION_ENDS:
        return TORCHVISION_ENDS[module]
    block = re.fullmatch(
        r"(?:trunk_output\.block\d\.block|layer)(\d)[.-](\d+)\.(.*)", module
    )
    part = TORCHVISION_PARTS[block[3]]
    return f"stage{block[1]}_block{int(block[2]) + 1}_{part}"


KINDS = {
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
    "bias": "bias",
}


def fill(model, our_name, weight=oracle_weights.weight):
    norms = {
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.BatchNorm2d)
    }
    state = {}
    for key, value in model.state_dict().items():
        module, kind = key.rsplit(".", 1)
        if kind == "num_batches_tracked":
            state[key] = value
            continue
        kind = KINDS.get(kind, "kernel")
        if module in norms:
            kind = {"kernel": "gamma", "bias": "beta"}.get(kind, kind)
        path = f"{our_name(module)}/{kind}"
        if value.ndim == 4:
            out, inp, high, wide = value.shape
            array = weight(path, (high, wide, inp, out))
            array = array.transpose(3, 2, 0, 1)
        elif value.ndim == 2:
            array = weight(path, tuple(value.shape)[::-1]).T
        else:
            array = weight(path, tuple(value.shape))
        state[key] = torch.from_numpy(np.ascontiguousarray(array))
    model.load_state_dict(state, strict=True)


def logits(model):
    images = (oracle_weights.images() - MEAN) / STD
    images = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        return model.eval()(images).numpy()


MODELS = {
    "RegNetX-200MF": lambda: (timm.create_model("regnetx_002"), timm_name),
    "RegNetX-8.0GF": lambda: (timm.create_model("regnetx_080"), timm_name),
    "RegNetY-400MF": lambda: (timm.create_model("regnety_004"), timm_name),
    "RegNetZ-500MF": lambda: (timm.create_model("regnetz_005"), timm_name),
    "RegNetZ-4.0GF-NoHeadConv": lambda: (
        timm.create_model("regnetz_040"),
        timm_name,
    ),
    "RegNetZ-B16": lambda: (timm.create_model("regnetz_b16"), timm_name),
    "RegNetZ-D8": lambda: (timm.create_model("regnetz_d8"), timm_name),
    "RegNetV-4.0GF": lambda: (timm.create_model("regnetv_040"), timm_name),
    "RegNetV-6.4GF": lambda: (timm.create_model("regnetv_064"), timm_name),
    "RegNetX-400MF torchvision": lambda: (
        torchvision.models.regnet_x_400mf(),
        torchvision_name,
    ),
    "RegNetY-800MF torchvision": lambda: (
        torchvision.models.regnet_y_800mf(),
        torchvision_name,
    ),
    "ResNet-50": lambda: (torchvision.models.resnet50(), torchvision_name),
    "ResNeXt-50": lambda: (
        torchvision.models.resnext50_32x4d(),
        torchvision_name,
    ),
}


def main():
    results = {}
    for name, make in MODELS.items():
        model, our_name = make()
        fill(model, our_name)
        results[name] = logits(model)
        print(name, results[name].shape, np.abs(results[name]).mean())
    np.savez_compressed(TESTS / "data" / "torch_logits.npz", **results)


if __name__ == "__main__":
    main()
