"""A page in headless Chromium, driven as a person would: mouse and keys.

The browser's own protocol over a pipe, so that nothing needs to be installed
beside it.
"""

import base64
import contextlib
import fcntl
import itertools
import json
import os
import pathlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any

_SECONDS = 60


class Page:
    """A tab; `requests` are the addresses that it asked for.

    Args:
      send: to the browser, a file descriptor.
      receive: from it.
    """

    def __init__(self, send: int, receive: int):
        self._send, self._receive = send, receive
        self._numbers, self._rest, self._session = itertools.count(1), b"", None
        self.requests: list[str] = []
        self.errors: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")
        attached = self.call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters) -> dict[str, Any]:
        """Returns what the browser answers; notes events on the way."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != number:
            self._note(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _read(self):
        while b"\0" not in self._rest:
            piece = os.read(self._receive, 1 << 20)
            if not piece:
                raise RuntimeError("the browser has ended")
            self._rest += piece
        line, self._rest = self._rest.split(b"\0", 1)
        return json.loads(line)

    def _note(self, event):
        values = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"][:200])
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(values["exceptionDetails"])[:800])
        if event.get("method") == "Page.javascriptDialogOpening":
            self.errors.append("a dialog has opened")

    def open(self, path: pathlib.Path, width: int, height: int, **size) -> None:
        """Opens a file, and waits until `body` has data-ready."""
        size = {"deviceScaleFactor": 1, "mobile": False, **size}
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            **size,
        )
        self.call("Page.navigate", url=path.as_uri())
        self.wait("document.body && document.body.dataset.ready === 'yes'")

    def wait(self, condition: str) -> None:
        """Returns when an expression is true."""
        end = time.monotonic() + _SECONDS
        while not self.value(condition):
            if time.monotonic() > end or self.errors:
                raise RuntimeError(f"never true: {condition}; {self.errors}")
            time.sleep(0.02)

    def value(self, expression: str) -> Any:
        """Returns the value of an expression, or of what it promises."""
        result = self.call(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
        )
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def move(self, x: float, y: float) -> None:
        """Moves the mouse."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, x: float, y: float) -> None:
        """Clicks at a place of the window."""
        self.move(x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                button="left",
                clickCount=1,
            )

    def click_on(self, selector: str) -> None:
        """Scrolls to an element and clicks in its middle."""
        x, y = self.value(
            f"(() => {{ const e = document.querySelector({selector!r});"
            "e.scrollIntoView({block: 'center'});"
            "const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        self.click(x, y)

    def press(self, key: str, code: int, text: str = "") -> None:
        """Presses a key on what has the focus."""
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                **({"text": text} if text and kind == "keyDown" else {}),
            )

    def picture(self, path: pathlib.Path, whole: bool = True) -> None:
        """Writes what the page looks like as PNG."""
        result = self.call(
            "Page.captureScreenshot", captureBeyondViewport=whole
        )
        path.write_bytes(base64.b64decode(result["data"]))

    def print(self, path: pathlib.Path) -> None:
        """Writes what is printed of the page as PDF."""
        result = self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.7)
        path.write_bytes(base64.b64decode(result["data"]))


@contextlib.contextmanager
def page(chromium: str) -> Iterator[Page]:
    """Runs a browser with one page."""
    theirs, send = os.pipe()
    receive, answers = os.pipe()
    # It reads from 3 and writes to 4.
    theirs, answers = (_moved(end) for end in (theirs, answers))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                "bash",
                "-c",
                f'exec "$@" 3<&{theirs} 4>&{answers}',
                "bash",
                chromium,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--remote-debugging-pipe",
                f"--user-data-dir={profile}",
            ],
            pass_fds=(theirs, answers),
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(answers)
        try:
            yield Page(send, receive)
        finally:
            process.terminate()
            process.wait()
            os.close(send)
            os.close(receive)


def _moved(descriptor):
    """Returns it under a number that the browser does not use."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10)
    os.close(descriptor)
    return moved
