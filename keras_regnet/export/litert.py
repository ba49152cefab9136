"""LiteRT (TensorFlow Lite) files, in float and in all quantisations.

TensorFlow only. Normalisation is part of the file, and grouped convolutions
are the runtime's own `CONV_2D`: no Flex operations.
"""

import os
import pathlib
import re
import tempfile
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_regnet import errors
from keras_regnet import layers
from keras_regnet.export import labels
from keras_regnet.export import preparation
from keras_regnet.export import quantization
from keras_regnet.export import verification

QUANTISATIONS = ("none", "float16", "dynamic", "int8")
RANDOM = "random"
_RANDOM_IMAGES = 16
# Where the model takes any size.
_RANDOM_SIDE = 224


def convert(
    model: keras.Model,
    quantize: str = "none",
    representative: Any = None,
    input: str = "uint8",  # noqa: A002 (the command line's name)
    batch: int | str = 1,
    image_size: preparation.Size = None,
    keep_float: Iterable[str] | None = None,
    group_width: int | None = None,
) -> bytes:
    """Returns the contents of a LiteRT file that computes what a model does.

    The same model gives the same bytes. Outputs are float32.

    Args:
      model: a functional model from RGB images in 0..255 to probabilities or
        logits.
      quantize: "none" for float32; "float16" for weights in half precision;
        "dynamic" for int8 weights and activations quantised as they come;
        "int8" for int8 weights, per channel, and int8 activations.
      representative: uint8 images (n, height, width, channels), as the model
        will see them, that the activations' ranges are taken from, or
        "random" for noise, which is good for timing alone; for int8.
      input: type of the pixels, see `preparation.prepare`.
      batch: images in a batch, or "dynamic".
      image_size: side of the images, (height, width), "dynamic", or None for
        the model's own.
      keep_float: layers, by name, that int8 leaves in float32; None to
        choose them by their errors, see `quantization`.
      group_width: see `preparation.prepare`; 64 makes int8 faster on x86
        processors with AMX, and slower on others.

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
    if quantize == "int8":
        shapes = (batch, image_size, group_width)
        calibrated = _calibrated(model, representative, input, *shapes)
        if keep_float is None:
            return quantization.quantise(*calibrated)[0]
        # Nothing to choose, and nobody to read a report, which takes long.
        return quantization.quantise_unmeasured(*calibrated, keep_float)
    if quantize not in QUANTISATIONS:
        raise errors.unknown_value("quantize", quantize, QUANTISATIONS)
    for name in ("representative", "keep_float"):
        if locals()[name] is not None:
            raise ValueError(
                f"`{name}` is for quantize='int8' alone. "
                f"Received: quantize={quantize!r}"
            )
    network = preparation.prepare(model, input, batch, image_size, group_width)
    return export(network, **_converter_options(quantize))


def convert_int8(
    model: keras.Model,
    representative: Any,
    input: str = "uint8",  # noqa: A002 (the command line's name)
    batch: int | str = 1,
    image_size: preparation.Size = None,
    keep_float: Iterable[str] | None = None,
    group_width: int | None = None,
) -> tuple[bytes, quantization.LayerReport]:
    """Returns an int8 file, as `convert` does, and what it cost by layer.

    Args:
      model: see `convert`.
      representative: see `convert`.
      input: see `convert`.
      batch: see `convert`.
      image_size: see `convert`.
      keep_float: see `convert`.
      group_width: see `convert`.

    Returns:
      The bytes of the file, and a report with the worst layers.

    Raises:
      ValueError: see `convert`.
    """
    calibrated = _calibrated(
        model, representative, input, batch, image_size, group_width
    )
    return quantization.quantise(*calibrated, keep_float)


def _calibrated(model, representative, input_type, batch, size, group_width):
    """Returns a float file with ranges, and what else `quantise` takes."""
    import tensorflow as tf

    preparation.check_input(input_type)
    network = preparation.prepare(model, "float", batch, size, group_width)
    images = _representative(representative, network.input.shape[1:])

    def samples():
        # The file's batch is fixed: fill it.
        for image in images:
            yield [np.repeat(image[None].astype("float32"), fixed, axis=0)]

    fixed = network.input.shape[0] or 1
    calibrated = export(
        network,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=samples,
        _experimental_calibrate_only=True,
    )
    mean = network.get_layer(preparation.PIXELS).mean
    ranged = quantization.with_pixel_range(calibrated, mean)
    return ranged, images, input_type, network


def _representative(images, shape):
    """Returns representative images as an array, noise only if asked for."""
    if images is None:
        raise ValueError(
            "`representative` must be given for quantize='int8': images as "
            "the model will see them, or 'random' for noise, which is good "
            "for timing alone. Received: representative=None"
        )
    if isinstance(images, str) and images == RANDOM:
        rng = np.random.default_rng(0)
        sides = [side or _RANDOM_SIDE for side in shape]
        images = rng.integers(0, 256, (_RANDOM_IMAGES, *sides), np.uint8)
    return verification.check_images(images, shape, "representative")


def save(
    model: keras.Model,
    path: str | os.PathLike[str],
    class_names: Sequence[str] | None = None,
    **options: Any,
) -> quantization.LayerReport | None:
    """Writes a LiteRT file, and the labels beside it.

    Args:
      model: see `convert`.
      path: the file, such as "model.tflite"; an older one is replaced.
      class_names: name of each output, written to "model.labels.txt".
      **options: see `convert`.

    Returns:
      For int8, what it cost by layer.

    Raises:
      ValueError: see `convert`, or if the class names do not fit the model.
      OSError: if the file cannot be written.
    """
    report = None
    preparation.check_model(model)
    classes = model.outputs[0].shape[-1]
    if class_names is not None:
        # Before what takes long.
        labels.check_labels(class_names, classes)
    if options.get("quantize") == "int8":
        del options["quantize"]
        contents, report = convert_int8(
            model, options.pop("representative", None), **options
        )
    else:
        contents = convert(model, **options)
    with labels.replacing(path, class_names, classes) as partial:
        partial.write_bytes(contents)
    return report


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
    images = tf.TensorSpec(
        network.input.shape, network.input.dtype, preparation.INPUT_NAME
    )
    with tempfile.TemporaryDirectory() as folder, layers.native_ops():
        path = pathlib.Path(folder) / "model.tflite"
        try:
            network.export(
                path,
                format="litert",
                verbose=False,
                # Else Keras leaves the batch open, and delegates take less.
                input_signature=[images],
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
