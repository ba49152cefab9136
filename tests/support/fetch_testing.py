"""A server on 127.0.0.1 that plays the hosts of files, and cuts and waits."""

import dataclasses
import hashlib
import http.server
import os
import pathlib
import re
import tempfile
import threading

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized

# huggingface-hub writes pieces of 10 MB: what follows the first can be cut.
CHUNK = 10 * 1024 * 1024
SMALL = np.random.default_rng(0).bytes(50_000)
BIG = np.random.default_rng(1).bytes(CHUNK + 100_000)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclasses.dataclass
class File:
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


class Handler(http.server.BaseHTTPRequestHandler):
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
            self.send_header("X-Repo-Commit", COMMIT)
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

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.files = {}
        self.hurry = threading.Event()

    def handle_error(self, request, client_address):
        # Clients that give up are part of these tests.
        del request, client_address

    def url(self, path=""):
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


def sha256(content: bytes) -> str:
    """Returns the hash of a file as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


class FetchTestCase(parameterized.TestCase):
    """Serves files, and keeps the copies in a folder of its own."""

    HANDLER = Handler

    def setUp(self):
        super().setUp()
        self.host = _Host(self.HANDLER)
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

    def serve(self, path, content, **behavior):
        self.host.files[path] = File(content, **behavior)
        return self.host.files[path]

    def in_cache(self):
        return sorted(
            path.name
            for path in (self.home / "models").glob("*")
            if not path.name.startswith(".")
        )
