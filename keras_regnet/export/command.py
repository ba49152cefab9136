"""Runs `python -m keras_regnet.export`, whose flags `__main__` defines."""

import dataclasses
import pathlib

import numpy as np

from keras_regnet import atomic
from keras_regnet import class_names
from keras_regnet import image_folder
from keras_regnet import image_sizes
from keras_regnet import labels as labels_lib
from keras_regnet import open_model
from keras_regnet import results
from keras_regnet.center_crop import CenterCrop
from keras_regnet.export import images as images_lib
from keras_regnet.export import inference_model
from keras_regnet.export import litert
from keras_regnet.export import onnx
from keras_regnet.export import saved_model
from keras_regnet.export import spec as spec_lib
from keras_regnet.export import verification
from keras_regnet.export.spec import ExportSpec

_SUFFIXES = {"litert": ".tflite", "onnx": ".onnx", "saved_model": ""}
# What only a comparison needs.
_OF_VERIFY = ("results", "report", "existing")
_DEFAULT_SIZE = (224, 224)
# More change the ranges little, and the report by layer takes long.
_MAX_REPRESENTATIVE = 256
_NOISE_IMAGES = 8


@dataclasses.dataclass(frozen=True)
class Request:
    """The model and the flags of the command line, see `__main__`."""

    model: str
    format: str
    quantize: str
    representative: str | None
    data_dir: str | None
    input: str
    batch: str
    image_size: str | None
    group_width: int | None
    target: str | None
    opset: int | None
    labels: str | None
    weights: str
    fold_batch_norm: bool
    bfloat16: bool
    verify: bool
    images: str | None
    num_images: int
    threads: int
    time_limit: float
    tolerance: float | None
    out: str | None
    existing: str | None
    report: str | None
    results: str | None

    def spec(self) -> ExportSpec:
        """Returns the options of the export, checked.

        The representative images have not been read: it has their source.
        """
        representative = None
        if self.quantize == "int8":
            representative = self.representative
            if self.existing is not None:
                # It was quantized before.
                representative = spec_lib.RANDOM
        return ExportSpec(
            format=self.format,
            quantize=self.quantize,
            representative=representative,
            input=self.input,
            batch=int(self.batch) if self.batch.isdecimal() else self.batch,
            image_size=_parsed_size(self.image_size),
            group_width=self.group_width,
            target=self.target,
            opset=self.opset,
            fold_batch_norm=self.fold_batch_norm,
            bfloat16=self.bfloat16,
        )


def _parsed_size(text):
    if text is None or text == spec_lib.DYNAMIC:
        return text
    return image_sizes.parse("image_size", text, "'dynamic'")


def run(request: Request) -> int:
    """Exports a model, compares the file with it, and prints the result.

    Args:
      request: the model and the flags.

    Returns:
      The exit status: 1 if the file is beyond the tolerance.

    Raises:
      ImportError: if what writes or runs the file is not installed.
      ValueError: if a flag is not allowed, or does not fit the model.
      OSError: if a file cannot be read or written.
    """
    _check(request)
    spec = request.spec()
    opened = _open(request)
    model = opened.keras_model
    names = opened.class_names
    if request.labels is not None:
        names = labels_lib.read_labels(request.labels)
    if spec.image_size is None:
        spec = dataclasses.replace(spec, image_size=_own_size(opened))
    size = opened.evaluation_size or _DEFAULT_SIZE
    view = _View(_fixed(spec.image_size, size), _channels(model), opened.crop)
    compared = _compared(request, view)
    if request.existing is not None:
        report = _verify(
            request, spec, model, names, compared, view, request.existing
        )
        return 0 if report.passed else 1

    def verify(written):
        report = _verify(request, spec, model, names, compared, view, written)
        if not report.passed:
            raise _NotEqualError

    try:
        _export(request, spec, model, names, view, request.verify and verify)
    except _NotEqualError:
        print(
            f"did not write {request.out}: it is beyond the tolerance; "
            "--tolerance=VALUE or --noverify writes it nevertheless"
        )
        return 1
    print(f"wrote {request.out}")
    return 0


class _NotEqualError(Exception):
    """A file was written that does not compute what its model does."""


@dataclasses.dataclass(frozen=True)
class _View:
    """How images are prepared for a model: size, channels, scale and crop."""

    size: tuple[int, int]
    channels: int
    crop: CenterCrop


def _check(request):
    """Raises a ValueError if flags of the command do not go together."""
    inference_model.check_backend()
    if (request.out is None) == (request.existing is None):
        raise ValueError("One of --out and --existing must be given")
    suffix = _SUFFIXES[request.format]
    if request.out is not None and not request.out.endswith(suffix):
        raise ValueError(
            f"`out` must end in {suffix!r} for --format={request.format}. "
            f"Received: out={request.out!r}"
        )
    for name in _OF_VERIFY:
        value = getattr(request, name)
        if value is not None and not request.verify:
            raise ValueError(
                f"`{name}` needs --verify. Received: {name}={value!r}"
            )
    if request.results is not None:
        results.check(request.results)


def _open(request):
    weights = None if request.weights == "none" else request.weights
    opened = open_model.open_model(request.model, weights)
    if opened.keras_model is None:
        raise ValueError(
            "`model` must be a variant, a .keras file, a run folder or a file "
            "of weights: an exported file is compared by --existing. "
            f"Received: {opened.name}"
        )
    return opened


def _own_size(opened):
    """Returns (height, width) of the model, or of its evaluation."""
    height, width = opened.image_size
    own = opened.evaluation_size or _DEFAULT_SIZE
    return height or own[0], width or own[1]


def _fixed(size, own):
    return own if size == spec_lib.DYNAMIC else size


def _channels(model):
    return model.inputs[0].shape[-1]


def _representative(request, spec, view):
    """Returns the pixels from which int8's ranges are taken, or "random"."""
    source = spec.representative
    if source in (None, spec_lib.RANDOM):
        return source
    count = min(request.num_images, _MAX_REPRESENTATIVE)
    images = images_lib.load(
        source,
        view.size,
        count,
        request.data_dir,
        training=True,
        channels=view.channels,
        crop=view.crop,
    )
    pixels = images.pixels
    kind = "folder" if pathlib.Path(source).is_dir() else "set"
    print(f"int8 ranges of {len(pixels)} images of the {kind} {source}")
    _say_others(images, source)
    return pixels


def _compared(request, view):
    """Returns the images to compare on; None where there are none."""
    source = _compared_source(request)
    if not request.verify or source in (None, spec_lib.RANDOM):
        return None
    images = images_lib.load(
        source,
        view.size,
        request.num_images,
        request.data_dir,
        channels=view.channels,
        crop=view.crop,
    )
    if source != request.representative:
        _say_others(images, source)
    return images


def _say_others(images, source):
    if images.others:
        others = image_folder.describe(images.others, source)
        print(f"left out, not images: {others}")


def _compared_source(request):
    return request.images or request.representative


def _export(request, spec, model, names, view, verify):
    if spec.format == "saved_model":
        saved_model.save(
            model,
            request.out,
            class_names=names,
            jpeg_size=view.size,
            jpeg_crop=view.crop,
            features=saved_model.FEATURES in [x.name for x in model.layers],
            spec=spec,
            verify=verify,
        )
    elif spec.format == "onnx":
        onnx.save(model, request.out, names, spec, verify)
    else:
        pixels = _representative(request, spec, view)
        spec = dataclasses.replace(spec, representative=pixels)
        time_limit = request.time_limit or None
        if spec.target is not None:
            choice = litert.choose(model, spec, time_limit)
            print(choice.line())
            spec = dataclasses.replace(spec, target=choice)
        report = litert.save(
            model, request.out, names, spec, verify, time_limit
        )
        if report is not None:
            print(report.table())


def _verify(request, spec, model, names, compared, view, file):
    """Prints, stores and returns how far a file is from its model."""
    source = _compared_source(request)
    if compared is None:
        compared = _noise((*view.size, view.channels))
        print("compared on noise: give --images for a figure that counts")
    elif request.representative == source and pathlib.Path(source).is_dir():
        print("compared on --representative: give --images for others")
    labels = _matched(compared, names, model.outputs[0].shape[-1], source)
    tolerance = verification.Tolerance.of(spec.precision, model)
    if request.tolerance is not None:
        tolerance = verification.Tolerance(request.tolerance)
    report = verification.verify(
        model,
        file,
        compared.pixels,
        labels,
        tolerance=tolerance,
        threads=request.threads,
    )
    # Where the file will be.
    report = dataclasses.replace(report, file=request.out or request.existing)
    print(report.table())
    if request.report is not None:
        with atomic.replacing(request.report) as partial:
            partial.write_text(report.to_json(), encoding="utf-8")
    if request.results is not None:
        results.append(request.results, _result(request, source, view, report))
    return report


def _noise(shape):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (_NOISE_IMAGES, *shape), np.uint8)
    return images_lib.Images(pixels)


def _result(request, source, view, report):
    """Returns the file's row of `results.COLUMNS`."""
    if report.file_accuracy is None:
        raise ValueError(
            "`results` needs --images with labels whose names are the model's "
            f"classes. Received: images={source!r}"
        )
    latency = report.latency
    return {
        "source": "export",
        "model": report.file,
        "weights": f"{request.model} {request.weights}".removesuffix(" none"),
        "dataset": source,
        "images": report.images,
        "image_size": image_sizes.short(view.size),
        # Small images of a set are seen whole.
        "crop_share": view.crop.fraction
        if pathlib.Path(source).is_dir()
        else "",
        "interpolation": view.crop.interpolation,
        "antialias": view.crop.antialias,
        "flip_tta": False,
        "top1": 100 * report.file_accuracy,
        "images_per_second": 1e3 * latency.batch / latency.milliseconds,
    }


def _matched(images, names, outputs, source):
    """Returns labels as the model's, None with a word where there are none."""
    if images.labels is None:
        return None
    try:
        found = class_names.match(images.class_names, names, outputs)
    except ValueError as error:
        hint = "" if names else "; --labels gives the model's names"
        print(f"no accuracy on {source}: {error}{hint}")
        return None
    if not found.by_name:
        print(
            f"the classes of {source} go by index: there are no names to "
            "match; --labels gives the model's names"
        )
    return np.array(found.indices)[images.labels]
