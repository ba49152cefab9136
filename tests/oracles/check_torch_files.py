"""Checks with PyTorch how pickled checkpoints are read, written and refused.

Run where keras_regnet and torch are installed together:

    python tests/oracles/check_torch_files.py
"""

import os
import pathlib
import sys
import tempfile

import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import keras_regnet  # noqa: E402
from keras_regnet.weights import save  # noqa: E402
from tests.support import oracle_weights  # noqa: E402

CONFIG = keras_regnet.RegNetConfig(3, 16, 16, 2, 8, block="y", stem_width=8)
OPTIONS = {"input_shape": (32, 32, 3), "classes": 4}


class Evil:
    """A pickle of it runs a command when it is loaded."""

    def __reduce__(self):
        return os.system, ("touch EVIL",)


def files(model):
    """Yields the name of a file, what it holds, and options of `save`."""
    legacy = {"_use_new_zipfile_serialization": False}
    for file_format in ("timm", "torchvision", "pycls", "swag", "transformers"):
        yield f"{file_format}.pth", tensors(model, file_format), {}
    state = tensors(model, "pycls")
    yield "old.pyth", {"model_state": state, "cfg": "", "epoch": 99}, legacy
    yield "deit.pt", {"model": tensors(model, "timm")}, {}
    state = tensors(model, "classy")
    heads = {name: state.pop(name) for name in list(state) if "clf" in name}
    heads["0.prototypes0.weight"] = torch.ones(2)
    parts = {"trunk": state, "heads": heads}
    wrapped = {"classy_state_dict": {"base_model": {"model": parts}}}
    yield "seer.torch", wrapped, {}
    halves = {
        name: value.bfloat16() if value.is_floating_point() else value
        for name, value in tensors(model, "timm").items()
    }
    yield "half.bin", halves, {}


def bad_files(model):
    """Yields the name of a file, its contents, and options of `save`."""
    state = tensors(model, "timm")
    yield "evil.pth", {**state, "x": Evil()}, {}
    legacy = {"_use_new_zipfile_serialization": False}
    yield "evil_old.pth", {**state, "x": Evil()}, legacy
    yield "module.pth", torch.nn.Linear(2, 2), {}
    yield "sparse.pth", {**state, "head.fc.bias": torch.ones(4).to_sparse()}, {}
    yield "list.pth", [1, 2], {}


def tensors(model, file_format):
    """Returns the state dict of a file_format, as tensors."""
    return {
        name: torch.from_numpy(array)
        for name, array in save.state_dict(model, file_format).items()
    }


def check_good(model):
    """Raises unless every file loads, exactly or to its precision."""
    for name, content, options in files(model):
        torch.save(content, name, **options)
        again = keras_regnet.build(CONFIG, weights=f"./{name}", **OPTIONS)
        tolerance = 1e-2 if name == "half.bin" else 0
        for left, right in zip(model.weights, again.weights, strict=True):
            np.testing.assert_allclose(left, right, rtol=tolerance)
        print("loads", name)
    for file_format in save.FORMATS:
        save.export(model, f"{file_format}_written.pyth", file_format)
        keras_regnet.build(
            CONFIG, weights=f"./{file_format}_written.pyth", **OPTIONS
        )


def check_bad(model):
    """Raises unless every file is refused, and prints by which words."""
    for name, content, options in bad_files(model):
        torch.save(content, name, **options)
    whole = pathlib.Path("timm.pth").read_bytes()
    pathlib.Path("truncated.pth").write_bytes(whole[:-2000])
    old = pathlib.Path("old.pyth").read_bytes()
    pathlib.Path("truncated_old.pth").write_bytes(old[:-2000])
    pathlib.Path("random.pth").write_bytes(os.urandom(5000))
    names = [name for name, *_ in bad_files(model)]
    for name in (*names, "truncated.pth", "truncated_old.pth", "random.pth"):
        try:
            keras_regnet.build(CONFIG, weights=f"./{name}", **OPTIONS)
        except ValueError as error:
            print("refused:", error)
        else:
            raise SystemExit(f"{name} was loaded")
    if os.path.exists("EVIL"):
        raise SystemExit("a pickle was executed")


def main():
    """Makes every file in a folder of its own."""
    model = keras_regnet.build(CONFIG, **OPTIONS)
    oracle_weights.fill(model)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        check_good(model)
        check_bad(model)
        os.chdir(ROOT)


if __name__ == "__main__":
    main()
