"""How long a network takes on this machine, as a LiteRT file."""

import keras
import numpy as np

from keras_regnet.export import litert
from keras_regnet.export import preparation
from keras_regnet.export import runners
from keras_regnet.export import verification


def latency(
    model: keras.Model,
    quantize: str = "int8",
    image_size: preparation.Size = None,
    threads: int = 1,
    calls: int = 50,
    warm_up: int = 5,
    group_width: int | None = None,
) -> verification.Latency:
    """Times a model as a LiteRT file on this machine, one image at a time.

    Weights and images do not matter, so the model may be untrained.

    Args:
      model: a functional model from RGB images in 0..255.
      quantize: see `litert.convert`.
      image_size: side of the images, or (height, width); None for the
        model's own.
      threads: threads to compute with.
      calls: how many calls are timed.
      warm_up: calls before these.
      group_width: see `litert.convert`.

    Returns:
      The latency of a call.

    Raises:
      ValueError: if an argument is none of those allowed.

    Example:
    >>> import keras_regnet
    >>> network = keras_regnet.RegNetConfig(2, 8, 8, 2.0, 4, stem_width=8)
    >>> model = keras_regnet.build(network, input_shape=(32, 32, 3), classes=2)
    >>> latency(model, quantize="none", calls=3).delegate
    'XNNPACK'
    """
    options = {}
    if quantize == "int8":
        options = {"representative": litert.RANDOM, "keep_float": ()}
    contents = litert.convert(
        model,
        quantize,
        image_size=image_size,
        group_width=group_width,
        **options,
    )
    runner = runners.LiteRTRunner(contents, threads)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, runner.input_shape, np.uint8)
    return verification.time_calls(runner, images, calls, warm_up)
