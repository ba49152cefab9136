"""How long a network takes on this machine, as a LiteRT file."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any
from typing import Self

import keras
import numpy as np

from keras_regnet import config as config_lib
from keras_regnet import errors
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.export import child
from keras_regnet.export import litert
from keras_regnet.export import runners
from keras_regnet.export import spec as spec_lib
from keras_regnet.export import verification

# A process that has had so much memory gives way to a new one. It begins with a
# third of it.
_MAX_BYTES = 2_000_000_000
_RUNNERS = {
    "interpreter": runners.LiteRTRunner,
    "compiled_model": runners.CompiledModelRunner,
}


def latency(
    model: keras.Model,
    quantize: str = "int8",
    threads: int = 1,
    calls: int = 50,
    warm_up: int = 5,
    runtime: str = "interpreter",
    **options: Any,
) -> verification.Latency:
    """Times a model as a LiteRT file on this machine, one image at a time.

    Weights and images do not matter, so the model may be untrained.

    Args:
      model: a functional model from RGB images in 0..255.
      quantize: see `ExportSpec`; int8 takes its ranges from noise.
      threads: threads to compute with.
      calls: how many calls are timed.
      warm_up: calls before these.
      runtime: "interpreter" or "compiled_model", which LiteRT offers in its
        place.
      **options: further ones of `litert.convert`, such as `image_size` and
        `time_limit`.

    Returns:
      The latency of a call. For many networks see `LatencyMeter`.

    Raises:
      ValueError: if an option is not allowed.
      ImportError: if what makes or runs the file is not installed.

    Example:
    >>> import keras_regnet
    >>> network = keras_regnet.RegNetConfig(2, 8, 8, 2.0, 4, stem_width=8)
    >>> model = keras_regnet.build(network, input_shape=(32, 32, 3), classes=2)
    >>> latency(model, quantize="none", calls=3).delegate
    'XNNPACK'
    """
    if runtime not in _RUNNERS:
        raise errors.unknown_value("runtime", runtime, _RUNNERS)
    if quantize == "int8":
        noise = {"representative": spec_lib.RANDOM, "keep_float": ()}
        options = {**noise, **options}
    contents = litert.convert(model, quantize=quantize, **options)
    runner = _RUNNERS[runtime](contents, threads)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, runner.input_shape, np.uint8)
    return verification.time_calls(runner, images, calls, warm_up)


def of_network(
    config: str,
    input_shape: Sequence[int],
    classes: int,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Returns the fields of the latency of a configuration, given as JSON."""
    import keras_regnet

    keras.backend.clear_session(free_memory=False)
    model = keras_regnet.build(
        config_lib.from_json(config),
        input_shape=tuple(input_shape),
        classes=classes,
    )
    return dataclasses.asdict(latency(model, **options))


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
      ImportError: if what runs the files is not installed.
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
            self.process = child.Child(__name__)
        try:
            fields = self.process.answer(
                "of_network", config=config.to_json(), **self._job
            )
        except OSError:
            self._stop()
            raise
        if self.process.peak_bytes > _MAX_BYTES:
            self._stop()
        return verification.Latency(**fields)

    def _stop(self):
        if self.process is not None:
            self.process.stop()
            self.process = None
