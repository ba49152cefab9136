"""The trial of a sweep in PyTorch, eager, with torchvision's RegNet.

It trains from arrays that are augmented as ours, or as PyTorch's tutorials do:
from a `Dataset`, torchvision's transforms and a `DataLoader`.
"""

import json
import math
import pathlib
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.cases import parts
from benchmarks.cases import torch_libraries
from benchmarks.harness import worker

# Before its parts.
torch_libraries.import_torchvision()

# isort: split
from torchvision import transforms  # noqa: E402
from torchvision.models import regnet  # noqa: E402
from torchvision.ops.misc import Conv2dNormActivation  # noqa: E402

_MEAN = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
_STD = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)
_FILL = (124, 116, 104)
_BATCH = 250
_PARTS = ("build", "compile", "input", "train", "test")


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Prepares a trial.

    Args:
      job: path of what `sweep_files` makes; layout, a memory format; loader,
        whether to train from a `DataLoader`; threads.
    """
    torch.set_num_threads(job["threads"])
    trial = json.loads(pathlib.Path(job["path"]).read_text())
    arrays = dict(np.load(trial["arrays"]))
    layout = getattr(torch, job["layout"])
    params = sum(p.numel() for p in _build(trial, layout).parameters())
    if params != trial["count"]:
        raise ValueError(
            f"not the same network: {trial['count']} and {params} parameters"
        )
    return worker.Prepared(
        lambda: _Trial(trial, arrays, layout, job["loader"]).run(),
        worker.versions("torch", "torchvision"),
        {"images": 1, "params": params},
    )


class _Stem(Conv2dNormActivation):
    """torchvision's stem, at the full size of the image."""

    def __init__(self, inputs, width, norm_layer, activation_layer):
        super().__init__(
            inputs,
            width,
            kernel_size=3,
            stride=1,
            norm_layer=norm_layer,
            activation_layer=activation_layer,
        )


class _Images(torch.utils.data.Dataset):
    """The images of a trial, each augmented by itself."""

    def __init__(self, trial, arrays):
        self._arrays = arrays
        crop = transforms.RandomCrop(
            trial["image_size"], trial["shift"], fill=_FILL
        )
        flips = [transforms.RandomHorizontalFlip()] * bool(trial["flip"])
        mean, std = _MEAN.ravel() / 255, _STD.ravel() / 255
        normalize = transforms.Normalize(mean, std)
        chain = [crop, *flips, transforms.ToTensor(), normalize]
        self._transform = transforms.Compose(chain)

    def __len__(self):
        return len(self._arrays["train_labels"])

    def __getitem__(self, index):
        image = Image.fromarray(self._arrays["train_images"][index])
        label = int(self._arrays["train_labels"][index])
        return self._transform(image), label


class _Trial:
    """Trains and evaluates a network once."""

    def __init__(self, trial, arrays, layout, loader):
        self._trial = trial
        self._arrays = arrays
        self._layout = layout
        self._loader = loader
        self._rng = np.random.default_rng(trial["seed"])
        self._clock = parts.Parts()

    def run(self):
        """Returns the seconds of each part, and the error in percent."""
        trial = self._trial
        torch.manual_seed(trial["seed"])
        net = _build(trial, self._layout)
        optimizer = torch.optim.SGD(
            net.parameters(),
            lr=0.1,
            momentum=trial["momentum"],
            nesterov=True,
            weight_decay=trial["weight_decay"],
        )
        self._clock.did("build")
        for epoch in range(trial["epochs"]):
            self._train(net, optimizer, epoch)
            error = self._evaluate(net, epoch == trial["epochs"] - 1)
        nothing = dict.fromkeys(_PARTS, 0.0)
        return {**nothing, **self._clock.measured(), "error": error}

    def _train(self, net, optimizer, epoch):
        trial = self._trial
        steps = len(self._arrays["train_labels"]) // trial["batch_size"]
        net.train()
        for step, (images, truths) in enumerate(self._batches(steps)):
            images = images.contiguous(memory_format=self._layout)
            self._clock.did("input")
            done = (epoch * steps + step) / (trial["epochs"] * steps)
            rate = trial["learning_rate"] * 0.5 * (1 + math.cos(math.pi * done))
            optimizer.param_groups[0]["lr"] = rate
            loss = torch.nn.functional.cross_entropy(net(images), truths)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            self._clock.did("train")

    def _batches(self, steps):
        if self._loader:
            return torch.utils.data.DataLoader(
                _Images(self._trial, self._arrays),
                self._trial["batch_size"],
                shuffle=True,
                drop_last=True,
            )
        return self._from_arrays(steps)

    def _from_arrays(self, steps):
        size, labels = self._trial["batch_size"], self._arrays["train_labels"]
        chosen = self._rng.permutation(len(labels))[: steps * size]
        images = _augmented(
            self._arrays["train_images"][chosen],
            self._trial["shift"],
            self._trial["flip"],
            self._rng,
        )
        truths = torch.from_numpy(labels[chosen]).long()
        for step in range(steps):
            part = slice(step * size, (step + 1) * size)
            yield _normalized(images[part], self._layout), truths[part]

    def _evaluate(self, net, last):
        net.eval()
        labels = self._arrays["test_labels"]
        count = len(labels)
        if not last:
            count = min(count, self._trial["interim_test_images"] or count)
        hits = 0
        with torch.inference_mode():
            for start in range(0, count, _BATCH):
                part = slice(start, min(start + _BATCH, count))
                truth = torch.from_numpy(labels[part]).long()
                images = self._arrays["test_images"][part]
                found = net(_normalized(images, self._layout)).argmax(1)
                hits += int((found == truth).sum())
        self._clock.did("test")
        return 100 * (1 - hits / count)


def _build(trial, layout):
    net = regnet.RegNet(
        regnet.BlockParams(**trial["params"]),
        num_classes=trial["classes"],
        stem_width=trial["stem_width"],
        stem_type=_Stem,
    )
    return net.to(memory_format=layout)


def _normalized(images, layout):
    images = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    return ((images - _MEAN) / _STD).contiguous(memory_format=layout)


def _augmented(images, shift, flip, rng):
    """Returns images shifted by a few pixels, half of them mirrored."""
    count, side = images.shape[:2]
    frame = side + 2 * shift
    framed = np.empty((count, frame, frame, 3), np.uint8)
    framed[:] = _FILL
    framed[:, shift : shift + side, shift : shift + side] = images
    windows = np.lib.stride_tricks.sliding_window_view(
        framed.reshape(count, frame, -1), (side, 3 * side), axis=(1, 2)
    )
    tops, lefts = rng.integers(2 * shift + 1, size=(2, count))
    cut = windows[np.arange(count), tops, 3 * lefts].reshape(images.shape)
    if flip:
        mirrored = np.flatnonzero(rng.random(count) < 0.5)
        cut[mirrored] = cut[mirrored].take(np.arange(side)[::-1], axis=2)
    return cut
