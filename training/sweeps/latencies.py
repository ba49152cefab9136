"""How long networks take on this machine, measured in a process of its own."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Self

from keras_regnet import safe_files
from training.sweeps import files
from training.sweeps.regimes import Regime

_SCRIPT = pathlib.Path(__file__).parent / "latency_main.py"


class Latencies:
    """Milliseconds of networks, by the JSON of their configurations.

    What a sweep's folder has of them is not measured again, so that a sample
    grows by the same networks. To be entered as a context.

    Args:
      folder: of the sweep.
      regime: image size and classes of the networks.

    Attributes:
      measured: what is known so far.
    """

    def __init__(self, folder: str | os.PathLike, regime: Regime):
        self._regime = regime
        self._child: _Child | None = None
        self._stack = contextlib.ExitStack()
        path = pathlib.Path(folder) / files.LATENCIES
        # Without a sweep they are what a crash left, of another one maybe.
        sampled = (path.parent / files.SPEC).exists()
        known = _read(path) if sampled and path.exists() else {}
        self.measured: dict[str, float] = known

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused) -> None:
        self._stack.close()

    def of(self, config: str) -> float:
        """Returns the milliseconds of a network.

        Raises:
          ValueError: if none can be measured: the extra [export] is missing.
        """
        if config not in self.measured:
            self.measured[config] = self._measure(config)
        return self.measured[config]

    def _measure(self, config):
        if self._child is None:
            self._child = self._stack.enter_context(_running())
        return self._child.answer(
            {
                "config": config,
                "image_size": self._regime.image_size,
                "classes": self._regime.classes,
            }
        )


@contextlib.contextmanager
def _running() -> Iterator["_Child"]:
    """Starts the process that measures, and ends it."""
    with tempfile.TemporaryFile() as errors:
        child = _Child(errors)
        try:
            yield child
        finally:
            child.stop()


class _Child:
    """The process that measures, whose last words go to a file."""

    def __init__(self, errors):
        self._errors = errors
        self._process = subprocess.Popen(
            [sys.executable, str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )

    def answer(self, job):
        # If it has died meanwhile, the end of its output tells so.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise ValueError(f"`latency_ms` cannot be measured: {self._why()}")
        return float(line)

    def _why(self):
        self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()
        last = said.rpartition("\n")[2] or "its process was killed"
        return last.removeprefix("error: ")

    def stop(self):
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()


def _read(path):
    stored = safe_files.read_json(path)
    if not isinstance(stored, dict) or not all(
        isinstance(value, int | float) for value in stored.values()
    ):
        raise ValueError(f"{path} is damaged: it must be an object of numbers")
    return stored
