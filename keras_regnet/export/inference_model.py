"""From a trained model to the one that is exported, by one clone of its graph.

The model becomes a flat graph first, see `flattening`. What else a layer needs
before an export is a rewrite, see `rewriting`; which rewrites a format gets is
written here.
"""

import dataclasses

import keras

from keras_regnet import layers
from keras_regnet import model_record
from keras_regnet import preprocessing
from keras_regnet.export import flattening
from keras_regnet.export import rewrites
from keras_regnet.export import rewriting
from keras_regnet.export import spec as spec_lib
from keras_regnet.export.spec import ExportSpec

INPUT_NAME = "images"
PIXELS = "pixels"


def of_pixels(model: keras.Model) -> keras.Model:
    """Returns a model of RGB in 0..255, which is what every file takes.

    Args:
      model: one of ours that leaves normalization to its caller (built with
        `include_preprocessing=False`) is cloned, with the normalization of its
        record before all else; any other is returned as it is.

    Example:
    >>> import keras_regnet
    >>> model = keras_regnet.RegNetX("200MF", include_preprocessing=False)
    >>> of_pixels(model).record.normalizes
    True
    """
    record = model_record.of_model(model)
    if record.normalizes:
        return model
    images = model.inputs[0]
    changes = rewriting.Changes()
    changes.first = preprocessing.normalization_layer(
        images.shape[-1],
        record.mean,
        record.std,
        dtype=keras.backend.result_type(images.dtype, "float32"),
    )
    cloned = rewriting.clone(flattening.flat(model), changes)
    cloned.set_record(dataclasses.replace(record, normalizes=True))
    return cloned


def inference_model(model: keras.Model, spec: ExportSpec) -> keras.Model:
    """Returns the model for inference that a converter reads.

    Everything is computed in float32, and the shapes are those of the spec.
    Batch norm is a part of the convolutions. So is the division of the images
    by their deviation: it leaves one operation before the first convolution,
    which quantization rounds once.

    Args:
      model: a model from images, channels last, to one output.
      spec: type of the pixels, shapes, and groups to merge.

    Returns:
      A functional model that shares no weights with `model`; its last layer
      is the network, a functional model itself.

    Raises:
      ValueError: if the model is of another kind, or does not take images of
        that size.

    Example:
    >>> import keras_regnet
    >>> model = keras_regnet.RegNetX("200MF", input_shape=(None, None, 3))
    >>> inference_model(model, ExportSpec(image_size=64)).input.shape
    (1, 64, 64, 3)
    """
    check_backend()
    check_model(model)
    model = flattening.flat(model)
    shape = spec.batch_shape(model.inputs[0].shape[1:])
    steps: list[rewriting.Rewrite] = [
        rewrites.fold_norms,
        rewrites.in_float32,
    ]
    if spec.group_width is not None:
        steps.append(rewrites.merge_groups(spec.group_width))
    changes = rewriting.plan(model, steps)
    mean = rewrites.join_normalization(model, changes)
    images = keras.Input(
        batch_shape=shape,
        dtype=spec_lib.PIXEL_DTYPES[spec.input],
        name=INPUT_NAME,
    )
    x = layers.Pixels(mean, name=PIXELS)(images)
    network = _for_images(model, changes, x.shape)
    given = keras.tree.map_structure(lambda _: x, network.input)
    return keras.Model(images, network(given), name=model.name)


def _for_images(model, changes, shape):
    """Returns the changed network for float images of a shape."""
    images = keras.Input(batch_shape=shape, name=INPUT_NAME, dtype="float32")
    inputs = keras.tree.map_structure(lambda _: images, model.input)
    try:
        return rewriting.clone(model, changes, inputs)
    except ValueError as error:
        raise ValueError(
            f"`model` {model.name!r} does not take images of shape "
            f"{tuple(shape[1:])}: {' '.join(str(error).split())}"
        ) from error


def serving_model(model: keras.Model, spec: ExportSpec) -> keras.Model:
    """Returns the model that a SavedModel holds; the model itself if it can.

    Args:
      model: a model from images to one output.
      spec: whether to fold batch norm and to compute in bfloat16.
    """
    steps = [rewrites.fold_norms] * spec.fold_batch_norm
    steps += [rewrites.in_bfloat16] * spec.bfloat16
    if not steps:
        return model
    model = flattening.flat(model)
    return rewriting.clone(model, rewriting.plan(model, steps))


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Returns a model for inference, without batch norm behind convolutions.

    A batch norm at inference is a factor and an offset for each channel. Both
    become part of the convolution before it, of its kernel and its bias. Models
    within the model give way to their layers. A batch norm that stands
    elsewhere (behind a sum, say) or shares a convolution stays.

    Args:
      model: a functional model; it stays as it is and shares no weights.

    Returns:
      A functional model with the same names, network and pyramid, and the same
      outputs but for rounding, about 1e-6 of their range in float32. It is
      not for training: there the batch's own statistics would have been used.

    Raises:
      ValueError: if the model is not functional.

    Source:
      arXiv 1712.05877, section 3.2.

    Example:
    >>> import keras_regnet
    >>> model = keras_regnet.RegNetX("200MF", input_shape=(32, 32, 3))
    >>> len(model.layers) - len(fold_batch_norm(model).layers)
    44
    """
    model = flattening.flat(model)
    return rewriting.clone(model, rewriting.plan(model, [rewrites.fold_norms]))


def check_backend() -> None:
    """Raises a ValueError unless Keras's backend is one that exports."""
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ValueError(
            "Exports need Keras's TensorFlow backend: set KERAS_BACKEND="
            f"tensorflow. Received: KERAS_BACKEND={backend}"
        )


def check_model(model: keras.Model) -> None:
    """Raises a ValueError unless a model is one from images to classes."""
    if not hasattr(model, "inputs") or not hasattr(model, "outputs"):
        raise ValueError(
            "`model` must be a functional Keras model. "
            f"Received: model={model!r}"
        )
    shapes = [tuple(tensor.shape) for tensor in model.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or len(model.outputs) != 1:
        raise ValueError(
            "`model` must have one input (batch, height, width, channels) and "
            f"one output. Received: inputs {shapes}, {len(model.outputs)} "
            "outputs"
        )
    if not isinstance(model, keras.Sequential) and isinstance(
        model.output, dict
    ):
        raise ValueError(
            "`model` must give its output as it is, not in a dictionary. "
            f"Received: outputs {sorted(model.output)}"
        )
    for layer in model.layers:
        if getattr(layer, "data_format", None) == "channels_first":
            raise ValueError(
                "`model` must have its channels last. Received a layer with "
                f"data_format='channels_first': {layer.name!r}"
            )
