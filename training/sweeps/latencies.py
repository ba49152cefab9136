"""How long networks take on this machine, measured in a process of its own."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import Self

from keras_regnet import safe_files
from training.sweeps import files
from training.sweeps.regimes import Regime

_SCRIPT = pathlib.Path(__file__).parent / "latency_main.py"


class Latencies:
    """Milliseconds of networks, by the JSON of their configurations.

    What a sweep's folder has of them is not measured again, so that a sample
    grows by the same networks.

    Args:
      folder: of the sweep.
      regime: image size and classes of the networks.
    """

    def __init__(self, folder: str | os.PathLike, regime: Regime):
        self._regime = regime
        self._process: subprocess.Popen | None = None
        self._errors = tempfile.TemporaryFile()
        path = pathlib.Path(folder) / files.LATENCIES
        self.measured: dict[str, float] = {}
        if path.exists():
            self.measured = safe_files.read_json(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._errors.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.stdout.close()

    def of(self, config: str) -> float:
        """Returns the milliseconds of a network.

        Raises:
          ValueError: if none can be measured: the extra [export] is missing.
        """
        if config not in self.measured:
            self.measured[config] = self._measure(config)
        return self.measured[config]

    def _measure(self, config):
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, str(_SCRIPT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
            )
        job = {
            "config": config,
            "image_size": self._regime.image_size,
            "classes": self._regime.classes,
        }
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise ValueError(f"`latency_ms` cannot be measured: {self._why()}")
        return float(answer)

    def _why(self):
        self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()
        last = said.rpartition("\n")[2] or "its process was killed"
        return last.removeprefix("error: ")
