"""timm and torchvision, whichever an interpreter has."""

from typing import Any

import torch


def import_torchvision() -> Any:
    """Returns torchvision, also where its compiled operators are missing.

    No RegNet and no transform of ours needs them.
    """
    try:
        import torchvision
    except RuntimeError:
        operators = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            operators.define(
                f"{name}(Tensor dets, Tensor scores, float iou_threshold)"
                " -> Tensor"
            )
        import torchvision

        # As long as this lives, they are defined.
        torchvision.operators_of_the_benchmarks = operators
    return torchvision


def build(library: str, net: str) -> torch.nn.Module:
    """Returns a network with random weights, by the library's name of it."""
    torchvision = import_torchvision()  # timm imports it too.
    if library == "timm":
        import timm

        return timm.create_model(net)
    return torchvision.models.get_model(net, weights=None)


def multiply_adds(net: torch.nn.Module, size: int) -> int:
    """Returns those of a forward pass of one image, additions of biases too."""
    total = 0

    def count(layer, inputs, output):
        nonlocal total
        bias = layer.bias is not None
        total += output[0].numel() * (layer.weight[0].numel() + bias)

    hooks = [
        layer.register_forward_hook(count)
        for layer in net.modules()
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear))
    ]
    training = net.training
    with torch.no_grad():
        net.eval()(torch.zeros(1, 3, size, size))
    net.train(training)
    for hook in hooks:
        hook.remove()
    return total
