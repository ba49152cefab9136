"""What an exported file lost against the model it came from, in numbers."""

import dataclasses
import json
import math
import os
import pathlib
import statistics
import time
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import numpy as np

from keras_regnet.export import inference_model
from keras_regnet.export import runners
from keras_regnet.export.spec import ExportSpec

# The max absolute error that the outputs of a file may have, by quantization:
# rounding of float32 and of half precision. Files in int8 are compared by the
# mean total variation distance, since one image between two classes can jump.
# (Not by the mean difference: of probabilities of 1000 classes it is always
# below 0.002.)
_MAX_ERROR = {"none": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
_MAX_DISTANCE = {"dynamic": 0.1, "int8": 0.25}
_BATCH = 32
# Images that a file is compared on before it takes its place, and their side
# where the model takes any.
_CHECKED = 4
_FREE_SIDE = 64
# How the fields of a report, which are stored by their names, are printed.
_LABELS = {
    "max_absolute_error": "max absolute error",
    "mean_difference": "mean absolute error",
    "total_variation_distance": "total variation distance",
}


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """Bounds within which a file counts as equal; None for no bound.

    Args:
      max_absolute_error: max absolute error of an output.
      mean_difference: mean absolute error of the outputs.
      top1_agreement: min fraction of images with the model's top class.
      total_variation_distance: mean total variation distance, see `Report`.
    """

    max_absolute_error: float | None = None
    mean_difference: float | None = None
    top1_agreement: float | None = None
    total_variation_distance: float | None = None

    @classmethod
    def of(cls, quantize: str, model: keras.Model | None = None) -> "Tolerance":
        """Returns the default bounds for `ExportSpec.precision`.

        Those of float files are wider for a model that computes in half
        precision itself: the file is compared with what the model rounds.
        """
        error = _MAX_ERROR.get(quantize)
        if error is not None and model is not None:
            error = max(error, *map(_rounding, _computed_in(model)))
        return cls(error, total_variation_distance=_MAX_DISTANCE.get(quantize))


def _computed_in(model):
    """Returns the types that the layers of a model compute in."""
    layers = model._flatten_layers()
    return {"float32", *(layer.compute_dtype for layer in layers)}


def _rounding(dtype):
    return _MAX_ERROR.get(dtype, _MAX_ERROR["none"])


@dataclasses.dataclass(frozen=True)
class Latency:
    """How long one call takes, and how that was measured.

    Args:
      milliseconds: median over the calls.
      min: of the shortest call.
      max: of the longest call.
      batch: images in a call.
      calls: how many were timed.
      warm_up: calls before, not timed.
      threads: number of threads; 0 for TensorFlow's own choice.
      delegate: name of what computed.
    """

    milliseconds: float
    min: float
    max: float
    batch: int
    calls: int
    warm_up: int
    threads: int
    delegate: str


@dataclasses.dataclass(frozen=True)
class Report:
    """How far an exported file is from its model.

    Args:
      file: path of the file.
      format: "litert", "saved_model" or "onnx".
      bytes: size of the file, of all files of a folder.
      images: how many were compared.
      max_absolute_error: max absolute error of an output.
      mean_difference: mean absolute error of the outputs.
      total_variation_distance: that between the probabilities of the file and
        those of the model, mean over the images: 0 for equal
        ones, 1 for certainty of different classes. Of logits, after a softmax,
        or what all outputs of an image are off by, relative to the largest
        output, where that is more: a softmax does not see it.
      top1_agreement: fraction of images with the model's top class.
      model_accuracy: top-1 accuracy of the model on the labeled images, None
        without labels.
      file_accuracy: the same of the file.
      latency: of one call.
      tolerance: the bounds.
      failures: one line per bound that is exceeded.
    """

    file: str
    format: str
    bytes: int
    images: int
    max_absolute_error: float
    mean_difference: float
    total_variation_distance: float
    top1_agreement: float
    model_accuracy: float | None
    file_accuracy: float | None
    latency: Latency
    tolerance: Tolerance
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing is beyond the tolerance."""
        return not self.failures

    def to_json(self) -> str:
        """Returns all fields as a JSON object; not a number becomes null."""
        fields = {**dataclasses.asdict(self), "passed": self.passed}
        finite = {
            name: None if isinstance(v, float) and not math.isfinite(v) else v
            for name, v in fields.items()
        }
        return json.dumps(finite, indent=2) + "\n"

    def table(self) -> str:
        """Returns the lines of a table for the terminal."""
        return "\n".join(f"{name:<20} {value}" for name, value in self._rows())

    def _rows(self):
        latency = self.latency
        threads = latency.threads or "TensorFlow's own number of"
        yield "file", f"{self.file} ({self.format})"
        yield "size", f"{self.bytes / 1e6:.2f} MB"
        yield "images compared", str(self.images)
        yield (
            _LABELS["max_absolute_error"],
            f"{self.max_absolute_error:.2e}"
            + _allowed(self.tolerance.max_absolute_error),
        )
        yield (
            _LABELS["mean_difference"],
            f"{self.mean_difference:.2e}"
            + _allowed(self.tolerance.mean_difference),
        )
        yield (
            _LABELS["total_variation_distance"],
            f"{self.total_variation_distance:.2e}"
            + _allowed(self.tolerance.total_variation_distance),
        )
        limit = self.tolerance.top1_agreement
        yield (
            "top-1 agreement",
            f"{self.top1_agreement:.2%}"
            + (f" (at least {limit:.2%})" if limit is not None else ""),
        )
        if self.model_accuracy is not None:
            yield (
                "top-1 accuracy",
                f"{self.file_accuracy:.2%} (model {self.model_accuracy:.2%})",
            )
        yield (
            "latency",
            f"{latency.milliseconds:.2f} ms ({latency.min:.2f} to "
            f"{latency.max:.2f}), batch {latency.batch}, {threads} threads, "
            f"{latency.delegate}; {latency.calls} calls after "
            f"{latency.warm_up} to warm up",
        )
        verdict = "; ".join(self.failures) or "within tolerance"
        yield "verdict", verdict


def _allowed(limit):
    return "" if limit is None else f" (allowed {limit:g})"


def verify(
    model: keras.Model,
    file: str | os.PathLike[str],
    images: np.ndarray,
    labels: Sequence[int] | None = None,
    tolerance: Tolerance | str = "none",
    threads: int = 1,
    calls: int = 50,
    warm_up: int = 5,
) -> Report:
    """Compares an exported file with the model it came from.

    Args:
      model: the model, from images in 0..255.
      file: a .tflite or .onnx file, or the folder of a SavedModel.
      images: pixels in 0..255, (n, height, width, channels).
      labels: class of each image, for the accuracy.
      tolerance: what counts as equal, or a quantization, which has a default
        one: "none", "float16", "dynamic", "int8" or "bfloat16".
      threads: threads of the file's runtime.
      calls: how many calls are timed.
      warm_up: calls before these.

    Returns:
      A `Report`; `passed` says whether the file is within the tolerance.

    Raises:
      ValueError: if the images are not pixels, or the file is broken.
      OSError: if there is no such file.

    Example:
      report = verify(model, "model.tflite", images, tolerance="int8")
      print(report.table())
    """
    images = check_images(images)
    model = inference_model.of_pixels(model)
    if isinstance(tolerance, str):
        tolerance = Tolerance.of(tolerance, model)
    runner = runners.open_file(file, threads)
    expected = _in_batches(_predict(model), images)
    if labels is not None:
        labels = _checked_labels(labels, len(images), expected.shape[-1])
    outputs = _in_batches(runner.run, images)
    if outputs.shape != expected.shape:
        raise ValueError(
            f"`file` {file} gives outputs of shape {outputs.shape}, the model "
            f"of {expected.shape}: they do not belong together"
        )
    differences = _compare(expected, outputs)
    return Report(
        file=str(file),
        format=runner.format,
        bytes=_bytes(pathlib.Path(file)),
        images=len(images),
        **differences._asdict(),
        model_accuracy=_accuracy(expected, labels),
        file_accuracy=_accuracy(outputs, labels),
        latency=time_calls(
            runner,
            images[:1].repeat(runner.batch or 1, axis=0),
            calls,
            warm_up,
        ),
        tolerance=tolerance,
        failures=tuple(_failures(differences, tolerance)),
    )


Verify = bool | Callable[[pathlib.Path], object]


def checker(
    verify: Verify, model: keras.Model, spec: ExportSpec
) -> Callable[[pathlib.Path], object]:
    """Returns what checks a written file before it takes its place.

    Args:
      verify: of a `save`: a function of the file's path, which is returned; or
        whether to compare the file with the model, see `require_equal`.
      model: the model.
      spec: the options that the file is written with.
    """
    if callable(verify):
        return verify
    if not verify:
        return lambda path: None
    return lambda path: require_equal(model, path, spec)


def require_equal(
    model: keras.Model, file: str | os.PathLike[str], spec: ExportSpec
) -> None:
    """Raises a RuntimeError unless a file computes what its model does.

    They are compared on the representative images, or on noise, within
    `Tolerance.of(spec.precision)`; that of logits grows with the largest.
    """
    images = _images_for(model, spec)
    runner = runners.open_file(file)
    expected = _in_batches(_predict(model), images)
    outputs = _in_batches(runner.run, images)
    tolerance = Tolerance.of(spec.precision, model)
    if tolerance.max_absolute_error is not None:
        scale = max(1.0, float(np.abs(expected).max()))
        tolerance = Tolerance(tolerance.max_absolute_error * scale)
    failures = list(_failures(_compare(expected, outputs), tolerance))
    if failures:
        raise RuntimeError(
            f"What was exported does not compute what `model` {model.name!r} "
            f"does: {'; '.join(failures)}. Nothing is written; verify=False "
            "writes it nevertheless"
        )


def _images_for(model, spec):
    """Returns a few representative images, or noise of the file's shape."""
    if isinstance(spec.representative, np.ndarray):
        return spec.representative[:_CHECKED]
    _, *shape = spec.batch_shape(model.inputs[0].shape[1:])
    shape = [side or _FREE_SIDE for side in shape]
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (_CHECKED, *shape), np.uint8)


def _predict(model):
    return lambda batch: model.predict_on_batch(batch.astype("float32"))


def check_images(
    images: Any,
    shape: Sequence[int | None] | None = None,
    argument: str = "images",
) -> np.ndarray:
    """Returns images as an array; raises a ValueError unless it has pixels.

    Args:
      images: (n, height, width, channels), pixels in 0..255.
      shape: of one image, None for any side.
      argument: name of the argument, for errors.
    """
    images = np.asarray(images)
    expected = [None] * 3 if shape is None else list(shape)
    fits = (
        images.ndim == 4
        and len(images) > 0
        and all(
            side in (None, own)
            for side, own in zip(expected, images.shape[1:], strict=True)
        )
    )
    if not fits:
        sides = zip(expected, ("height", "width", "channels"), strict=True)
        named = ", ".join(str(side or name) for side, name in sides)
        raise ValueError(
            f"`{argument}` must be of shape (n, {named}) with n above 0. "
            f"Received: shape {images.shape}"
        )
    low, high = float(images.min()), float(images.max())
    # What was scaled to 0..1 would pass as nearly black images.
    scaled = images.dtype.kind == "f" and 0 < high <= 1
    if not (low >= 0 and high <= 255) or scaled:
        raise ValueError(
            f"`{argument}` must have RGB pixels in 0..255. Received: values "
            f"from {low:g} to {high:g}"
        )
    return images


def _checked_labels(labels, images, classes):
    labels = np.asarray(labels)
    if labels.shape != (images,):
        raise ValueError(
            "`labels` must have one class per image. Received: labels of "
            f"shape {labels.shape} for {images} images"
        )
    if not (np.issubdtype(labels.dtype, np.integer)
            and labels.min() >= 0 and labels.max() < classes):  # fmt: skip
        raise ValueError(
            f"`labels` must be integers from 0 to {classes - 1}, the model's "
            f"classes. Received: {labels.dtype} from {labels.min()} to "
            f"{labels.max()}"
        )
    return labels


def time_calls(
    runner: runners.Runner, images: np.ndarray, calls: int, warm_up: int
) -> Latency:
    """Times the calls of a runner on a batch of images."""
    call = runner.prepare(images)
    for _ in range(warm_up):
        call()
    seconds = [_time(call) for _ in range(calls)]
    return Latency(
        milliseconds=1e3 * statistics.median(seconds),
        min=1e3 * min(seconds),
        max=1e3 * max(seconds),
        batch=len(images),
        calls=calls,
        warm_up=warm_up,
        threads=runner.threads,
        delegate=runner.delegate,
    )


def _time(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _in_batches(run, images):
    batches = range(0, len(images), _BATCH)
    outputs = [np.asarray(run(images[i : i + _BATCH])) for i in batches]
    return np.concatenate(outputs)


class _Differences(NamedTuple):
    """How outputs differ, see `Report`."""

    max_absolute_error: float
    mean_difference: float
    total_variation_distance: float
    top1_agreement: float


def _compare(expected, outputs):
    # nan compares false with everything: make it the worst.
    difference = np.nan_to_num(np.abs(outputs - expected), nan=np.inf)
    agree = np.argmax(outputs, -1) == np.argmax(expected, -1)
    return _Differences(
        max_absolute_error=float(difference.max()),
        mean_difference=float(difference.mean()),
        total_variation_distance=_total_variation(expected, outputs),
        top1_agreement=float(agree.mean()),
    )


def _total_variation(expected, outputs):
    """Returns the mean total variation distance, see `Report`."""
    offset = 0.0
    if expected.min() < 0 or expected.max() > 1:
        common = np.abs((outputs - expected).mean(-1))
        offset = np.minimum(common / np.abs(expected).max(), 1.0)
        expected, outputs = _softmax(expected), _softmax(outputs)
    distance = np.abs(outputs - expected).sum(-1)
    if expected.shape[-1] > 1:
        # What one class gets another one loses; where classes are independent
        # of each other, relative to the labels that there are.
        labels = np.minimum(expected.sum(-1), outputs.sum(-1))
        distance = distance / (2 * np.maximum(labels, 1))
    distance = np.maximum(distance, offset)
    return float(np.nan_to_num(distance, nan=1.0, posinf=1.0).mean())


def _softmax(logits):
    # What is not finite becomes nan.
    with np.errstate(invalid="ignore"):
        powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _accuracy(outputs, labels):
    if labels is None:
        return None
    return float(np.mean(np.argmax(outputs, -1) == np.asarray(labels)))


def _failures(differences, tolerance):
    for name, label in _LABELS.items():
        value, limit = getattr(differences, name), getattr(tolerance, name)
        if limit is not None and value > limit:
            yield f"{label} {value:.2e} is above {limit:g}"
    agreement, limit = differences.top1_agreement, tolerance.top1_agreement
    if limit is not None and agreement < limit:
        yield f"top-1 agreement {agreement:.2%} is below {limit:.2%}"


def _bytes(path):
    if path.is_dir():
        return sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    return path.stat().st_size
