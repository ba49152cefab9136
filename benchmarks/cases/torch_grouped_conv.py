"""A grouped convolution in PyTorch."""

from typing import Any

import torch

from benchmarks.harness import worker


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Prepares a layer of 3x3 kernels, channels last.

    Args:
      job: as of `grouped_conv`.
    """
    torch.set_num_threads(job["threads"])
    channels = job["channels"]
    layer = torch.nn.Conv2d(
        channels,
        channels,
        3,
        job["stride"],
        1,
        groups=channels // job["group_width"],
        bias=False,
    ).to(memory_format=torch.channels_last)
    x = torch.randn(job["batch"], channels, job["size"], job["size"])
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    dy = torch.randn_like(layer(x).detach())

    def both():
        x.grad = layer.weight.grad = None
        layer(x).backward(dy)

    step = torch.no_grad()(lambda: layer(x))
    if job["pass"] == "both":
        step = both
    turn = worker.Repeated(step, job["turn_seconds"])
    return worker.Prepared(turn, worker.versions("torch"))
