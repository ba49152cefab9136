"""A server on 127.0.0.1 that plays the Hugging Face hub, for uploads too."""

import base64
import json
import re

from tests.support import fetch_testing

_OF_MODELS = re.compile(r"/api/models/(?P<repo>[\w.-]+/[\w.-]+)/(?P<what>\w+)")
COMMIT = fetch_testing.COMMIT


class _Handler(fetch_testing.Handler):
    """Takes commits as huggingface-hub sends them, all files as small ones."""

    def do_GET(self):
        path = self.path.partition("?")[0]
        if match := _OF_MODELS.match(path):
            self._json({"id": match["repo"], "sha": COMMIT, "siblings": []})
        else:
            super().do_GET()

    def do_POST(self):
        length = self.headers.get("Content-Length")
        body = (
            self._chunks() if length is None else self.rfile.read(int(length))
        )
        self.server.posts.append(self.path)
        if status := self.server.refusals.get(self.path):
            self._json({"error": "not for you"}, status)
            return
        match = _OF_MODELS.match(self.path)
        if self.path == "/api/repos/create":
            self.server.created.append(json.loads(body))
            values = json.loads(body)
            name = f"{values['organization']}/{values['name']}"
            self._json({"url": self.server.url(f"/{name}")})
        elif match and match["what"] == "preupload":
            names = [file["path"] for file in json.loads(body)["files"]]
            mode = {"uploadMode": "regular", "shouldIgnore": False}
            self._json({"files": [{"path": n, **mode} for n in names]})
        elif match and match["what"] == "commit":
            self._commit(match["repo"], body)
        else:
            self._json({})

    def _chunks(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _commit(self, repo, body):
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] != "file":
                continue
            content = base64.b64decode(entry["value"]["content"])
            for revision in ("main", COMMIT):
                path = f"/{repo}/resolve/{revision}/{entry['value']['path']}"
                self.server.files[path] = fetch_testing.File(
                    content, etag=fetch_testing.sha256(content)
                )
        url = self.server.url(f"/{repo}/commit/{COMMIT}")
        self._json({"commitUrl": url, "commitOid": COMMIT, "success": True})

    def _json(self, values, status=200):
        body = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class HubTestCase(fetch_testing.FetchTestCase):
    """Serves a hub that is empty at first."""

    HANDLER = _Handler

    def setUp(self):
        super().setUp()
        self.host.posts = []
        self.host.created = []
        self.host.refusals = {}
