"""LiteRT (TensorFlow Lite) files, in float and in all quantisations.

TensorFlow only. Normalisation is part of the file, and grouped convolutions
are the runtime's own `CONV_2D`: no Flex operations.
"""

import os
import pathlib
import re
import tempfile
from collections.abc import Sequence
from typing import Any

import keras

from keras_regnet import errors
from keras_regnet import layers
from keras_regnet.export import files
from keras_regnet.export import preparation

QUANTISATIONS = ("none", "float16", "dynamic", "int8")


def convert(
    model: keras.Model,
    quantize: str = "none",
    representative: Any = None,
    input: str = "uint8",  # noqa: A002 (the command line's name)
    batch: int | str = 1,
    image_size: preparation.Size = None,
) -> bytes:
    """Returns the contents of a LiteRT file that computes what a model does.

    The same model gives the same bytes. Outputs are float32.

    Args:
      model: a functional model from RGB images in 0..255 to probabilities or
        logits.
      quantize: "none" for float32; "float16" for weights in half precision;
        "dynamic" for int8 weights and activations quantised as they come;
        "int8" for int8 weights, per channel, and int8 activations.
      representative: images that the activations' ranges are taken from, see
        `representative.images`; for int8 alone.
      input: type of the pixels, see `preparation.prepare`.
      batch: images in a batch, or "dynamic".
      image_size: side of the images, (height, width), "dynamic", or None for
        the model's own.

    Returns:
      The bytes of the file.

    Raises:
      ValueError: if an argument is none of those allowed, or the model has
        an operation that LiteRT lacks.

    Example:
    >>> import keras_regnet
    >>> network = keras_regnet.RegNetConfig(2, 8, 8, 2.0, 4, stem_width=8)
    >>> model = keras_regnet.build(network, input_shape=(32, 32, 3), classes=2)
    >>> convert(model)[4:8]
    b'TFL3'
    """
    if quantize not in QUANTISATIONS:
        raise errors.unknown_value("quantize", quantize, QUANTISATIONS)
    if quantize != "int8" and representative is not None:
        raise ValueError(
            "`representative` is for quantize='int8' alone. "
            f"Received: quantize={quantize!r}"
        )
    network = preparation.prepare(model, input, batch, image_size)
    return export(network, **_converter_options(quantize))


def save(
    model: keras.Model,
    path: str | os.PathLike[str],
    class_names: Sequence[str] | None = None,
    **options: Any,
) -> None:
    """Writes a LiteRT file, and the labels beside it.

    Args:
      model: see `convert`.
      path: the file, such as "model.tflite"; an older one is replaced.
      class_names: name of each output, written to "model.labels.txt".
      **options: see `convert`.

    Raises:
      ValueError: see `convert`, or if the class names do not fit the model.
      OSError: if the file cannot be written.
    """
    if class_names is not None:
        files.check_labels(class_names, model.output.shape[-1])
    contents = convert(model, **options)
    with files.replacing(path) as partial:
        partial.write_bytes(contents)
    if class_names is not None:
        files.write_labels(
            files.labels_path(path), class_names, model.output.shape[-1]
        )


def export(network: keras.Model, **converter_options: Any) -> bytes:
    """Returns what Keras's export to LiteRT writes, with built-in ops alone.

    Args:
      network: a model that `preparation.prepare` returned.
      **converter_options: attributes of TensorFlow's converter.

    Returns:
      The bytes of the file.

    Raises:
      ValueError: if the model has an operation that LiteRT lacks.
    """
    import tensorflow as tf

    target_spec = {
        "supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS],
        **converter_options.pop("target_spec", {}),
    }
    with tempfile.TemporaryDirectory() as folder, layers.native_ops():
        path = pathlib.Path(folder) / "model.tflite"
        try:
            network.export(
                path,
                format="litert",
                verbose=False,
                target_spec=target_spec,
                **converter_options,
            )
        except Exception as error:
            # The converter's own class of errors is not public.
            if type(error).__name__ != "ConverterError":
                raise
            raise ValueError(
                f"`model` {network.name!r} has operations that LiteRT lacks: "
                f"{_missing_operations(str(error))}"
            ) from error
        return path.read_bytes()


def _converter_options(quantize):
    import tensorflow as tf

    default = {"optimizations": [tf.lite.Optimize.DEFAULT]}
    return {
        "none": {},
        "float16": {
            **default,
            "target_spec": {"supported_types": [tf.float16]},
        },
        "dynamic": default,
    }[quantize]


def _missing_operations(message):
    """Returns the names in an error of TensorFlow's converter."""
    names = set(re.findall(r"'tf\.(\w+)' op is neither", message))
    names |= set(re.findall(r"(?:Flex|Custom) ops: ([\w, ]+)", message))
    if not names:
        return message.strip().splitlines()[0]
    return ", ".join(sorted(names))
