"""Runs exported files of any format on images, one interface for all.

A runner takes pixels in 0..255, a whole batch, and gives float32 outputs; what
type the file wants, and how many images at a time, is its own affair.
"""

import os
import pathlib
from collections.abc import Callable
from typing import Protocol

import numpy as np

from keras_regnet import errors

FORMATS = ("litert", "saved_model", "onnx")


class Runner(Protocol):
    """What all runners have in common.

    Attributes:
      format: one of `FORMATS`.
      delegate: what computes, in words.
      threads: how many threads it was given.
      batch: images that the file takes at a time; None for any number.
    """

    format: str
    delegate: str
    threads: int
    batch: int | None

    def run(self, images: np.ndarray) -> np.ndarray:
        """Returns the outputs of a batch of images, pixels in 0..255."""
        ...

    def prepare(self, images: np.ndarray) -> Callable[[], object]:
        """Returns a call that computes a batch again and does no more."""
        ...


def open_file(
    path: str | os.PathLike[str], threads: int = 1, delegate: bool = True
) -> Runner:
    """Opens an exported file.

    Args:
      path: a .tflite or .onnx file, or the folder of a SavedModel.
      threads: threads to compute with; TensorFlow has its own setting.
      delegate: whether LiteRT may use its default delegate, XNNPACK.

    Returns:
      A `Runner`.

    Raises:
      ValueError: if the file is none of these, or broken.
      OSError: if there is no such file.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise FileNotFoundError(2, "No such file or folder", str(path))
    if path.is_dir():
        return SavedModelRunner(path)
    if path.suffix == ".tflite":
        return LiteRTRunner(path, threads, delegate)
    if path.suffix == ".onnx":
        return OnnxRunner(path, threads)
    raise errors.unknown_value("file", path.suffix, (".tflite", ".onnx"))


def _broken(path, kind, error):
    reason = " ".join(str(error).split())
    return ValueError(f"{path} is no {kind} that can be run: {reason}")


class LiteRTRunner:
    """A LiteRT file, by `ai_edge_litert`.

    Args:
      source: path of the file, or its bytes.
      threads: threads to compute with.
      delegate: whether to use XNNPACK.
      keep_tensors: whether all tensors can be read after a run; without the
        delegate.

    Raises:
      ValueError: if the file is broken.
    """

    format = "litert"

    def __init__(
        self,
        source: pathlib.Path | bytes,
        threads: int = 1,
        delegate: bool = True,
        keep_tensors: bool = False,
    ) -> None:
        from ai_edge_litert import interpreter

        resolvers = interpreter.OpResolverType
        kind = (
            resolvers.AUTO
            if delegate
            else resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        )
        content = source if isinstance(source, bytes) else source.read_bytes()
        name = "the model" if isinstance(source, bytes) else source
        try:
            self.interpreter = interpreter.Interpreter(
                model_content=content,
                num_threads=threads,
                experimental_op_resolver_type=kind,
                experimental_preserve_all_tensors=keep_tensors,
            )
            self.interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise _broken(name, "LiteRT file", error) from error
        self.threads = threads
        self.delegate = self._describe() if delegate else "built-in kernels"
        ends = (
            self.interpreter.get_input_details(),
            self.interpreter.get_output_details(),
        )
        if [len(end) for end in ends] != [1, 1]:
            raise _broken(
                name, "LiteRT file", "it needs one input and one output"
            )
        ((self._input,), _) = ends
        self._shape = tuple(int(side) for side in self._input["shape"])
        is_fixed = self._input["shape_signature"][0] != -1
        self.batch = self._shape[0] if is_fixed else None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the batch that it takes now."""
        return self._shape

    def run(self, images):
        """Returns the outputs of a batch of images."""
        return _in_batches(self._run_batch, images, self.batch)

    def prepare(self, images):
        """Returns a call that computes the images again."""
        self._run_batch(images)
        return self.interpreter.invoke

    def _run_batch(self, images):
        _check_size(images, self._input["shape_signature"])
        if images.shape != self._shape:
            self.interpreter.resize_tensor_input(
                self._input["index"], images.shape
            )
            self.interpreter.allocate_tensors()
            self._shape = images.shape
        pixels = _as_type(images, self._input["dtype"])
        self.interpreter.set_tensor(self._input["index"], pixels)
        self.interpreter.invoke()
        (output,) = self.interpreter.get_output_details()
        return self.interpreter.get_tensor(output["index"]).copy()

    def _describe(self):
        operations = self.interpreter._get_ops_details()
        taken = any(op["op_name"] == "DELEGATE" for op in operations)
        return "XNNPACK" if taken else "built-in kernels"


class SavedModelRunner:
    """A SavedModel, by TensorFlow.

    Args:
      path: the folder.

    Raises:
      ValueError: if it is none, or has no signature for images.
    """

    format = "saved_model"
    delegate = "TensorFlow"
    batch = None

    def __init__(self, path: pathlib.Path) -> None:
        import tensorflow as tf

        try:
            self._loaded = tf.saved_model.load(str(path))
            self._serve = self._loaded.signatures["serving_default"]
        except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
            raise _broken(path, "SavedModel", error) from error
        self._tensor = tf.convert_to_tensor
        (self._spec,) = self._serve.structured_input_signature[1].values()
        self.threads = tf.config.threading.get_intra_op_parallelism_threads()

    def run(self, images):
        """Returns the outputs of a batch of images."""
        return self.prepare(images)().numpy()

    def prepare(self, images):
        """Returns a call that computes the images again."""
        shape = [-1 if side is None else side for side in self._spec.shape]
        _check_size(images, shape)
        dtype = self._spec.dtype.as_numpy_dtype
        pixels = self._tensor(_as_type(images, dtype))

        def call():
            (outputs,) = self._serve(pixels).values()
            return outputs

        return call


class OnnxRunner:
    """An ONNX file, by onnxruntime on the CPU.

    Args:
      source: path of the file, or its bytes.
      threads: threads to compute with.

    Raises:
      ValueError: if the file is broken.
    """

    format = "onnx"

    def __init__(self, source: pathlib.Path | bytes, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        content = source if isinstance(source, bytes) else source.read_bytes()
        name = "the model" if isinstance(source, bytes) else source
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, ["CPUExecutionProvider"]
            )
        except Exception as error:
            # onnxruntime's errors have no public base class.
            if not type(error).__module__.startswith("onnxruntime"):
                raise
            raise _broken(name, "ONNX file", error) from error
        ends = self._session.get_inputs(), self._session.get_outputs()
        if [len(end) for end in ends] != [1, 1]:
            raise _broken(
                name, "ONNX file", "it needs one input and one output"
            )
        ((self._input,), _) = ends
        batch = self._input.shape[0]
        self.batch = batch if isinstance(batch, int) else None
        self.threads = threads
        self.delegate = ", ".join(self._session.get_providers())

    def run(self, images):
        """Returns the outputs of a batch of images."""
        return _in_batches(
            lambda batch: self.prepare(batch)(), images, self.batch
        )

    def prepare(self, images):
        """Returns a call that computes the images again."""
        shape = [
            side if isinstance(side, int) else -1 for side in self._input.shape
        ]
        _check_size(images, shape)
        types = {"tensor(uint8)": np.uint8, "tensor(int8)": np.int8}
        pixels = _as_type(images, types.get(self._input.type, np.float32))
        feed = {self._input.name: pixels}
        return lambda: self._session.run(None, feed)[0]


def _in_batches(run, images, batch):
    """Runs images in batches of one size, the last one filled up."""
    if batch is None:
        return run(images)
    filled = np.concatenate(
        [images, images[:1].repeat(-len(images) % batch, 0)]
    )
    parts = [
        run(filled[start : start + batch])
        for start in range(0, len(filled), batch)
    ]
    return np.concatenate(parts)[: len(images)]


def _check_size(images, shape):
    """Raises if images are not of the size that a file takes.

    -1 stands for any.
    """
    fits = images.ndim == len(shape) and all(
        wanted in (-1, side)
        for wanted, side in zip(shape[1:], images.shape[1:], strict=True)
    )
    if not fits:
        wanted = tuple(int(side) for side in shape[1:])
        raise ValueError(
            f"`images` must be of shape (n, *{wanted}), -1 for any. "
            f"Received: images of shape {images.shape}"
        )


def _as_type(images, dtype):
    """Returns pixels in 0..255 as a file wants them."""
    if np.issubdtype(dtype, np.integer):
        images = np.rint(images)
    if np.dtype(dtype) == np.int8:
        return (np.asarray(images, np.int16) - 128).astype(np.int8)
    return np.ascontiguousarray(images, dtype)
