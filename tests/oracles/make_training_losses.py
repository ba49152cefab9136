"""Writes tests/data/torch_training.npz: losses of training in PyTorch.

Run in the environment of `make_torch_logits.py`, whose names it shares:

    python tests/oracles/make_training_losses.py

Small networks of timm, with the weights of `training_parity`, and the paper's
optimizer: SGD with Nesterov momentum, coupled weight decay on every
parameter, cosine by epochs with a warm-up. In double precision: in single,
rounding differs from one processor to the next and grows from step to step.
"""

import pathlib
import sys

import numpy as np
import torch
from timm.models import regnet

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import make_torch_logits as torch_logits

from tests.support import paths
from tests.support import training_parity

# Of ImageNet, not rounded to single precision.
_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)


def network(se_ratio):
    """Returns timm's network of `training_parity.LINE`, filled."""
    line = training_parity.LINE
    cfg = regnet.RegNetCfg(
        depth=line["depth"],
        w0=line["w_0"],
        wa=line["w_a"],
        wm=line["w_m"],
        group_size=line["group_width"],
        se_ratio=se_ratio,
        stem_width=training_parity.STEM_WIDTH,
    )
    model = regnet.RegNet(cfg, num_classes=training_parity.CLASSES)
    torch_logits.fill(model, torch_logits.timm_name, training_parity.weight)
    return model.double()


def losses(model, run):
    """Returns the loss of every step of a run."""
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=0.0,
        momentum=0.9,
        weight_decay=training_parity.WEIGHT_DECAY,
        nesterov=True,
    )
    model.train()
    found = []
    for step in range(run.steps):
        images, labels = training_parity.batch(step)
        images = (images.astype("f8") - _MEAN) / _STD
        images = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        logits = model(images)
        loss = torch.nn.functional.cross_entropy(
            logits, torch.from_numpy(labels).long()
        )
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = training_parity.learning_rate(run, step)
        optimizer.step()
        found.append(loss.item())
    return np.array(found)


def main():
    """Writes the losses of every network and run."""
    results = {}
    for name, se_ratio in (("x", 0.0), ("y", 0.25)):
        for run in training_parity.RUNS:
            results[f"{name} {run.name}"] = losses(network(se_ratio), run)
    for name, values in results.items():
        print(name, values.round(4).tolist())
    data = paths.DATA
    np.savez_compressed(data / "torch_training.npz", **results)


if __name__ == "__main__":
    main()
