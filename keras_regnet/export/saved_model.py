"""SavedModel: a folder that TensorFlow serves without Keras or this package.

TensorFlow only. The folder holds, beside what TensorFlow writes:

- `labels.txt`: the class names, one per line, in the order of the outputs;
- `record.json`: how images are prepared, and where the weights come from;
- `check.npz`: uint8 images and the probabilities the Keras model gave them, for
  `check_saved_model.py`.
"""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_regnet import images as images_lib
from keras_regnet import layers
from keras_regnet import model_record
from keras_regnet import onednn
from keras_regnet import record_files
from keras_regnet.center_crop import CenterCrop
from keras_regnet.export import inference_model
from keras_regnet.export import verification
from keras_regnet.export.spec import ExportSpec
from keras_regnet.export.spec import spec_of

# The layer of a network whose outputs are its features.
FEATURES = "head_pool"
CHECK = "check.npz"

_CHECKER = pathlib.Path(__file__).with_name("check_saved_model.py")


def save(
    model: keras.Model,
    path: str | os.PathLike[str],
    class_names: Sequence[str] | None = None,
    check_images: Sequence[np.ndarray] = (),
    portable: bool = True,
    jpeg_size: int | tuple[int, int] | None = None,
    features: bool = False,
    jpeg_crop: CenterCrop | None = None,
    spec: ExportSpec | None = None,
    verify: verification.Verify = True,
    **options: Any,
) -> None:
    """Writes a model as a SavedModel, checks it, and only then shows it.

    Signatures, all from `images` to `probabilities`:

    - serving_default: uint8 (batch, height, width, channels), RGB in 0..255;
    - float_images: the same in float32.

    On request:

    - jpeg: from `jpeg`, the bytes of image files (batch,), which are decoded
      and prepared as for evaluation, to `probabilities`;
    - features: from uint8 `images` to the pooled `features`.

    With check images the folder is loaded in a new process that has
    TensorFlow alone, once with oneDNN and once without, and must give the
    probabilities of `model` there.

    Args:
      model: a built model from images to probabilities, taking 0..255.
      path: the folder; an older SavedModel is replaced, no other folder.
      class_names: name of each output; None for those of the model.
      check_images: uint8 batches (n, height, width, channels), of any sizes
        that the model takes.
      portable: store what every TensorFlow runs, and takes gradients of,
        with oneDNN and without: see `layers.portable_ops`. If not, what this
        process runs is stored: with oneDNN convolutions in groups that are
        one operation with what stands behind them, which a server without
        oneDNN refuses; the check without oneDNN is left out.
      jpeg_size: side, or (height, width), that the signature `jpeg` makes of
        an image; None for no such signature.
      features: whether to have the signature `features`.
      jpeg_crop: how the signature `jpeg` scales and crops; None for the way
        of the model's record.
      spec: all further options in one; None for the defaults.
      verify: whether to compare the folder with the model, in this process
        and on noise, before it takes its place; or a function of the written
        folder's path that does, and raises if it is wrong.
      **options: one by one: `fold_batch_norm` and `bfloat16`: see
        `ExportSpec`. Check images are compared with what the model gives in
        bfloat16.

    Raises:
      ValueError: if an option is not allowed, the class names do not fit the
        model, it is not one from images to classes, it has no features, or
        the path is that of something else.
      OSError: if the folder cannot be written.
      RuntimeError: if the folder does not give the model's probabilities.
    """
    inference_model.check_backend()
    spec = spec_of("saved_model", spec, options)
    # "." has no name, and a link to a folder is not to be replaced by one.
    path = pathlib.Path(path).resolve()
    check_path(path)
    _check_replaceable(path)
    inference_model.check_model(model)
    model = inference_model.of_pixels(model)
    record = model_record.of_model(model, class_names)
    if jpeg_crop is not None:
        record = dataclasses.replace(record, crop=jpeg_crop)
    if features and FEATURES not in [layer.name for layer in model.layers]:
        raise ValueError(
            f"`model` has no layer {FEATURES!r}, so no signature of features. "
            f"Received: model={model.name!r}, features=True"
        )
    served = inference_model.serving_model(model, spec)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write(served, partial, portable, jpeg_size, features, record.crop)
        record_files.write_in_folder(
            partial, record, model.outputs[0].shape[-1]
        )
        if len(check_images):
            _write_check(served, partial, check_images)
            check(partial, without_onednn=portable)
        verification.checker(verify, model, spec)(partial)
        _replace_folder(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_path(path: str | os.PathLike[str], argument: str = "path") -> None:
    """Raises a ValueError if TensorFlow could not load a model from a path.

    It takes it for a pattern.
    """
    found = sorted(set("[]*?") & set(str(pathlib.Path(path).resolve())))
    if found:
        raise ValueError(
            f"`{argument}` must have none of the characters [ ] * ?, with "
            "which TensorFlow loads no SavedModel. "
            f"Received: {argument}={str(path)!r}"
        )


def _check_replaceable(path):
    """Raises a ValueError if something else than a SavedModel is there."""
    if not path.exists():
        return
    is_ours = path.is_dir() and (path / "saved_model.pb").is_file()
    if not is_ours and not (path.is_dir() and not any(path.iterdir())):
        raise ValueError(
            "`path` must be a new or empty folder, or an older SavedModel, "
            f"which is replaced. Received: path={str(path)!r}"
        )


def check(path: str | os.PathLike[str], without_onednn: bool = True) -> None:
    """Checks a SavedModel against its check.npz in new processes.

    Args:
      path: the folder.
      without_onednn: whether to check a second time without oneDNN.

    Raises:
      RuntimeError: with what the process said, if it does not match.
    """
    values = ("1", "0") if without_onednn else ("1",)
    settings = [{onednn.VARIABLE: value} for value in values]
    # Both at once: most of the time is TensorFlow's start.
    processes = [_start_checker(path, extra) for extra in settings]
    results = [process.communicate() for process in processes]
    for process, (output, errors), extra in zip(
        processes, results, settings, strict=True
    ):
        if process.returncode:
            # Its verdict is on stdout; stderr has it only if it crashed.
            said = (output or errors).strip().splitlines() or ["nothing"]
            raise RuntimeError(
                f"The SavedModel {path} does not give the probabilities of "
                f"its model ({extra}): {said[-1]}"
            )


def _start_checker(path, extra):
    # The new process finds TensorFlow where this one does, but not us: our
    # folder is left out of its path.
    ours = pathlib.Path(__file__).resolve().parents[2]
    paths = [
        entry
        for entry in sys.path
        if entry and pathlib.Path(entry).resolve() != ours
    ]
    return subprocess.Popen(
        [sys.executable, str(_CHECKER), str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **extra},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _write(model, path, portable, jpeg_size, features, crop):
    import tensorflow as tf

    form = layers.portable_ops() if portable else contextlib.nullcontext()
    module = tf.Module()
    # The variables alone: tracking the model would store its Keras objects.
    module.model_variables = [v.value for v in model.variables]
    with form:
        endpoints = _endpoints(model, jpeg_size, features, crop)
        module.endpoints = endpoints
        signatures = {
            name: endpoint.get_concrete_function()
            for name, endpoint in endpoints.items()
        }
        try:
            tf.saved_model.save(module, str(path), signatures=signatures)
        except tf.errors.OpError as error:
            # A full disk, or a folder that may not be written to.
            raise OSError(
                f"{path} cannot be written: {error.message}"
            ) from error


def _endpoints(model, jpeg_size, features, crop):
    """Returns the functions that become signatures, by name."""
    import tensorflow as tf

    shape = [None, *model.inputs[0].shape[1:]]

    def endpoint(network, dtype, output):
        @tf.function(input_signature=[tf.TensorSpec(shape, dtype, "images")])
        def serve(images):
            images = tf.cast(images, tf.float32)
            with layers.folded_norms():
                outputs = network(images, training=False)
            return {output: tf.cast(outputs, tf.float32)}

        return serve

    endpoints = {
        "serving_default": endpoint(model, tf.uint8, "probabilities"),
        "float_images": endpoint(model, tf.float32, "probabilities"),
    }
    if jpeg_size is not None:
        size = jpeg_size if isinstance(jpeg_size, tuple) else (jpeg_size,) * 2
        endpoints["jpeg"] = _jpeg_endpoint(model, size, crop)
    if features:
        pooled = keras.Model(model.inputs, model.get_layer(FEATURES).output)
        endpoints["features"] = endpoint(pooled, tf.uint8, "features")
    return endpoints


def _jpeg_endpoint(model, size, crop):
    import tensorflow as tf

    from keras_regnet import image_files

    channels = model.inputs[0].shape[-1]

    def decode(contents):
        pixels = image_files.decode(contents, channels)
        return images_lib.center_crop(pixels, size, crop)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "jpeg")])
    def serve(jpeg):
        images = tf.map_fn(decode, jpeg, fn_output_signature=tf.float32)
        images = tf.ensure_shape(images, [None, *size, channels])
        with layers.folded_norms():
            outputs = model(images, training=False)
        return {"probabilities": tf.cast(outputs, tf.float32)}

    return serve


def _write_check(model, path, check_images):
    arrays: dict[str, Any] = {}
    for index, images in enumerate(check_images):
        images = np.asarray(images)
        if images.dtype != np.uint8:
            raise ValueError(
                f"`check_images` must be uint8. Received: dtype={images.dtype}"
            )
        arrays[f"images_{index}"] = images
        arrays[f"probabilities_{index}"] = np.asarray(
            model.predict_on_batch(images.astype(np.float32))
        )
    np.savez(path / CHECK, **arrays)


def _replace_folder(partial, path):
    """Renames a folder over another, which a rename alone cannot."""
    old = path.with_name(f"{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.replace(path, old)
    os.replace(partial, path)
    shutil.rmtree(old, ignore_errors=True)
