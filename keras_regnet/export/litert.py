"""LiteRT (TensorFlow Lite) files, in float and in all quantizations.

TensorFlow only. Normalization is part of the file, and grouped convolutions
are the runtime's own `CONV_2D`: no Flex operations.
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_regnet import model_record
from keras_regnet import record_files
from keras_regnet.export import calibration
from keras_regnet.export import converter
from keras_regnet.export import inference_model
from keras_regnet.export import quantization
from keras_regnet.export import quantizer
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
    model: keras.Model,
    spec: ExportSpec | None = None,
    time_limit: float | None = None,
    **options: Any,
) -> bytes:
    """Returns the contents of a LiteRT file that computes what a model does.

    The same model gives the same bytes. Outputs are float32.

    Args:
      model: a functional model from RGB images in 0..255 to probabilities or
        logits.
      spec: all options in one; None for the defaults.
      time_limit: seconds that TensorFlow's converter may take, in a process of
        its own, which takes some seconds more to start, outlives no crash of
        the converter and gives the memory back that it keeps; None to convert
        in this process.
      **options: one by one: `quantize`, `representative`, `input`, `batch`,
        `image_size`, `keep_float`, `group_width`, `target`: see
        `ExportSpec`.

    Returns:
      The bytes of the file.

    Raises:
      ValueError: if an option is not allowed, or the model has an operation
        that LiteRT lacks.
      ImportError: if what quantizes to int8 is not installed.
      TimeoutError: if the converter takes longer than `time_limit`.
      ChildProcessError: if its process ends.

    Example:
    >>> import keras_regnet
    >>> network = keras_regnet.RegNetConfig(2, 8, 8, 2.0, 4, stem_width=8)
    >>> model = keras_regnet.build(network, input_shape=(32, 32, 3), classes=2)
    >>> convert(model)[4:8]
    b'TFL3'
    """
    spec = spec_of("litert", spec, options)
    with converter.writing(time_limit) as write:
        contents, _ = _convert(model, spec, write, with_report=False)
    return contents


def choose(
    model: keras.Model,
    spec: ExportSpec | None = None,
    time_limit: float | None = None,
    **options: Any,
) -> Choice:
    """Returns what a file needs to be fast on its target.

    `convert` and `save` do so themselves; this is for who wants to see what was
    chosen, or to choose once for many files: give it to them as `target`.

    Args:
      model: see `convert`.
      spec: see `convert`.
      time_limit: see `convert`.
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
    with converter.writing(time_limit) as write:
        return _choose(model, spec, write)


def _choose(model, spec, write):
    # Shapes to time.
    fixed = dataclasses.replace(
        spec,
        batch=1 if spec.batch == spec_lib.DYNAMIC else spec.batch,
        image_size=_fixed_size(model, spec),
    )

    def make(group_width, every):
        return _timed_files(model, fixed, write, group_width, every)

    return targets.choose(model, spec, make)


def _fixed_size(model, spec):
    _, *sides, _ = spec.batch_shape(model.inputs[0].shape[1:])
    return tuple(side or _RANDOM_SIDE for side in sides)


def _timed_files(model, spec, write, group_width, every):
    """Returns files to time, see `targets.Maker`; fast to make."""
    runners.require_litert()
    spec = dataclasses.replace(spec, target=None)
    if spec.quantize != "int8":
        spec = dataclasses.replace(spec, group_width=group_width)
        return [_convert(model, spec, write, with_report=False)[0]]
    noise = dataclasses.replace(spec, representative=spec_lib.RANDOM)
    source = _source(model, noise, write, group_width, 1)
    return quantization.variants(source, every)


def convert_int8(
    model: keras.Model,
    spec: ExportSpec | None = None,
    time_limit: float | None = None,
    **options: Any,
) -> tuple[bytes, quantization.LayerReport]:
    """Returns an int8 file, as `convert` does, and what it cost by layer.

    Args:
      model: see `convert`.
      spec: see `convert`.
      time_limit: see `convert`.
      **options: see `convert`.

    Returns:
      The bytes of the file, and a report with the worst layers.

    Raises:
      ValueError: see `convert`.
    """
    spec = spec_of("litert", spec, {**options, "quantize": "int8"})
    with converter.writing(time_limit) as write:
        return _convert(model, spec, write, with_report=True)


def save(
    model: keras.Model,
    path: str | os.PathLike[str],
    class_names: Sequence[str] | None = None,
    spec: ExportSpec | None = None,
    verify: verification.Verify = True,
    time_limit: float | None = None,
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
      time_limit: see `convert`.
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
    with converter.writing(time_limit) as write:
        if spec.target is not None:
            choice = _choose(model, spec, write)
            spec = dataclasses.replace(spec, target=choice)
            made = choice.record()
        contents, report = _convert(model, spec, write, with_report=True)
    classes = model.outputs[0].shape[-1]
    with record_files.replacing(path, record, classes, made) as partial:
        partial.write_bytes(contents)
        verification.checker(verify, model, spec)(partial)
    return report


def _convert(model, spec, write, with_report):
    """Returns the bytes of a file, and for int8 a report on request."""
    inference_model.check_backend()
    inference_model.check_model(model)
    model = inference_model.of_pixels(model)
    float_stages = 0
    if spec.target is not None:
        choice = _choose(model, spec, write)
        float_stages = choice.float_stages
        # The target is dealt with.
        spec = dataclasses.replace(
            spec, group_width=choice.group_width, target=None
        )
    if spec.quantize != "int8":
        network = inference_model.inference_model(model, spec)
        return write(network, spec.quantize), None
    source = _source(model, spec, write, spec.group_width)
    return quantization.quantize(
        source, spec.keep_float, with_report, float_stages
    )


def _source(model, spec, write, group_width, count=None):
    """Returns what int8 files are made from; `count`: of images."""
    quantizer.require()
    float_spec = dataclasses.replace(
        spec, input="float", group_width=group_width
    )
    network = inference_model.inference_model(model, float_spec)
    images = _representative(spec.representative, network.input.shape[1:])
    images = images[:count]
    contents = write(network, "none")
    mean = network.get_layer(inference_model.PIXELS).mean
    ranges = calibration.ranges(contents, images, mean)
    return quantization.Source(contents, ranges, images, spec.input, network)


def _representative(images, shape):
    """Returns representative images as an array, noise only if asked for."""
    if isinstance(images, str) and images == spec_lib.RANDOM:
        rng = np.random.default_rng(0)
        sides = [side or _RANDOM_SIDE for side in shape]
        images = rng.integers(0, 256, (_RANDOM_IMAGES, *sides), np.uint8)
    return verification.check_images(images, shape, "representative")
