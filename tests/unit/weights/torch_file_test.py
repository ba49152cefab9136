"""Pickled checkpoints, without PyTorch: what is refused, and by which words.

PyTorch's own part is played by a stand-in, which raises what PyTorch 2.13
raised for such files; `tests/oracles/check_torch_files.py` asks PyTorch.
"""

import pathlib
import pickle
import sys
import tempfile
import types
import zipfile
from unittest import mock

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet.weights import readers
from keras_regnet.weights.readers import torch_file

_ADVICE = (
    "Weights only load failed. In PyTorch 2.6, we changed the default value "
    "of the `weights_only` argument in `torch.load` from `False` to `True`. "
    "Re-running `torch.load` with `weights_only` set to `False` will likely "
    "succeed, but it can result in arbitrary code execution.\n\n"
)


class _Tensor:
    """As much of a tensor as the reader asks for."""

    layout = "torch.strided"

    def __init__(self, array, dtype="torch.float32"):
        self.array, self.dtype = np.asarray(array), dtype
        self.shape = self.array.shape

    def float(self):
        return _Tensor(self.array.astype("float32"))

    def detach(self):
        return self

    def numpy(self):
        if self.dtype != "torch.float32":
            raise TypeError(f"Got unsupported ScalarType {self.dtype}")
        return self.array


def _torch(result):
    """Returns a stand-in whose `load` returns or raises `result`."""
    return types.SimpleNamespace(load=mock.Mock(side_effect=[result]))


class TorchFileTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "a.pth"
        self.path.write_bytes(b"legacy format")

    def write_zip(self, compression=zipfile.ZIP_STORED, **entries):
        with zipfile.ZipFile(self.path, "w", compression) as archive:
            for name, content in entries.items():
                archive.writestr(f"a/{name}.pkl", content)

    def read(self, result):
        torch = _torch(result)
        with mock.patch.dict(sys.modules, {"torch": torch}):
            tensors = readers.read(self.path)
        return tensors, torch.load

    def test_loads_nothing_but_weights(self):
        state = {"a": _Tensor([1.0, 2.0])}
        tensors, load = self.read({"model_state": state, "epoch": 3})
        load.assert_called_once_with(
            self.path, map_location="cpu", weights_only=True, mmap=False
        )
        self.assertEqual(tensors.shapes, {"a": (2,)})
        np.testing.assert_array_equal(tensors["a"], [1, 2])

    def test_archives_stay_on_disk(self):
        self.write_zip(data=b"pickle")
        _, load = self.read({"a": _Tensor([1.0])})
        self.assertTrue(load.call_args.kwargs["mmap"])

    def test_kinds_of_numbers(self):
        state = {
            "brain": _Tensor([1.0], "torch.bfloat16"),
            "sparse": _Tensor([1.0], "torch.quint8"),
        }
        tensors, _ = self.read(state)
        np.testing.assert_array_equal(tensors["brain"], [1])
        with self.assertRaisesRegex(ValueError, "'sparse' .* unusual kind"):
            tensors["sparse"]

    @parameterized.parameters(
        (
            pickle.UnpicklingError(
                f"{_ADVICE}Trying to load unsupported GLOBAL posix.system whose"
            ),
            "holds 'posix.system' and would execute code",
        ),
        (
            pickle.UnpicklingError(
                f"{_ADVICE}Unsupported global: GLOBAL torch.nn.Linear was not"
            ),
            "holds 'torch.nn.Linear' and would execute code",
        ),
        (
            pickle.UnpicklingError(f"{_ADVICE}Unsupported operand 47"),
            "is damaged: its pickle holds more than tensors, or cannot",
        ),
        (
            RuntimeError("PytorchStreamReader failed reading zip archive: no"),
            "is damaged: PytorchStreamReader failed",
        ),
        (EOFError(), "is damaged: EOFError"),
        (AssertionError("storage key '1' not found"), "is damaged: storage"),
        ([1, 2], "cannot be used. It holds no state dict"),
    )
    def test_refuses(self, result, message):
        with self.assertRaisesRegex(ValueError, message) as raised:
            self.read(result)
        self.assertNotIn("\n", str(raised.exception))
        self.assertNotIn("weights_only", str(raised.exception))
        self.assertIn(str(self.path), str(raised.exception))

    def test_refuses_a_bomb_before_it_is_opened(self):
        self.write_zip(zipfile.ZIP_DEFLATED, data=bytes(10_000_000))
        self.assertLess(self.path.stat().st_size, 20_000)
        with self.assertRaisesRegex(ValueError, "would unpack to 10000000"):
            torch_file.read(self.path)
        self.write_zip(zipfile.ZIP_DEFLATED, data=bytes(1000))
        with self.assertRaisesRegex(ValueError, "compressed, .* any size"):
            torch_file.read(self.path)

    def test_a_zip_archive_that_only_pytorch_takes_for_one(self):
        self.write_zip(data=b"pickle")
        self.path.write_bytes(self.path.read_bytes()[:-10])
        with self.assertRaisesRegex(ValueError, "not a whole zip archive"):
            torch_file.read(self.path)

    @parameterized.parameters(b"cbuiltins\n", b"c__builtin__\n")
    def test_refuses_what_asks_for_memory(self, module):
        """A call that PyTorch allows: a kilobyte that takes 10 GB."""
        call = module + b"bytearray\nJ\xff\xff\xff\x7f\x85R."
        self.path.write_bytes(b"\x80\x02" + call)
        with self.assertRaisesRegex(ValueError, "any amount of memory"):
            torch_file.read(self.path)
        self.write_zip(data=b"\x80\x02" + call)
        with self.assertRaisesRegex(ValueError, "any amount of memory"):
            torch_file.read(self.path)

    def test_refuses_programs(self):
        self.write_zip(data=b"", constants=b"")
        with self.assertRaisesRegex(ValueError, "is a TorchScript program"):
            torch_file.read(self.path)

    def test_refuses_an_empty_file(self):
        self.path.write_bytes(b"")
        with self.assertRaisesRegex(ValueError, "is empty"):
            torch_file.read(self.path)

    def test_names_the_extra(self):
        with mock.patch.dict(sys.modules, {"torch": None}):
            message = r"is a pickle, .*pip install keras_regnet\[torch\]"
            with self.assertRaisesRegex(ImportError, message):
                torch_file.read(self.path)
            with self.assertRaisesRegex(ImportError, "PyTorch writes files"):
                torch_file.write({"a": np.ones(1)}, self.path)

    def test_writes_tensors_where_they_were_arrays(self):
        saved = {}
        torch = types.SimpleNamespace(
            from_numpy=_Tensor,
            save=lambda checkpoint, path: saved.update({path: checkpoint}),
        )
        with mock.patch.dict(sys.modules, {"torch": torch}):
            torch_file.write({"model_state": {"a": np.ones(2)}}, self.path)
        tensor = saved[self.path]["model_state"]["a"]
        self.assertIsInstance(tensor, _Tensor)

    def test_other_suffixes(self):
        with self.assertRaisesRegex(ValueError, "Did you mean '.pth'"):
            readers.read("a.pthh")


if __name__ == "__main__":
    absltest.main()
