"""The table of runtimes, of a result that is stored."""

import json
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest

from benchmarks import evaluated
from benchmarks import runtimes_table


def _case(*milliseconds, error=0.0):
    rounds = [{"seconds": value / 1e3} for value in milliseconds]
    return {"facts": {"max_relative_error": error}, "rounds": rounds}


def _setting(threads, **cases):
    labels = {"network": "N", "batch": 1, "threads": threads}
    return {"labels": labels, "reference": "a", "cases": cases}


class RuntimesTest(absltest.TestCase):
    def test_the_fastest_of_float32_is_bold(self):
        absent = {"rounds": [], "absent": "no index"}
        result = {
            "suite": "onnx",
            "machine": {"cpu": "C", "instructions_of_machine": "AVX2"},
            "settings": [
                _setting(1, a=_case(9, 5, 7), b=_case(3, error=0.1), c=absent),
                _setting(2, a=_case(4), b=_case(2, error=0.1), c=_case(3)),
            ],
        }
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "onnx_x.json").write_text(json.dumps(result))
        with (
            mock.patch.object(evaluated, "RESULTS", folder),
            mock.patch.object(runtimes_table, "_RESULTS", ("onnx_x",)),
        ):
            header, _, *rows = runtimes_table.runtimes().splitlines()
        self.assertIn("| 1 thread, batch 1 | 2 threads, batch 1 |", header)
        self.assertEqual(
            rows,
            [
                "| C, AVX2 | N | a | **7.0** | 4.0 | 0e+00 |",
                "| C, AVX2 | N | b | 3.0 | 2.0 | 1e-01 |",
                "| C, AVX2 | N | c | - | **3.0** |  |",
            ],
        )


if __name__ == "__main__":
    absltest.main()
