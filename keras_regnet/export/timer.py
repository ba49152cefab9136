"""How long a network takes on this machine, as a LiteRT file."""

from typing import Any

import keras
import numpy as np

from keras_regnet import errors
from keras_regnet.export import litert
from keras_regnet.export import runners
from keras_regnet.export import spec as spec_lib
from keras_regnet.export import verification

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
