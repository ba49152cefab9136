"""From a network for inference to a float LiteRT file.

By Keras's own export, in this process; or, with a limit of time, by the same
steps in two processes: the SavedModel is written here, and a process of
TensorFlow alone converts it, which needs none of the model's classes.
"""

import contextlib
import functools
import pathlib
import re
import tempfile
from collections.abc import Callable
from collections.abc import Iterator

import keras

from keras_regnet import layers
from keras_regnet.export import child
from keras_regnet.export import child_main
from keras_regnet.export import inference_model

# From (network, quantization) to the bytes of its file.
Write = Callable[[keras.Model, str], bytes]


@contextlib.contextmanager
def writing(time_limit: float | None) -> Iterator[Write]:
    """Gives the function that converts networks.

    Args:
      time_limit: seconds that a conversion may take, in a process of its own
        that ends with the block and gives its memory back; None to convert in
        this process, which starts none.
    """
    if time_limit is None:
        yield _write
        return
    child.check_time_limit(time_limit)
    # Started early: it imports TensorFlow while the network is prepared.
    with child.Child("tensorflow") as process:
        yield functools.partial(_write_elsewhere, process, time_limit)


def _write(network, quantize):
    """Returns a file by Keras's export to LiteRT."""
    with tempfile.TemporaryDirectory() as folder, layers.native_ops():
        path = pathlib.Path(folder) / "model.tflite"
        try:
            network.export(
                path,
                format="litert",
                verbose=False,
                # Else Keras leaves the batch open, and delegates take less.
                input_signature=_signature(network),
                **child_main.settings(quantize),
            )
        except Exception as error:
            # The converter's own class of errors is not public.
            if type(error).__name__ != "ConverterError":
                raise
            raise _lacking(network, str(error)) from error
        return path.read_bytes()


def _write_elsewhere(process, time_limit, network, quantize):
    """Returns a file by the steps of Keras's export, the last one elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        saved_model = f"{folder}/saved_model"
        _save(network, saved_model)
        file = pathlib.Path(folder) / "model.tflite"
        try:
            process.answer(
                "convert",
                time_limit,
                saved_model=saved_model,
                file=str(file),
                quantize=quantize,
            )
        except ValueError as error:
            raise _lacking(network, str(error)) from error
        return file.read_bytes()


def _save(network, folder):
    """Writes the SavedModel that Keras's export to LiteRT begins with."""
    archive = keras.export.ExportArchive()
    archive.track(network)
    with layers.native_ops():
        archive.add_endpoint(
            "serve",
            functools.partial(network.__call__, training=False),
            input_signature=_signature(network),
        )
        archive.write_out(folder, verbose=False)


def _signature(network):
    import tensorflow as tf

    images = network.input
    return [
        tf.TensorSpec(images.shape, images.dtype, inference_model.INPUT_NAME)
    ]


def _lacking(network, message):
    """Returns the error for what TensorFlow's converter said."""
    names = set(re.findall(r"'tf\.(\w+)' op is neither", message))
    names |= set(re.findall(r"(?:Flex|Custom) ops: ([\w, ]+)", message))
    if names:
        why = f"has operations that LiteRT lacks: {', '.join(sorted(names))}"
    else:
        why = f"cannot be converted: {message.strip().splitlines()[0]}"
    return ValueError(f"`model` {network.name!r} {why}")
