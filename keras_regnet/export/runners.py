"""Runs exported files of any format on images, one interface for all.

A runner takes pixels in 0..255, a whole batch, and gives float32 outputs; what
type the file wants, and how many images at a time, is its own affair.
"""

import os
import pathlib
import warnings
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import Protocol

import numpy as np

from keras_regnet import errors

# Signatures of a SavedModel that take pixels: uint8, and float32.
SERVING = "serving_default"
FLOAT_IMAGES = "float_images"
# What stands for the operations that XNNPACK computes.
_DELEGATE = "DELEGATE"


class Runner(Protocol):
    """What all runners have in common.

    Attributes:
      format: one of `spec.FORMATS`.
      delegate: name of what computes.
      threads: how many threads it was given.
      batch: images that the file takes at a time; None for any number.
      image_size: [height, width] of the images, None for any.
    """

    format: str
    delegate: str
    threads: int
    batch: int | None
    image_size: list[int | None]

    def run(self, images: np.ndarray) -> np.ndarray:
        """Returns the outputs of a batch of images, pixels in 0..255."""
        ...

    def prepare(self, images: np.ndarray) -> Callable[[], object]:
        """Returns a call that computes a batch again and does no more."""
        ...


def open_file(
    path: str | os.PathLike[str],
    threads: int = 1,
    delegate: bool = True,
    signatures: Sequence[str] = (SERVING,),
) -> Runner:
    """Opens an exported file.

    Args:
      path: a .tflite or .onnx file, or the folder of a SavedModel.
      threads: threads to compute with; TensorFlow has its own setting.
      delegate: whether LiteRT may use its default delegate, XNNPACK.
      signatures: of a SavedModel, the first of these that it has is run.

    Returns:
      A `Runner`.

    Raises:
      ImportError: if what runs the file is not installed.
      ValueError: if the file is none of these, or broken.
      OSError: if there is no such file.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise FileNotFoundError(2, "No such file or folder", str(path))
    if path.is_dir():
        return SavedModelRunner(path, signatures)
    if path.suffix == ".tflite":
        return LiteRTRunner(path, threads, delegate)
    if path.suffix == ".onnx":
        return OnnxRunner(path, threads)
    raise errors.unknown_value("file", path.suffix, (".tflite", ".onnx"))


def _broken(path, kind, error):
    reason = " ".join(str(error).split())
    return ValueError(f"{path} is not {kind} that can be run: {reason}")


def _missing(kind, package):
    return ImportError(
        f"To run {kind}, {package} must be installed: "
        "pip install keras_regnet[export]"
    )


def require_litert() -> Any:
    """Returns the module that runs LiteRT files.

    Raises:
      ImportError: that says what to install.
    """
    try:
        from ai_edge_litert import interpreter
    except ImportError as error:
        raise _missing("a LiteRT file", "ai-edge-litert") from error
    return interpreter


class LiteRTRunner:
    """A LiteRT file, by `ai_edge_litert`.

    Args:
      source: path of the file, or its bytes.
      threads: threads to compute with.
      delegate: whether to use XNNPACK.
      keep_tensors: whether all tensors can be read after a run, for which
        XNNPACK makes no two operations one.
    """

    format = "litert"

    def __init__(
        self,
        source: pathlib.Path | bytes,
        threads: int = 1,
        delegate: bool = True,
        keep_tensors: bool = False,
    ) -> None:
        interpreter = require_litert()
        resolvers = interpreter.OpResolverType
        kind = (
            resolvers.AUTO
            if delegate
            else resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        )
        content = source if isinstance(source, bytes) else source.read_bytes()
        name = "the model" if isinstance(source, bytes) else source
        try:
            with warnings.catch_warnings():
                # Of the memory that keeping tensors takes.
                warnings.simplefilter("ignore", UserWarning)
                self.interpreter = interpreter.Interpreter(
                    model_content=content,
                    num_threads=threads,
                    experimental_op_resolver_type=kind,
                    experimental_preserve_all_tensors=keep_tensors,
                    experimental_disable_delegate_node_fusion=keep_tensors,
                )
            self.interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise _broken(name, "a LiteRT file", error) from error
        self.threads = threads
        self.delegate = self._describe() if delegate else "built-in kernels"
        ends = (
            self.interpreter.get_input_details(),
            self.interpreter.get_output_details(),
        )
        if [len(end) for end in ends] != [1, 1]:
            raise _broken(
                name, "a LiteRT file", "it needs one input and one output"
            )
        ((self._input,), _) = ends
        self._shape = tuple(int(side) for side in self._input["shape"])
        shape = [int(side) for side in self._input["shape_signature"]]
        self.batch, *self.image_size = _fixed_sides(shape)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the batch that it takes now."""
        return self._shape

    def run(self, images: np.ndarray) -> np.ndarray:
        """Returns the outputs of a batch of images."""
        return _in_batches(self._run_batch, images, self.batch)

    def prepare(self, images: np.ndarray) -> Callable[[], object]:
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
        pixels = _quantized(images, self._input)
        self.interpreter.set_tensor(self._input["index"], pixels)
        self.interpreter.invoke()
        (output,) = self.interpreter.get_output_details()
        outputs = self.interpreter.get_tensor(output["index"]).copy()
        return dequantized(outputs, output)

    def _describe(self):
        details = self.interpreter._get_ops_details()
        taken = any(each["op_name"] == _DELEGATE for each in details)
        return "XNNPACK" if taken else "built-in kernels"


def operations(interpreter: Any) -> list[dict[str, Any]]:
    """Returns the operations of a LiteRT file, in order of computation.

    Args:
      interpreter: of the file; what its delegate does stands for nothing.
    """
    # No public function tells them.
    details = interpreter._get_ops_details()
    return [each for each in details if each["op_name"] != _DELEGATE]


class CompiledModelRunner(LiteRTRunner):
    """A LiteRT file, by LiteRT's CompiledModel on the CPU.

    What LiteRT offers in place of its interpreter, for files of one size.

    Args:
      source: path of the file, or its bytes.
      threads: threads to compute with.
    """

    def __init__(self, source: pathlib.Path | bytes, threads: int = 1) -> None:
        # Tells types and shapes.
        super().__init__(source)
        from ai_edge_litert import compiled_model as litert

        content = source if isinstance(source, bytes) else source.read_bytes()
        options = litert.Options(
            hardware_accelerators=litert.HardwareAccelerator.CPU,
            cpu_options=litert.CpuOptions(num_threads=threads),
        )
        self._model = litert.CompiledModel.from_buffer(content, options=options)
        self._inputs = self._model.create_input_buffers(0)
        self._outputs = self._model.create_output_buffers(0)
        self.threads = threads
        self.delegate = "CompiledModel"

    def prepare(self, images: np.ndarray) -> Callable[[], object]:
        """Returns a call that computes the images again."""
        _check_size(images, self._shape)
        self._inputs[0].write(_quantized(images, self._input))
        return lambda: self._model.run_by_index(0, self._inputs, self._outputs)

    def _run_batch(self, images):
        self.prepare(images)()
        (output,) = self.interpreter.get_output_details()
        size = int(np.prod(output["shape"]))
        values = self._outputs[0].read(size, output["dtype"])
        return dequantized(values.reshape(output["shape"]), output)


class SavedModelRunner:
    """A SavedModel, by TensorFlow.

    Args:
      path: the folder.
      signatures: the first of these that it has is run.
    """

    format = "saved_model"
    delegate = "TensorFlow"
    batch: int | None = None

    def __init__(
        self, path: pathlib.Path, signatures: Sequence[str] = (SERVING,)
    ) -> None:
        import tensorflow as tf

        try:
            self._loaded = tf.saved_model.load(str(path))
            stored = self._loaded.signatures
            name = next((x for x in signatures if x in stored), signatures[-1])
            self._serve = stored[name]
        except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
            raise _broken(path, "a SavedModel", error) from error
        self._tensor = tf.convert_to_tensor
        ((self._name, spec),) = self._serve.structured_input_signature[
            1
        ].items()
        self._dtype = spec.dtype.as_numpy_dtype
        is_known = spec.shape.rank is not None
        self._shape = list(spec.shape) if is_known else [None] * 4
        _, *self.image_size = _fixed_sides(self._shape)
        self.threads = tf.config.threading.get_intra_op_parallelism_threads()

    def run(self, images: np.ndarray) -> np.ndarray:
        """Returns the outputs of a batch of images."""
        return np.asarray(self.prepare(images)())

    def prepare(self, images: np.ndarray) -> Callable[[], object]:
        """Returns a call that computes the images again."""
        shape = [-1 if side is None else side for side in self._shape]
        _check_size(images, shape)
        pixels = self._tensor(_as_type(images, self._dtype))

        def call():
            (outputs,) = self._serve(**{self._name: pixels}).values()
            return outputs

        return call


class OnnxRunner:
    """An ONNX file, by onnxruntime on the CPU.

    Args:
      source: path of the file, or its bytes.
      threads: threads to compute with.
    """

    format = "onnx"

    def __init__(self, source: pathlib.Path | bytes, threads: int = 1) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise _missing("an ONNX file", "onnxruntime") from error

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
            raise _broken(name, "an ONNX file", error) from error
        ends = self._session.get_inputs(), self._session.get_outputs()
        if [len(end) for end in ends] != [1, 1]:
            raise _broken(
                name, "an ONNX file", "it needs one input and one output"
            )
        ((self._input,), _) = ends
        self.batch, *self.image_size = _fixed_sides(self._input.shape)
        self.threads = threads
        self.delegate = ", ".join(self._session.get_providers())

    def run(self, images: np.ndarray) -> np.ndarray:
        """Returns the outputs of a batch of images."""
        return _in_batches(
            lambda batch: self.prepare(batch)(), images, self.batch
        )

    def prepare(self, images: np.ndarray) -> Callable[[], object]:
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


def _fixed_sides(shape):
    """Returns (batch, height, width) of an input, None where any will do."""
    return tuple(
        side if isinstance(side, int) and side > 0 else None
        for side in tuple(shape)[:3]
    )


def _check_size(images, shape):
    """Raises if images are not of the size that a file takes.

    -1 stands for any.
    """
    fits = images.ndim == len(shape) and all(
        expected in (-1, side)
        for expected, side in zip(shape[1:], images.shape[1:], strict=True)
    )
    if not fits:
        expected = tuple(int(side) for side in shape[1:])
        raise ValueError(
            f"`images` must be of shape (n, *{expected}), -1 for any. "
            f"Received: images of shape {images.shape}"
        )


def _quantized(images, details):
    """Returns pixels in 0..255 as the input of a LiteRT file wants them."""
    scale, zero_point = details["quantization"]
    if not scale:
        return _as_type(images, details["dtype"])
    limits = np.iinfo(details["dtype"])
    codes = np.rint(images / scale + zero_point)
    return np.clip(codes, limits.min, limits.max).astype(details["dtype"])


def dequantized(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Returns the real values of a tensor of a LiteRT file.

    Args:
      values: what the file holds or has computed.
      details: the interpreter's description of the tensor.
    """
    scale, zero_point = details["quantization"]
    if not np.issubdtype(values.dtype, np.integer) or not scale:
        return values
    return (values.astype(np.float32) - zero_point) * scale


def _as_type(images, dtype):
    """Returns pixels in 0..255 as a file wants them."""
    if np.issubdtype(dtype, np.integer):
        images = np.rint(images)
    if np.dtype(dtype) == np.int8:
        return (np.asarray(images, np.int16) - 128).astype(np.int8)
    return np.ascontiguousarray(images, dtype)
