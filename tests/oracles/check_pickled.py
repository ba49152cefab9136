"""Checks that pickled checkpoints are read as their safetensors are.

Run in the environment of `torch_weights.py`; the default tests have no
PyTorch:

    python tests/oracles/check_pickled.py

Every file of tests/data/weights is pickled as its project pickles it, and
read by `keras_regnet.weights.torch_file`, which needs no Keras.
"""

import pathlib
import sys
import tempfile
import types

import numpy as np
import safetensors.torch

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

import torch_weights  # noqa: E402
import weight_fixtures as fixtures  # noqa: E402

_SUFFIXES = {
    "pycls": ".pyth",
    "classy": ".torch",
    "swag": ".torch",
    "transformers": ".bin",
}


def torch_file():
    """Returns the reader without what the packages around it import."""
    for name in ("keras_regnet", "keras_regnet.weights"):
        package = types.ModuleType(name)
        package.__path__ = [str(TESTS.parent / name.replace(".", "/"))]
        sys.modules[name] = package
    from keras_regnet.weights import torch_file

    return torch_file


def main():
    """Checks all, and says so."""
    reader = torch_file()
    for name, (family, _) in fixtures.NETWORKS.items():
        path = fixtures.FOLDER / f"{name}.safetensors"
        state = safetensors.torch.load_file(path)
        with tempfile.TemporaryDirectory() as folder:
            suffix = _SUFFIXES.get(family, ".pth")
            pickled = pathlib.Path(folder, f"{name}{suffix}")
            torch_weights.save(state, pickled, family)
            found = reader.read(pickled)
            if sorted(found) != sorted(state):
                raise AssertionError(f"{name}: other names.")
            for key, value in state.items():
                np.testing.assert_array_equal(found[key], value.numpy(), key)
        print(f"{name}{suffix}: {len(state)} tensors")


if __name__ == "__main__":
    main()
