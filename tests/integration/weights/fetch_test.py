"""Files are fetched whole by processes of their own.

`HF_*` variables are read when huggingface-hub is imported.
"""

import os
import pathlib
import subprocess
import sys
import time

from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet.weights import fetch
from tests.support import fetch_testing as testing

# A process that prints one line: the path, or the error. Without Keras, which
# fetching does not need; nor does it wait a second between attempts.
_LOAD_FETCH = """
import importlib.util, sys, time, types
time.sleep = lambda _: None
sys.modules["keras_regnet.weights.records"] = types.ModuleType("records")
sys.modules["keras_regnet.weights.records"].WeightRecord = None
spec = importlib.util.spec_from_file_location("fetch", {path!r})
fetch = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fetch)
try:
    print("path", {call})
except (OSError, ValueError) as error:
    print("error", type(error).__name__, error)
"""


class _ProcessTestCase(testing.FetchTestCase):
    def start(self, call, **environment):
        """Starts a process that prints what a call of fetch returned."""
        code = _LOAD_FETCH.format(path=fetch.__file__, call=call)
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def result(self, process):
        """Returns the one line that a process has printed."""
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, err)
        lines = out.splitlines()
        self.assertLen(lines, 1, out)
        return lines[0]


class FromUrlTest(_ProcessTestCase):
    def test_goes_on_after_a_killed_process(self):
        file = self.serve(
            "/w.bin", testing.BIG, pause_after=testing.CHUNK + 9, pause=30
        )
        url, known = self.host.url("/w.bin"), testing.sha256(testing.BIG)
        part = self.home / "models" / "w.bin.part"
        process = self.start(f"fetch.from_url({url!r})")
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        process.kill()
        process.communicate()
        self.assertEqual(self.in_cache(), ["w.bin.part"])
        left = part.stat().st_size
        file.pause = 0.0
        self.assertEqual(fetch.from_url(url, known).read_bytes(), testing.BIG)
        self.assertEqual(file.requests[-1], f"bytes={left}-")
        self.assertEqual(self.in_cache(), ["w.bin"])

    @parameterized.named_parameters(
        ("silent", dict(pause=30)),
        ("always_cut", dict(cut_after=9, cuts=99)),
    )
    def test_gives_up(self, behaviour):
        self.serve("/w.bin", testing.SMALL, **behaviour)
        url = self.host.url("/w.bin")
        result = self.result(
            self.start(f"fetch.from_url({url!r})", HF_HUB_DOWNLOAD_TIMEOUT="1")
        )
        self.assertStartsWith(result, f"error OSError Cannot fetch '{url}'")
        self.assertEmpty(self.in_cache())

    def test_a_server_that_always_begins_anew_and_cuts(self):
        """Every attempt brings something, and none would be the last."""
        file = self.serve(
            "/w.bin",
            testing.BIG,
            ranges=False,
            cut_after=testing.CHUNK + 5,
            cuts=99,
        )
        url = self.host.url("/w.bin")
        result = self.result(self.start(f"fetch.from_url({url!r})"))
        self.assertRegex(result, "error OSError Cannot fetch .*again and again")
        self.assertLess(len(file.requests), 10)

    def test_a_server_that_begins_anew_once(self):
        file = self.serve(
            "/w.bin",
            testing.BIG,
            ranges=False,
            cut_after=testing.CHUNK + 5,
            cuts=1,
        )
        url, known = self.host.url("/w.bin"), testing.sha256(testing.BIG)
        call = f"fetch.from_url({url!r}, {known!r})"
        result = self.result(self.start(call))
        self.assertEqual(result, f"path {self.home / 'models' / 'w.bin'}")
        self.assertLen(file.requests, 2)

    def test_no_server(self):
        result = self.result(
            self.start("fetch.from_url('http://127.0.0.1:9/w.bin')")
        )
        self.assertRegex(result, "error OSError Cannot fetch .*refused")

    def test_offline(self):
        file = self.serve("/w.bin", testing.SMALL)
        call = f"fetch.from_url({self.host.url('/w.bin')!r})"
        result = self.result(self.start(call, HF_HUB_OFFLINE="1"))
        self.assertRegex(result, "error OSError .*HF_HUB_OFFLINE")
        self.assertEmpty(file.requests)

    def test_two_processes_fetch_once(self):
        file = self.serve("/w.bin", testing.SMALL, pause=0.3)
        call = f"fetch.from_url({self.host.url('/w.bin')!r})"
        processes = [self.start(call) for _ in range(2)]
        results = [self.result(process) for process in processes]
        path = self.home / "models" / "w.bin"
        self.assertEqual(results, [f"path {path}"] * 2)
        self.assertEqual(path.read_bytes(), testing.SMALL)
        self.assertLen(file.requests, 1)


class FromHubTest(_ProcessTestCase):
    def serve_repository(self, name, content, etag=None, **behaviour):
        return self.serve(
            f"/owner/net/resolve/main/{name}",
            content,
            etag=testing.sha256(content) if etag is None else etag,
            **behaviour,
        )

    def fetch(self, source="hf:owner/net", **environment):
        environment = {"HF_ENDPOINT": self.host.url(), **environment}
        return self.start(f"fetch.from_hub({source!r})", **environment)

    def test_safetensors_first(self):
        self.serve_repository("model.safetensors", testing.SMALL)
        self.serve_repository("pytorch_model.bin", testing.BIG)
        result = self.result(self.fetch())
        self.assertRegex(result, f"path {self.home}/hf/.*/model.safetensors$")
        path = pathlib.Path(result.removeprefix("path "))
        self.assertEqual(path.read_bytes(), testing.SMALL)

    def test_endpoint_as_argument(self):
        self.serve_repository("model.safetensors", testing.SMALL)
        call = f"fetch.from_hub('hf:owner/net', endpoint={self.host.url()!r})"
        result = self.result(self.start(call))
        self.assertRegex(result, "path .*model.safetensors$")

    def test_revision_of_a_pickled_file(self):
        file = self.serve_repository("pytorch_model.bin", testing.SMALL)
        self.host.files = {"/owner/net/resolve/v1.0/pytorch_model.bin": file}
        result = self.result(self.fetch("hf:owner/net@v1.0"))
        self.assertRegex(result, "path .*pytorch_model.bin$")

    def test_connection_cut_and_resumed(self):
        file = self.serve_repository(
            "model.safetensors",
            testing.BIG,
            cut_after=testing.CHUNK + 5,
            cuts=1,
        )
        result = self.result(self.fetch())
        path = pathlib.Path(result.removeprefix("path "))
        self.assertEqual(path.read_bytes(), testing.BIG)
        self.assertEqual(file.requests, ["", f"bytes={testing.CHUNK}-"])

    def test_wrong_hash(self):
        self.serve_repository(
            "model.safetensors", testing.SMALL, etag=testing.sha256(testing.BIG)
        )
        result = self.result(self.fetch())
        self.assertRegex(
            result,
            f"error ValueError .*{testing.sha256(testing.BIG)}. It was deleted",
        )
        left = [path for path in self.home.rglob("*") if path.is_file()]
        self.assertNotIn(len(testing.SMALL), [p.stat().st_size for p in left])

    def test_offline(self):
        self.serve_repository("model.safetensors", testing.SMALL)
        cold = self.result(self.fetch(HF_HUB_OFFLINE="1"))
        self.assertRegex(
            cold,
            f"error OSError Cannot fetch 'hf:owner/net' .*{self.home}/hf.*"
            "HF_HUB_OFFLINE.* Without a network",
        )
        online = self.result(self.fetch())
        self.host.files = {}
        warm = self.result(self.fetch(HF_HUB_OFFLINE="1"))
        self.assertEqual(warm, online)

    def test_no_server_with_a_warm_and_a_cold_cache(self):
        self.serve_repository("model.safetensors", testing.SMALL)
        online = self.result(self.fetch())
        nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9"}
        self.assertEqual(self.result(self.fetch(**nowhere)), online)
        cold = self.result(self.fetch("hf:owner/other", **nowhere))
        self.assertRegex(
            cold,
            "error OSError Cannot fetch 'hf:owner/other' from "
            "'http://127.0.0.1:9' .*refused",
        )

    def test_no_such_repository(self):
        result = self.result(self.fetch("hf:owner/none"))
        self.assertRegex(result, "error OSError .*'hf:owner/none'.*404")

    def test_two_processes(self):
        file = self.serve_repository(
            "model.safetensors", testing.SMALL, pause=0.3
        )
        processes = [self.fetch() for _ in range(2)]
        first, second = [self.result(process) for process in processes]
        self.assertEqual(first, second)
        self.assertLen(file.requests, 1)


if __name__ == "__main__":
    absltest.main()
