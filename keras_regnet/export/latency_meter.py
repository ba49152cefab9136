"""How long many networks take on this machine, as LiteRT files."""

import json
from collections.abc import Sequence
from typing import Any
from typing import Self

from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.export import child
from keras_regnet.export import quantizer
from keras_regnet.export import runners
from keras_regnet.export import verification

# Imports the builders, as this module does not.
_JOBS = "keras_regnet.export.network_latency"
# A process that has had so much memory gives way to a new one. It begins with a
# third of it.
_MAX_BYTES = 2_000_000_000


class LatencyMeter:
    """Milliseconds of a call, a function of configurations. To be entered.

    Networks are built, converted and timed in a process of its own, so that
    what the converter keeps of each adds up to no more than 2 GB, and there:
    this process needs no TensorFlow.

    Args:
      input_shape: (height, width, channels) of the images.
      classes: number of classes.
      time_limit: seconds that a network may take, from its configuration to
        its latency.
      **options: those of `latency`, as JSON can have them.

    Attributes:
      process: where that happens, None while there is none.

    Raises:
      ImportError: if what makes or runs the files is not installed.
      ValueError: if an option is not allowed.

    Example:
    >>> import keras_regnet
    >>> network = keras_regnet.RegNetConfig(2, 8, 8, 2.0, 4, stem_width=8)
    >>> with LatencyMeter((32, 32, 3), classes=2, calls=3) as milliseconds:
    ...     milliseconds(network) > 0
    True
    """

    def __init__(
        self,
        input_shape: Sequence[int] = (224, 224, 3),
        classes: int = 1000,
        time_limit: float = 300.0,
        **options: Any,
    ) -> None:
        runners.require_litert()
        if options.get("quantize", "int8") == "int8":
            quantizer.require()
        child.check_time_limit(time_limit)
        try:
            json.dumps(options)
        except TypeError as error:
            raise ValueError(
                "`options` must be what JSON can have: numbers, text, lists. "
                f"Received: options={options!r}"
            ) from error
        self._job: dict[str, Any] = {
            "time_limit": time_limit,
            "input_shape": tuple(input_shape),
            "classes": classes,
            "options": options,
        }
        self.process: child.Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self._stop()

    def __call__(self, config: RegNetConfig | AnyNetConfig) -> float:
        """Returns the milliseconds of a network, see `latency`."""
        return self.latency(config).milliseconds

    def latency(
        self, config: RegNetConfig | AnyNetConfig
    ) -> verification.Latency:
        """Returns the latency of a network.

        Args:
          config: of the network.

        Raises:
          ValueError: if it cannot be built or converted.
          TimeoutError: if it takes longer than `time_limit`.
          ChildProcessError: if the process ends.
        """
        if self.process is None:
            self.process = child.Child(_JOBS)
        try:
            fields = self.process.answer(
                "of_network", config=config.to_json(), **self._job
            )
        except ValueError:
            raise
        except BaseException:
            # It is dead, or was interrupted with an answer to come.
            self._stop()
            raise
        if self.process.peak_bytes > _MAX_BYTES:
            self._stop()
        return verification.Latency(**fields)

    def _stop(self):
        if self.process is not None:
            self.process.stop()
            self.process = None
