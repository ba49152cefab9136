"""SavedModel: a folder that TensorFlow serves without Keras or this package.

TensorFlow only. The folder holds, beside what TensorFlow writes:
  labels.txt   the class names, one per line, in the order of the outputs;
  check.npz    uint8 images and the probabilities the Keras model gave them,
               for `check_saved_model.py`.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Sequence

import keras
import numpy as np

from keras_regnet import layers

LABELS = "labels.txt"
CHECK = "check.npz"

_CHECKER = pathlib.Path(__file__).with_name("check_saved_model.py")


def save(
    model: keras.Model,
    path: str | os.PathLike[str],
    class_names: Sequence[str] | None = None,
    check_images: Sequence[np.ndarray] = (),
    portable: bool = True,
) -> None:
    """Writes a model as a SavedModel, checks it, and only then shows it.

    Signatures, all from `images` to `probabilities`:
      serving_default: uint8 (batch, height, width, channels), RGB in 0..255;
      float_images: the same in float32.

    With check images the folder is loaded in a new process that has
    TensorFlow alone, as it is and with `TF_ENABLE_ONEDNN_OPTS=0`, and must
    give the probabilities of `model` there.

    Args:
      model: a built model from images to probabilities, taking 0..255.
      path: the folder; an older one is replaced.
      class_names: name of each output.
      check_images: uint8 batches (n, height, width, channels), of any sizes
        that the model takes.
      portable: use only operations that every TensorFlow has. If not, the
        faster grouped convolutions of x86 builds with oneDNN are stored, and
        a server without them fails; the check without oneDNN is left out.

    Raises:
      ValueError: if the class names do not fit the model.
      RuntimeError: if the folder does not give the model's probabilities.
    """
    path = pathlib.Path(path)
    if class_names is not None and len(class_names) != model.output_shape[-1]:
        raise ValueError(
            "`class_names` must have one name per output of the model. "
            f"Received: {len(class_names)} names for "
            f"{model.output_shape[-1]} outputs"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write(model, partial, portable)
        if class_names is not None:
            text = "".join(f"{name}\n" for name in class_names)
            (partial / LABELS).write_text(text, encoding="utf-8")
        if len(check_images):
            _write_check(model, partial, check_images)
            check(partial, without_onednn=portable)
        _replace_folder(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check(path: str | os.PathLike[str], without_onednn: bool = True) -> None:
    """Checks a SavedModel against its check.npz in new processes.

    Args:
      path: the folder.
      without_onednn: whether to check a second time without oneDNN.

    Raises:
      RuntimeError: with what the process said, if it does not match.
    """
    settings = [{}]
    if without_onednn:
        settings.append({"TF_ENABLE_ONEDNN_OPTS": "0"})
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
                f"its model ({extra or 'default settings'}): {said[-1]}"
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


def _write(model, path, portable):
    import tensorflow as tf

    shape = [None, *model.input_shape[1:]]
    form = layers.portable_ops() if portable else contextlib.nullcontext()

    def endpoint(dtype):
        @tf.function(input_signature=[tf.TensorSpec(shape, dtype, "images")])
        def serve(images):
            images = tf.cast(images, tf.float32)
            probabilities = model(images, training=False)
            return {"probabilities": tf.cast(probabilities, tf.float32)}

        return serve

    module = tf.Module()
    # The variables alone: tracking the model would store its Keras objects.
    module.model_variables = [v.value for v in model.variables]
    with form:
        module.serve_uint8 = endpoint(tf.uint8)
        module.serve_float = endpoint(tf.float32)
        signatures = {
            "serving_default": module.serve_uint8.get_concrete_function(),
            "float_images": module.serve_float.get_concrete_function(),
        }
        tf.saved_model.save(module, str(path), signatures=signatures)


def _write_check(model, path, check_images):
    arrays = {}
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
