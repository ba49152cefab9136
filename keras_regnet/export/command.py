"""What `python -m keras_regnet.export` does."""

import dataclasses
import json
import pathlib

import keras
import numpy as np

import keras_regnet
from keras_regnet import atomic
from keras_regnet import results
from keras_regnet import variants
from keras_regnet import weights as weights_lib
from keras_regnet.export import images as images_lib
from keras_regnet.export import litert
from keras_regnet.export import onnx
from keras_regnet.export import preparation
from keras_regnet.export import saved_model
from keras_regnet.export import verification
from keras_regnet.weights import fetch
from keras_regnet.weights import readers
from keras_regnet.weights import resolving

_SUFFIXES = {"litert": ".tflite", "onnx": ".onnx", "saved_model": ""}
# What other formats would ignore. (All but SavedModel fold batch norm anyway.)
_FORMATS_OF = {
    "quantize": ("litert",),
    "group_width": ("litert",),
    "input": ("litert", "onnx"),
    "batch": ("litert", "onnx"),
    "bfloat16": ("saved_model",),
}
# What only a comparison needs.
_OF_VERIFY = ("results", "report", "existing")
_DEFAULT_SIZE = 224
# More change the ranges little, and the report by layer takes long.
_MOST_REPRESENTATIVE = 256
_NOISE_IMAGES = 8


@dataclasses.dataclass(frozen=True)
class Request:
    """The command line's flags, by name; see `__main__`."""

    model: str
    format: str = "litert"
    quantize: str = "none"
    representative: str | None = None
    data_dir: str | None = None
    input: str = "uint8"
    batch: str = "1"
    image_size: str | None = None
    group_width: int | None = None
    labels: str | None = None
    weights: str = "none"
    fold_batch_norm: bool = False
    bfloat16: bool = False
    verify: bool = True
    images: str | None = None
    num_images: int = 256
    threads: int = 1
    tolerance: float | None = None
    out: str | None = None
    existing: str | None = None
    report: str | None = None
    results: str | None = None


def run(request: Request) -> int:
    """Exports a model, compares what was written, and prints what it found.

    Args:
      request: what is asked for.

    Returns:
      The exit status: 1 if the file is beyond the tolerance.

    Raises:
      ValueError: if something asked for cannot be had.
      OSError: if a file cannot be read or written.
    """
    _check(request)
    model, own_size, own_names = _load(request.model, request.weights)
    preparation.check_model(model)
    size = _image_size(request.image_size, model, own_size)
    names = own_names
    if request.labels is not None:
        names = _class_names(request.labels)
    compared = _compared(request, size, _channels(model))
    if request.existing is None:
        _export(request, model, size, names)
        print(f"wrote {request.out}")
    if not request.verify:
        return 0
    return _verify(request, model, size, names, compared)


def _check(request):
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ValueError(
            "Exports need Keras's TensorFlow backend: set KERAS_BACKEND="
            f"tensorflow. Received: KERAS_BACKEND={backend}"
        )
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
    for name, formats in _FORMATS_OF.items():
        value = getattr(request, name)
        default = Request.__dataclass_fields__[name].default
        if request.format not in formats and value != default:
            raise ValueError(
                f"`{name}` is for --format={' or '.join(formats)}. Received: "
                f"{name}={value!r}, format={request.format!r}"
            )
    if request.quantize == "int8" and not (
        request.representative or request.existing
    ):
        raise ValueError(
            "`representative` must be given for --quantize=int8: a folder of "
            "images, a set, or 'random' for noise, which is good for timing "
            "alone"
        )


def _load(name, weights):
    """Returns the model, and its run's image size and class names."""
    path = pathlib.Path(name)
    if weights != "none" and (path.is_dir() or resolving.names_a_file(name)):
        raise ValueError(
            "`weights` is for a variant; a file or a run has its own. "
            f"Received: weights={weights!r} for {name!r}"
        )
    if path.is_dir():
        file = path / "model.keras"
        if not file.is_file():
            raise ValueError(f"{path} is no finished run: no model.keras in it")
        config = path / "config.json"
        size = None
        if config.is_file():
            size = json.loads(config.read_text())["config"]["image_size"]
        labels = path / "saved_model" / saved_model.LABELS
        names = _class_names(labels) if labels.is_file() else None
        return _load_keras(file), size, names
    is_file = resolving.names_a_file(name)
    on_hub = fetch.is_hub_source(name)
    if is_file and not on_hub and not path.is_file():
        raise FileNotFoundError(2, "No such file", name)
    if path.suffix == ".keras" and readers.is_ours(path):
        return _load_keras(path), None, None
    return _of_weights(name, weights, is_file), None, None


def _of_weights(name, weights, is_file):
    """Returns a variant with weights, or the network of a weights' file."""
    config = None if is_file else keras_regnet.get_config(name)
    if weights == "none" and not is_file:
        return keras_regnet.build(name, input_shape=(None, None, 3))
    resolved = weights_lib.resolve(name if is_file else weights, config)
    return keras_regnet.build(
        resolved.config,
        resolved,
        input_shape=(None, None, 3),
        classes=resolved.classes,
        name=variants.find_name(resolved.config),
    )


def _load_keras(path):
    try:
        model = keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"{path} is no Keras model that can be read: {reason}"
        ) from error
    if isinstance(model, keras.Sequential) and model.built:
        return keras.Model(model.inputs, model.outputs, name=model.name)
    return model


def _image_size(text, model, own):
    if text == preparation.DYNAMIC:
        return text
    if text is not None:
        sides = text.split("x")
        if len(sides) > 2 or not all(side.isdecimal() for side in sides):
            raise ValueError(
                "`image_size` must be a number of pixels, HEIGHTxWIDTH or "
                f"'dynamic'. Received: image_size={text!r}"
            )
        return int(sides[0]), int(sides[-1])
    height, width = model.inputs[0].shape[1:3]
    side = own or _DEFAULT_SIZE
    return height or side, width or side


def _class_names(path):
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8: {error}") from error
    return text.splitlines()


def _fixed(size):
    return (_DEFAULT_SIZE,) * 2 if size == preparation.DYNAMIC else size


def _channels(model):
    return model.inputs[0].shape[-1]


def _representative(request, size, channels):
    """Returns the pixels that int8's ranges are taken from, or "random"."""
    source = request.representative
    if source == litert.RANDOM:
        return source
    count = min(request.num_images, _MOST_REPRESENTATIVE)
    pixels = images_lib.load(
        source,
        _fixed(size),
        count,
        request.data_dir,
        training=True,
        channels=channels,
    ).pixels
    kind = "folder" if pathlib.Path(source).is_dir() else "set"
    print(f"int8 ranges of {len(pixels)} images of the {kind} {source}")
    return pixels


def _compared(request, size, channels):
    """Returns the images to compare on; None where there are none."""
    source = _compared_source(request)
    if not request.verify or source in (None, litert.RANDOM):
        return None
    return images_lib.load(
        source,
        _fixed(size),
        request.num_images,
        request.data_dir,
        channels=channels,
    )


def _compared_source(request):
    return request.images or request.representative


def _export(request, model, size, names):
    batch = request.batch
    shapes = {
        "input": request.input,
        "batch": int(batch) if batch.isdecimal() else batch,
        "image_size": size,
    }
    if request.format == "saved_model":
        saved_model.save(
            model,
            request.out,
            class_names=names,
            jpeg_size=_fixed(size),
            features=saved_model.FEATURES in [x.name for x in model.layers],
            fold_batch_norm=request.fold_batch_norm,
            bfloat16=request.bfloat16,
        )
    elif request.format == "onnx":
        onnx.save(model, request.out, names, **shapes)
    else:
        options = {
            "quantize": request.quantize,
            "group_width": request.group_width,
            **shapes,
        }
        if request.quantize == "int8":
            options["representative"] = _representative(
                request, size, _channels(model)
            )
        report = litert.save(model, request.out, names, **options)
        if report is not None:
            print(report.table())


def _verify(request, model, size, names, compared):
    source = _compared_source(request)
    labels = None
    if compared is not None:
        pixels = compared.pixels
        labels = _matched(compared, names)
        if labels is None and compared.labels is not None:
            print(
                f"no accuracy: the classes of {source} are not the model's"
                + ("" if names else ", which has no names: give --labels")
            )
        if request.representative == source and pathlib.Path(source).is_dir():
            print("compared on --representative: give --images for others")
    else:
        rng = np.random.default_rng(0)
        shape = (_NOISE_IMAGES, *_fixed(size), _channels(model))
        pixels = rng.integers(0, 256, shape, np.uint8)
        print("compared on noise: give --images for a figure that counts")
    report = verification.verify(
        model,
        request.existing or request.out,
        pixels,
        labels,
        tolerance=_tolerance(request),
        threads=request.threads,
    )
    print(report.table())
    if request.report is not None:
        with atomic.replacing(request.report) as partial:
            partial.write_text(report.to_json(), encoding="utf-8")
    if request.results is not None:
        results.append(
            request.results, _result(request, source, pixels, report)
        )
    return 0 if report.passed else 1


def _result(request, source, pixels, report):
    """Returns the file's row of `results.COLUMNS`."""
    if report.file_accuracy is None:
        raise ValueError(
            "`results` needs --images with labels whose names are the model's "
            f"classes. Received: images={source!r}"
        )
    height, width = pixels.shape[1:3]
    latency = report.latency
    return {
        "source": "export",
        "model": report.file,
        "weights": f"{request.model} {request.weights}".removesuffix(" none"),
        "dataset": source,
        "images": report.images,
        "image_size": height if height == width else f"{height}x{width}",
        # Small images of a set are seen whole.
        "crop_share": images_lib.CROP_SHARE
        if pathlib.Path(source).is_dir()
        else "",
        "interpolation": "bilinear",
        "antialias": False,
        "flip_tta": False,
        "top1": 100 * report.file_accuracy,
        "images_per_second": 1e3 * latency.batch / latency.milliseconds,
    }


def _tolerance(request):
    if request.tolerance is not None:
        return verification.Tolerance(request.tolerance)
    # bfloat16 has three bits less than float16 to round to.
    return verification.Tolerance.of(
        "bfloat16" if request.bfloat16 else request.quantize
    )


def _matched(images, names):
    """Returns labels by the model's class names; None if they differ."""
    if images.labels is None or names is None:
        return None
    if not set(images.class_names) <= set(names):
        return None
    places = np.array([names.index(name) for name in images.class_names])
    return places[images.labels]
