"""Files that the benchmarks time compute what their network does."""

import json
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from benchmarks.cases import files
from benchmarks.cases import keras_networks
from benchmarks.cases import litert_runtime
from benchmarks.cases import onnx_runtime
from benchmarks.cases import tensorflow_runtime
from tests.support import export_testing

_SIZE = 32
_RUNTIMES = {
    "float32": (litert_runtime, 1e-4),
    "int8-x86": (litert_runtime, 0.5),
    "onnx": (onnx_runtime, 1e-4),
    "saved_model": (tensorflow_runtime, 1e-4),
}


class BenchmarkFilesTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.enterContext(
            mock.patch.object(
                files,
                "model",
                return_value=export_testing.network("x", _SIZE),
            )
        )
        # TensorFlow runs already, and takes no other number.
        self.enterContext(mock.patch.object(keras_networks, "limit_threads"))

    def _made(self, form):
        job = {"network": "N", "size": _SIZE, "batch": 2, "form": form}
        return files.prepare({**job, "folder": self.folder}).facts["path"]

    @parameterized.parameters(*_RUNTIMES)
    def test_computes_what_the_network_does(self, form):
        runtime, max_error = _RUNTIMES[form]
        paths = {
            entry: self._made(made)
            for entry, made in (
                ("path", form),
                ("images", "images"),
                ("costs", "costs"),
                ("expected", "logits"),
            )
        }
        prepared = runtime.prepare(
            {**paths, "batch": 2, "threads": 1, "turn_seconds": 0.0}
        )
        self.assertGreater(prepared.turn()["seconds"], 0)
        facts = prepared.facts
        json.dumps(facts)
        self.assertLess(facts["max_relative_error"], max_error)
        self.assertGreater(facts["bytes"], 10_000)
        self.assertGreater(facts["multiply_adds"], 0)

    def test_files_that_are_there_stay(self):
        path = pathlib.Path(self._made("costs"))
        path.write_text("{}")
        self.assertEqual(self._made("costs"), str(path))
        self.assertEqual(path.read_text(), "{}")


if __name__ == "__main__":
    absltest.main()
