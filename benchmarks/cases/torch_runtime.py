"""The network of a file in PyTorch: timm's, with the weights of ours."""

from typing import Any

import safetensors.torch
import torch

from benchmarks.cases import file_checks
from benchmarks.cases import torch_libraries
from benchmarks.cases import torch_networks
from benchmarks.harness import worker

# Of ImageNet's pixels in 0..255, as `keras_regnet` has them.
_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Prepares a network; its images are normalized beforehand.

    Args:
      job: net, timm's name; weights, path of a state dict; layout, a memory
        format; compiled; images, threads, and what `file_checks.prepared`
        takes.
    """
    torch.set_num_threads(job["threads"])
    layout = getattr(torch, job["layout"])
    net = torch_libraries.build("timm", job["net"])
    net.load_state_dict(safetensors.torch.load_file(job["weights"]))
    net = net.eval().to(memory_format=layout)
    pixels = torch.from_numpy(file_checks.images(job)).permute(0, 3, 1, 2)
    mean = torch.tensor(_MEAN).view(1, 3, 1, 1)
    std = torch.tensor(_STD).view(1, 3, 1, 1)
    images = ((pixels - mean) / std).contiguous(memory_format=layout)
    step = torch_networks.inference(net, images, job["compiled"])
    return file_checks.prepared(job, lambda: step().numpy(), ("torch", "timm"))
