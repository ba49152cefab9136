"""Files are fetched whole and verified, whatever the network does.

A server on 127.0.0.1 plays the hosts; `HF_*` variables, which huggingface-hub
reads when it is imported, are set for processes of their own.
"""

import dataclasses
import hashlib
import http.server
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet.weights import fetch
from keras_regnet.weights import records

# huggingface-hub writes pieces of 10 MB: what follows the first can be cut.
_CHUNK = 10 * 1024 * 1024
_SMALL = np.random.default_rng(0).bytes(50_000)
_BIG = np.random.default_rng(1).bytes(_CHUNK + 100_000)
_COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclasses.dataclass
class _File:
    content: bytes
    status: int = 200
    # The connection ends after so many bytes of the body, so many times.
    cut_after: int = 0
    cuts: int = 0
    # The server falls silent after so many bytes, for so many seconds.
    pause_after: int = 1000
    pause: float = 0.0
    etag: str = ""
    ranges: bool = True
    requests: list = dataclasses.field(default_factory=list)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        del args

    def do_HEAD(self):
        self._answer(with_body=False)

    def do_GET(self):
        self._answer(with_body=True)

    def _answer(self, with_body):
        file = self.server.files.get(self.path)
        if file is None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.send_header("X-Error-Code", "EntryNotFound")
            self.end_headers()
            return
        if with_body:
            file.requests.append(self.headers.get("Range", ""))
        asked = self.headers.get("Range", "0") if file.ranges else "0"
        start = int(re.findall(r"\d+", asked)[0])
        if start and start >= len(file.content):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = file.content[start:]
        self.send_response(206 if start else file.status)
        self.send_header("Content-Length", str(len(body)))
        if start:
            size = len(file.content)
            self.send_header(
                "Content-Range", f"bytes {start}-{size - 1}/{size}"
            )
        if file.etag:
            self.send_header("ETag", f'"{file.etag}"')
            self.send_header("X-Repo-Commit", _COMMIT)
        self.end_headers()
        if with_body:
            self._send(file, body)

    def _send(self, file, body):
        cut = file.cuts > 0
        if cut:
            file.cuts -= 1
            body = body[: file.cut_after]
        self.wfile.write(body[: file.pause_after])
        self.wfile.flush()
        self.server.hurry.wait(file.pause)
        self.wfile.write(body[file.pause_after :])
        if cut:
            self.close_connection = True


class _Host(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = {}
        self.hurry = threading.Event()

    def handle_error(self, request, client_address):
        # Clients that give up are part of these tests.
        del request, client_address

    def url(self, path=""):
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


def _sha256(content):
    return hashlib.sha256(content).hexdigest()


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


class _FetchTestCase(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.host = _Host()
        thread = threading.Thread(target=self.host.serve_forever, args=(0.02,))
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.host.server_close)
        self.addCleanup(self.host.shutdown)
        self.addCleanup(self.host.hurry.set)
        self.home = pathlib.Path(
            self.enter_context(tempfile.TemporaryDirectory())
        )
        self.enter_context(
            absltest.mock.patch.dict(
                os.environ,
                {
                    "KERAS_HOME": str(self.home),
                    "HF_HOME": str(self.home / "hf"),
                    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                    "HF_HUB_DISABLE_TELEMETRY": "1",
                },
            )
        )

    def serve(self, path, content, **behaviour):
        self.host.files[path] = _File(content, **behaviour)
        return self.host.files[path]

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

    def in_cache(self):
        return sorted(
            path.name
            for path in (self.home / "models").glob("*")
            if not path.name.startswith(".")
        )


class FromUrlTest(_FetchTestCase):
    def test_md5(self):
        self.serve("/w.bin", _SMALL)
        url = self.host.url("/w.bin")
        wrong = "0" * 32
        with self.assertRaisesRegex(
            ValueError, f"its md5 is .{{32}}, that of the published one {wrong}"
        ):
            fetch.from_url(url, f"md5:{wrong}")
        self.assertEmpty(self.in_cache())
        digest = hashlib.md5(_SMALL).hexdigest()
        self.assertEqual(
            fetch.from_url(url, f"md5:{digest}").read_bytes(), _SMALL
        )

    @parameterized.parameters(64, 8, 0)
    def test_good_file(self, digits):
        file = self.serve("/a/w.bin", _SMALL)
        url = self.host.url("/a/w.bin?download=1")
        self.host.files["/a/w.bin?download=1"] = file
        known = _sha256(_SMALL)[:digits].upper()
        path = fetch.from_url(url, known)
        self.assertEqual(path, self.home / "models" / "w.bin")
        self.assertEqual(path.read_bytes(), _SMALL)
        self.assertEqual(self.in_cache(), ["w.bin"])
        # The second time it is there.
        self.assertEqual(fetch.from_url(url, known), path)
        self.assertLen(file.requests, 1)

    def test_name_of_the_copy(self):
        self.serve("/resolve/main", _SMALL)
        path = fetch.from_url(self.host.url("/resolve/main"), name="x.h5")
        self.assertEqual(path.name, "x.h5")

    def test_warm_cache_needs_no_network(self):
        (self.home / "models").mkdir()
        (self.home / "models" / "w.bin").write_bytes(_SMALL)
        path = fetch.from_url("http://127.0.0.1:9/w.bin", _sha256(_SMALL))
        self.assertEqual(path.read_bytes(), _SMALL)

    def test_damaged_copy_is_replaced(self):
        (self.home / "models").mkdir()
        (self.home / "models" / "w.bin").write_bytes(_SMALL[:-1])
        self.serve("/w.bin", _SMALL)
        path = fetch.from_url(self.host.url("/w.bin"), _sha256(_SMALL))
        self.assertEqual(path.read_bytes(), _SMALL)

    @parameterized.named_parameters(
        ("other", _SMALL[::-1]), ("truncated", _SMALL[:-1000])
    )
    def test_wrong_hash(self, content):
        self.serve("/w.bin", content)
        with self.assertRaisesRegex(
            ValueError,
            f"{self.host.url('/w.bin')}.* is not the published file: .*"
            f"{_sha256(content)}.* starts with {_sha256(_SMALL)[:8]}. It was "
            "deleted",
        ):
            fetch.from_url(self.host.url("/w.bin"), _sha256(_SMALL)[:8])
        self.assertEmpty(self.in_cache())

    def test_empty_file(self):
        self.serve("/w.bin", b"")
        with self.assertRaisesRegex(OSError, "w.bin.*: The file is empty"):
            fetch.from_url(self.host.url("/w.bin"))
        self.assertEmpty(self.in_cache())

    def test_slow_file(self):
        self.serve("/w.bin", _SMALL, pause=0.2)
        path = fetch.from_url(self.host.url("/w.bin"), _sha256(_SMALL))
        self.assertEqual(path.read_bytes(), _SMALL)

    def test_connection_cut_and_resumed(self):
        file = self.serve("/w.bin", _BIG, cut_after=_CHUNK + 5, cuts=1)
        path = fetch.from_url(self.host.url("/w.bin"), _sha256(_BIG))
        self.assertEqual(path.read_bytes(), _BIG)
        self.assertEqual(file.requests, ["", f"bytes={_CHUNK}-"])

    def test_goes_on_after_a_killed_process(self):
        file = self.serve("/w.bin", _BIG, pause_after=_CHUNK + 9, pause=30)
        url, known = self.host.url("/w.bin"), _sha256(_BIG)
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
        self.assertEqual(fetch.from_url(url, known).read_bytes(), _BIG)
        self.assertEqual(file.requests[-1], f"bytes={left}-")
        self.assertEqual(self.in_cache(), ["w.bin"])

    @parameterized.named_parameters(
        ("other_file", _SMALL[::-1][:1000]),
        ("longer_than_the_file", _SMALL + b"more"),
    )
    def test_useless_rest_is_dropped(self, left):
        (self.home / "models").mkdir()
        (self.home / "models" / "w.bin.part").write_bytes(left)
        self.serve("/w.bin", _SMALL)
        path = fetch.from_url(self.host.url("/w.bin"), _sha256(_SMALL))
        self.assertEqual(path.read_bytes(), _SMALL)
        self.assertEqual(self.in_cache(), ["w.bin"])

    def test_not_found(self):
        url = self.host.url("/nowhere.bin")
        with self.assertRaisesRegex(
            OSError, f"Cannot fetch '{url}' to '{self.home}/models': .*404"
        ) as raised:
            fetch.from_url(url)
        self.assertNotIn("\n", str(raised.exception))
        self.assertIn("give its path as `weights`", str(raised.exception))
        self.assertEmpty(self.in_cache())

    @parameterized.named_parameters(
        ("silent", dict(pause=30)),
        ("always_cut", dict(cut_after=9, cuts=99)),
    )
    def test_gives_up(self, behaviour):
        self.serve("/w.bin", _SMALL, **behaviour)
        url = self.host.url("/w.bin")
        result = self.result(
            self.start(f"fetch.from_url({url!r})", HF_HUB_DOWNLOAD_TIMEOUT="1")
        )
        self.assertStartsWith(result, f"error OSError Cannot fetch '{url}'")
        self.assertEmpty(self.in_cache())

    def test_a_server_that_always_begins_anew_and_cuts(self):
        """Every attempt brings something, and none would be the last."""
        file = self.serve(
            "/w.bin", _BIG, ranges=False, cut_after=_CHUNK + 5, cuts=99
        )
        url = self.host.url("/w.bin")
        result = self.result(self.start(f"fetch.from_url({url!r})"))
        self.assertRegex(result, "error OSError Cannot fetch .*again and again")
        self.assertLess(len(file.requests), 10)

    def test_a_server_that_begins_anew_once(self):
        file = self.serve(
            "/w.bin", _BIG, ranges=False, cut_after=_CHUNK + 5, cuts=1
        )
        call = f"fetch.from_url({self.host.url('/w.bin')!r}, {_sha256(_BIG)!r})"
        result = self.result(self.start(call))
        self.assertEqual(result, f"path {self.home / 'models' / 'w.bin'}")
        self.assertLen(file.requests, 2)

    def test_no_server(self):
        result = self.result(
            self.start("fetch.from_url('http://127.0.0.1:9/w.bin')")
        )
        self.assertRegex(result, "error OSError Cannot fetch .*refused")

    def test_offline(self):
        file = self.serve("/w.bin", _SMALL)
        call = f"fetch.from_url({self.host.url('/w.bin')!r})"
        result = self.result(self.start(call, HF_HUB_OFFLINE="1"))
        self.assertRegex(result, "error OSError .*HF_HUB_OFFLINE")
        self.assertEmpty(file.requests)

    def test_two_processes_fetch_once(self):
        file = self.serve("/w.bin", _SMALL, pause=0.3)
        call = f"fetch.from_url({self.host.url('/w.bin')!r})"
        processes = [self.start(call) for _ in range(2)]
        results = [self.result(process) for process in processes]
        path = self.home / "models" / "w.bin"
        self.assertEqual(results, [f"path {path}"] * 2)
        self.assertEqual(path.read_bytes(), _SMALL)
        self.assertLen(file.requests, 1)

    def test_folder_that_cannot_be_written(self):
        (self.home / "models").write_text("a file stands where it would be")
        with self.assertRaisesRegex(OSError, "Cannot fetch .*w.bin"):
            fetch.from_url(self.host.url("/w.bin"))


class FetchTest(_FetchTestCase):
    def record(self, **values):
        values = {"hub_id": "", "notop_url": "", "sha256": "", **values}
        return dataclasses.replace(records.all_records()[0], **values)

    def test_file_of_a_record(self):
        self.serve("/w.pth", _SMALL)
        record = self.record(
            url=self.host.url("/w.pth"),
            file="named.pth",
            sha256=_sha256(_SMALL)[:8],
        )
        path = fetch.fetch(record)
        self.assertEqual(path.name, "named.pth")
        self.assertEqual(path.read_bytes(), _SMALL)
        wrong = dataclasses.replace(record, sha256="0" * 64)
        with self.assertRaisesRegex(ValueError, "not the published file"):
            fetch.fetch(wrong)

    def test_file_without_the_top(self):
        top = self.serve("/w.h5", _SMALL)
        self.serve("/w_notop.h5", _SMALL[:999])
        record = self.record(
            url=self.host.url("/w.h5"),
            file="w.h5",
            notop_url=self.host.url("/w_notop.h5"),
            notop_sha256=_sha256(_SMALL[:999]),
        )
        path = fetch.fetch(record, include_top=False)
        self.assertEqual(path.name, "w_notop.h5")
        self.assertEqual(path.read_bytes(), _SMALL[:999])
        self.assertEmpty(top.requests)

    def test_repository_of_a_record(self):
        record = self.record(hub_id="owner/net", file="model.safetensors")
        with absltest.mock.patch.object(fetch, "from_hub") as from_hub:
            fetch.fetch(record)
        from_hub.assert_called_once_with("hf:owner/net", ["model.safetensors"])


class FromHubTest(_FetchTestCase):
    def serve_repository(self, name, content, etag=None, **behaviour):
        return self.serve(
            f"/owner/net/resolve/main/{name}",
            content,
            etag=_sha256(content) if etag is None else etag,
            **behaviour,
        )

    def fetch(self, source="hf:owner/net", **environment):
        environment = {"HF_ENDPOINT": self.host.url(), **environment}
        return self.start(f"fetch.from_hub({source!r})", **environment)

    def test_safetensors_first(self):
        self.serve_repository("model.safetensors", _SMALL)
        self.serve_repository("pytorch_model.bin", _BIG)
        result = self.result(self.fetch())
        self.assertRegex(result, f"path {self.home}/hf/.*/model.safetensors$")
        path = pathlib.Path(result.removeprefix("path "))
        self.assertEqual(path.read_bytes(), _SMALL)

    def test_endpoint_as_argument(self):
        self.serve_repository("model.safetensors", _SMALL)
        call = f"fetch.from_hub('hf:owner/net', endpoint={self.host.url()!r})"
        result = self.result(self.start(call))
        self.assertRegex(result, "path .*model.safetensors$")

    def test_revision_of_a_pickled_file(self):
        file = self.serve_repository("pytorch_model.bin", _SMALL)
        self.host.files = {"/owner/net/resolve/v1.0/pytorch_model.bin": file}
        result = self.result(self.fetch("hf:owner/net@v1.0"))
        self.assertRegex(result, "path .*pytorch_model.bin$")

    def test_connection_cut_and_resumed(self):
        file = self.serve_repository(
            "model.safetensors", _BIG, cut_after=_CHUNK + 5, cuts=1
        )
        result = self.result(self.fetch())
        path = pathlib.Path(result.removeprefix("path "))
        self.assertEqual(path.read_bytes(), _BIG)
        self.assertEqual(file.requests, ["", f"bytes={_CHUNK}-"])

    def test_wrong_hash(self):
        self.serve_repository("model.safetensors", _SMALL, etag=_sha256(_BIG))
        result = self.result(self.fetch())
        self.assertRegex(
            result, f"error ValueError .*{_sha256(_BIG)}. It was deleted"
        )
        left = [path for path in self.home.rglob("*") if path.is_file()]
        self.assertNotIn(len(_SMALL), [p.stat().st_size for p in left])

    def test_offline(self):
        self.serve_repository("model.safetensors", _SMALL)
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
        self.serve_repository("model.safetensors", _SMALL)
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
        file = self.serve_repository("model.safetensors", _SMALL, pause=0.3)
        processes = [self.fetch() for _ in range(2)]
        first, second = [self.result(process) for process in processes]
        self.assertEqual(first, second)
        self.assertLen(file.requests, 1)

    @parameterized.parameters("hf:net", "hf:", "hf:a/b/c", "hf:a/b@", "hf:a/ b")
    def test_spelling(self, source):
        with self.assertRaisesRegex(
            ValueError, f"'hf:owner/name@revision'.*weights='{source}'"
        ):
            fetch.from_hub(source)


if __name__ == "__main__":
    absltest.main()
