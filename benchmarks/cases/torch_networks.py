"""Networks of timm and torchvision in PyTorch, eager or compiled."""

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.cases import steps
from benchmarks.cases import torch_libraries

PACKAGES = ("torch", "torchvision", "timm")


def build(job: dict[str, Any]) -> torch.nn.Module:
    """Returns a network.

    Args:
      job: also library, "timm" or "torchvision"; net, its name there; layout, a
        memory format; compiled, whether by `torch.compile`; and autocast, a
        dtype, if it is not to compute in float32.
    """
    torch.set_num_threads(job["threads"])
    layout = getattr(torch, job["layout"])
    net = torch_libraries.build(job["library"], job["net"])
    return net.to(memory_format=layout)


def multiply_adds(net: torch.nn.Module, job: dict[str, Any]) -> int:
    """Returns those of a forward pass of one image, additions of biases too."""
    return torch_libraries.multiply_adds(net, job["size"])


def make_step(net: torch.nn.Module, job: dict[str, Any]) -> Callable:
    """Returns a step; it is compiled when it is first called."""
    images = torch.randn(job["batch"], 3, job["size"], job["size"])
    images = images.to(memory_format=getattr(torch, job["layout"]))
    if job["pass"] == "training":
        step = _training(net.train(), images, job["compiled"])
    else:
        step = inference(net.eval(), images, job["compiled"])
    return _with_autocast(step, job["autocast"]) if "autocast" in job else step


def _with_autocast(step, dtype):
    """Returns a step whose forward pass, and so its gradient, is of a dtype."""

    def cast():
        with torch.autocast("cpu", getattr(torch, dtype)):
            return step()

    return cast


def inference(
    net: torch.nn.Module, images: torch.Tensor, compiled: bool
) -> Callable[[], torch.Tensor]:
    """Returns a forward pass."""
    called = torch.compile(net) if compiled else net

    @torch.inference_mode()
    def step():
        return called(images)

    return step


def _training(net, images, compiled):
    called = torch.compile(net) if compiled else net
    optimizer = torch.optim.SGD(
        net.parameters(),
        steps.LEARNING_RATE,
        momentum=steps.MOMENTUM,
        nesterov=True,
    )
    labels = torch.arange(len(images)) % steps.CLASSES

    def step():
        loss = torch.nn.functional.cross_entropy(called(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step
