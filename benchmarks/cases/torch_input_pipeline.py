"""The input pipeline of torchvision's documentation."""

import pathlib
import time
from typing import Any

import torch

from benchmarks.cases import torch_libraries
from benchmarks.harness import worker

# The same images again: a loader ends with its data set.
_REPEATED = 100


def prepare(job: dict[str, Any]) -> worker.Prepared:
    """Prepares a `DataLoader` with a worker for every thread.

    Args:
      job: as of `input_pipeline`.
    """
    torch_libraries.import_torchvision()
    from torchvision import datasets
    from torchvision import transforms

    chain = [
        transforms.RandomResizedCrop(job["size"]),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
    ]
    images = datasets.ImageFolder(
        str(pathlib.Path(job["photos"]) / "train"), transforms.Compose(chain)
    )
    images.samples *= _REPEATED
    torch.set_num_threads(1)

    def turn():
        loader = iter(
            torch.utils.data.DataLoader(
                images,
                job["batch"],
                shuffle=True,
                num_workers=job["threads"],
                drop_last=True,
            )
        )
        for _ in range(job["untimed"]):
            next(loader)
        start = time.perf_counter()
        for _ in range(job["batches"]):
            next(loader)
        count = job["batches"] * job["batch"]
        return {"seconds": (time.perf_counter() - start) / count}

    turn()
    versions = worker.versions("torch", "torchvision", "pillow")
    return worker.Prepared(turn, versions, {"images": 1})
