"""ONNX files, by Keras's own export and tf2onnx.

Grouped convolutions are one `Conv` each; normalization is part of the file.
"""

import os
import warnings
from collections.abc import Sequence
from typing import Any

import keras

from keras_regnet import layers
from keras_regnet import model_record
from keras_regnet import record_files
from keras_regnet.export import inference_model
from keras_regnet.export import runners
from keras_regnet.export import spec as spec_lib
from keras_regnet.export import verification
from keras_regnet.export.spec import ExportSpec


def save(
    model: keras.Model,
    path: str | os.PathLike[str],
    class_names: Sequence[str] | None = None,
    spec: ExportSpec | None = None,
    verify: verification.Verify = True,
    **options: Any,
) -> None:
    """Writes an ONNX file; labels and record beside it, see `record_files`.

    The input is called "images": pixels, channels last.

    Args:
      model: a functional model from RGB images in 0..255 to probabilities or
        logits.
      path: the file, such as "model.onnx"; an older one is replaced.
      class_names: name of each output; None for those of the model.
      spec: all options in one; None for the defaults.
      verify: whether to compare the file with the model before it takes its
        place, on the representative images or on noise; or a function of the
        written file's path that does, and raises if it is wrong.
      **options: one by one: `input`, `batch` (by default "dynamic"),
        `image_size` and `opset`: see `ExportSpec`.

    Raises:
      ValueError: if an option is not allowed, or the model has an operation
        that ONNX lacks.
      OSError: if the file cannot be written.
      RuntimeError: if the file does not compute what the model does.

    Example:
    >>> import tempfile, keras_regnet
    >>> network = keras_regnet.RegNetConfig(2, 8, 8, 2.0, 4, stem_width=8)
    >>> model = keras_regnet.build(network, input_shape=(32, 32, 3), classes=2)
    >>> folder = tempfile.mkdtemp()
    >>> save(model, f"{folder}/model.onnx")
    >>> sorted(os.listdir(folder))
    ['model.onnx', 'model.record.json']
    """
    inference_model.check_backend()
    import tensorflow as tf

    # It needs onnx, which is an extra.
    from keras_regnet.export import onnx_names

    spec = spec or ExportSpec(format="onnx", batch=spec_lib.DYNAMIC)
    spec = spec_lib.spec_of("onnx", spec, options)
    inference_model.check_model(model)
    model = inference_model.of_pixels(model)
    record = model_record.of_model(model, class_names)
    network = inference_model.inference_model(model, spec)
    images = tf.TensorSpec(
        network.input.shape, network.input.dtype, inference_model.INPUT_NAME
    )
    classes = model.outputs[0].shape[-1]
    with record_files.replacing(path, record, classes) as partial:
        _convert(network, images, partial, spec.opset)
        contents = onnx_names.canonical(partial.read_bytes())
        _check(model, contents)
        partial.write_bytes(contents)
        # Not with native operations, which may not run here.
        verification.checker(verify, model, spec)(partial)


def _convert(network, images, path, opset):
    with layers.native_ops(), warnings.catch_warnings():
        # Keras mends tf2onnx for NumPy 2 by way of names that NumPy warns of.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        network.export(
            str(path),
            format="onnx",
            verbose=False,
            input_signature=[images],
            opset_version=opset,
        )


def _check(model, contents):
    """Raises a ValueError if onnxruntime refuses what tf2onnx wrote.

    tf2onnx writes an operation that it does not know as it is.
    """
    try:
        runners.OnnxRunner(contents)
    except ValueError as error:
        raise ValueError(
            f"`model` {model.name!r} has what ONNX lacks: {error}"
        ) from error
