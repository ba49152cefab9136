"""LiteRT (TensorFlow Lite) files, in float and in all quantizations.

TensorFlow only. Normalization is part of the file, and grouped convolutions
are the runtime's own `CONV_2D`: no Flex operations.
"""

import dataclasses
import os
import pathlib
import re
import tempfile
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_regnet import layers
from keras_regnet import model_record
from keras_regnet import record_files
from keras_regnet.export import inference_model
from keras_regnet.export import quantization
from keras_regnet.export import runners
from keras_regnet.export import spec as spec_lib
from keras_regnet.export import targets
from keras_regnet.export import verification
from keras_regnet.export.spec import Choice
from keras_regnet.export.spec import ExportSpec
from keras_regnet.export.spec import spec_of

_RANDOM_IMAGES = 16
# Where the model takes any size.
_RANDOM_SIDE = 224


def convert(
    model: keras.Model, spec: ExportSpec | None = None, **options: Any
) -> bytes:
    """Returns the contents of a LiteRT file that computes what a model does.

    The same model gives the same bytes. Outputs are float32.

    Args:
      model: a functional model from RGB images in 0..255 to probabilities or
        logits.
      spec: all options in one; None for the defaults.
      **options: one by one: `quantize`, `representative`, `input`, `batch`,
        `image_size`, `keep_float`, `group_width`, `target`: see
        `ExportSpec`.

    Returns:
      The bytes of the file.

    Raises:
      ValueError: if an option is not allowed, or the model has an operation
        that LiteRT lacks.

    Example:
    >>> import keras_regnet
    >>> network = keras_regnet.RegNetConfig(2, 8, 8, 2.0, 4, stem_width=8)
    >>> model = keras_regnet.build(network, input_shape=(32, 32, 3), classes=2)
    >>> convert(model)[4:8]
    b'TFL3'
    """
    spec = spec_of("litert", spec, options)
    contents, _ = _convert(model, spec, with_report=False)
    return contents


def choose(
    model: keras.Model, spec: ExportSpec | None = None, **options: Any
) -> Choice:
    """Returns what a file needs to be fast on its target.

    `convert` and `save` do so themselves; this is for who wants to see what was
    chosen, or to choose once for many files: give it to them as `target`.

    Args:
      model: see `convert`.
      spec: see `convert`.
      **options: see `convert`.

    Returns:
      The choice; for "auto" with the times of what was measured, a file of
      each form on one thread.

    Raises:
      ValueError: see `convert`, or if there is no `target`.

    Example:
    >>> import keras_regnet
    >>> network = keras_regnet.RegNetConfig(2, 8, 8, 2.0, 4, stem_width=8)
    >>> model = keras_regnet.build(network, input_shape=(32, 32, 3), classes=2)
    >>> choose(model, target="arm").line()
    'target arm: groups as they are (by rule)'
    """
    inference_model.check_backend()
    spec = spec_of("litert", spec, options)
    inference_model.check_model(model)
    model = inference_model.of_pixels(model)
    # Shapes to time.
    fixed = dataclasses.replace(
        spec,
        batch=1 if spec.batch == spec_lib.DYNAMIC else spec.batch,
        image_size=_fixed_size(model, spec),
    )

    def make(group_width, every):
        return _timed_files(model, fixed, group_width, every)

    return targets.choose(model, spec, make)


def _fixed_size(model, spec):
    _, *sides, _ = spec.batch_shape(model.inputs[0].shape[1:])
    return tuple(side or _RANDOM_SIDE for side in sides)


def _timed_files(model, spec, group_width, every):
    """Returns files to time, see `targets.Maker`; fast to make."""
    runners.require_litert()
    spec = dataclasses.replace(spec, target=None)
    if spec.quantize != "int8":
        spec = dataclasses.replace(spec, group_width=group_width)
        return [_convert(model, spec, with_report=False)[0]]
    network, calibrated, images = _float_file(
        model, dataclasses.replace(spec, representative=spec_lib.RANDOM),
        group_width, 1,
    )  # fmt: skip
    return quantization.variants(network, calibrated, images, spec, every)


def convert_int8(
    model: keras.Model, spec: ExportSpec | None = None, **options: Any
) -> tuple[bytes, quantization.LayerReport]:
    """Returns an int8 file, as `convert` does, and what it cost by layer.

    Args:
      model: see `convert`.
      spec: see `convert`.
      **options: see `convert`.

    Returns:
      The bytes of the file, and a report with the worst layers.

    Raises:
      ValueError: see `convert`.
    """
    spec = spec_of("litert", spec, {**options, "quantize": "int8"})
    return _convert(model, spec, with_report=True)


def save(
    model: keras.Model,
    path: str | os.PathLike[str],
    class_names: Sequence[str] | None = None,
    spec: ExportSpec | None = None,
    verify: verification.Verify = True,
    **options: Any,
) -> quantization.LayerReport | None:
    """Writes a LiteRT file; labels and record beside it, see `record_files`.

    Args:
      model: see `convert`.
      path: the file, such as "model.tflite"; an older one is replaced.
      class_names: name of each output; None for those of the model.
      spec: see `convert`.
      verify: whether to compare the file with the model before it takes its
        place, on the representative images or on noise; or a function of the
        written file's path that does, and raises if it is wrong.
      **options: see `convert`.

    Returns:
      For int8, what it cost by layer.

    Raises:
      ValueError: see `convert`, or if the class names do not fit the model.
      ImportError: if what runs the file is not installed, which `verify`
        needs.
      OSError: if the file cannot be written.
      RuntimeError: if the file does not compute what the model does.
    """
    inference_model.check_backend()
    spec = spec_of("litert", spec, options)
    if verify:
        runners.require_litert()
    inference_model.check_model(model)
    model = inference_model.of_pixels(model)
    # Before what takes long.
    record = model_record.of_model(model, class_names)
    made = None
    if spec.target is not None:
        choice = choose(model, spec)
        spec = dataclasses.replace(spec, target=choice)
        made = choice.record()
    contents, report = _convert(model, spec, with_report=True)
    classes = model.outputs[0].shape[-1]
    with record_files.replacing(path, record, classes, made) as partial:
        partial.write_bytes(contents)
        verification.checker(verify, model, spec)(partial)
    return report


def _convert(model, spec, with_report):
    """Returns the bytes of a file, and for int8 a report on request."""
    inference_model.check_model(model)
    model = inference_model.of_pixels(model)
    float_stages = 0
    if spec.target is not None:
        choice = choose(model, spec)
        float_stages = choice.float_stages
        # The target is dealt with.
        spec = dataclasses.replace(
            spec, group_width=choice.group_width, target=None
        )
    if spec.quantize != "int8":
        network = inference_model.inference_model(model, spec)
        return _written(network, _converter_options(spec.quantize)), None
    network, calibrated, images = _float_file(model, spec, spec.group_width)
    return quantization.quantize(
        network, calibrated, images, spec, with_report, float_stages
    )


def _float_file(model, spec, group_width, count=None):
    """Returns what int8 begins with: network, file with ranges, images."""
    float_spec = dataclasses.replace(
        spec, input="float", group_width=group_width
    )
    network = inference_model.inference_model(model, float_spec)
    images = _representative(spec.representative, network.input.shape[1:])
    images = images[:count]
    return network, _calibrated(network, images), images


def _calibrated(network, images):
    """Returns a float file with the ranges of all activations."""
    import tensorflow as tf

    # The file's batch is fixed: fill it.
    batch = network.input.shape[0] or 1

    def samples():
        for image in images:
            yield [np.repeat(image[None].astype("float32"), batch, axis=0)]

    return _written(
        network,
        {
            "optimizations": [tf.lite.Optimize.DEFAULT],
            "representative_dataset": samples,
            "_experimental_calibrate_only": True,
        },
    )


def _representative(images, shape):
    """Returns representative images as an array, noise only if asked for."""
    if isinstance(images, str) and images == spec_lib.RANDOM:
        rng = np.random.default_rng(0)
        sides = [side or _RANDOM_SIDE for side in shape]
        images = rng.integers(0, 256, (_RANDOM_IMAGES, *sides), np.uint8)
    return verification.check_images(images, shape, "representative")


def _written(network, converter_options):
    """Returns what Keras's export to LiteRT writes, with built-in ops alone."""
    import tensorflow as tf

    target_spec = {
        "supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS],
        **converter_options.pop("target_spec", {}),
    }
    images = tf.TensorSpec(
        network.input.shape, network.input.dtype, inference_model.INPUT_NAME
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
    """Returns the attributes of TensorFlow's converter for a quantization."""
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
