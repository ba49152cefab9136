"""How long networks take on this machine, measured in a process of its own."""

import contextlib
import os
import pathlib
from typing import Self

from keras_regnet import config as config_lib
from keras_regnet import export
from keras_regnet import safe_files
from training.sweeps import files
from training.sweeps.regimes import Regime


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
        self._meter: export.LatencyMeter | None = None
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
        try:
            if self._meter is None:
                side, classes = self._regime.image_size, self._regime.classes
                self._meter = self._stack.enter_context(
                    export.LatencyMeter((side, side, 3), classes)
                )
            return self._meter(config_lib.from_json(config))
        except (ImportError, OSError) as error:
            raise ValueError(
                f"`latency_ms` cannot be measured: {error}"
            ) from error


def _read(path):
    stored = safe_files.read_json(path)
    if not isinstance(stored, dict) or not all(
        isinstance(value, int | float) for value in stored.values()
    ):
        raise ValueError(f"{path} is damaged: it must be an object of numbers")
    return stored
