"""Classifies images with an exported LiteRT file. No TensorFlow needed.

    pip install ai-edge-litert numpy pillow
    python classify.py model.tflite photo.jpg ... [--threads=2] [--top=3]

The file is one that `python -m keras_regnet.export` wrote: it takes pixels and
normalizes them itself. Beside it lie model.labels.txt, with the class names,
and model.record.json, which says how an image is scaled and cropped first, and
from which probability on a class is there, if an image may have several.
"""

import argparse
import json
import os
import pathlib
import sys
import time

import numpy as np
from ai_edge_litert import interpreter as litert
from PIL import Image
from PIL import ImageOps

# Classes that are shown, where they exclude each other.
_TOP = 3
# Of longer images only the middle is looked at.
_MAX_ASPECT = 16
# What is known of a file without a record: the paper's way, on 224 pixels.
_SIZE = (224, 224)
_CROP = {
    "fraction": 224 / 256,
    "interpolation": "bilinear",
    "antialias": False,
    "rounding": "up",
    "to_integers": False,
}


class Classifier:
    """A LiteRT file with its labels.

    Args:
      path: the file.
      threads: threads to compute with.
      size: side of the images, for a file that takes any; None for that of
        the record.

    Attributes:
      threshold: probability from which a class is there; None if classes
        exclude each other.

    Raises:
      ValueError: if the file is broken, or the labels do not fit it.
      OSError: if a file cannot be read.
    """

    def __init__(
        self, path: pathlib.Path, threads: int = 1, size: int | None = None
    ) -> None:
        content = path.read_bytes()
        record = _record(path)
        self._crop = {**_CROP, **record.get("crop", {})}
        self.threshold = record.get("threshold")
        if size is not None:
            sides = (size, size)
        else:
            sides = record.get("image_size") or _SIZE
        try:
            self._interpreter = litert.Interpreter(
                model_content=content, num_threads=threads
            )
            self._allocate(*sides)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{path} cannot be run: {error}") from error
        (self._input,) = self._interpreter.get_input_details()
        (self._output,) = self._interpreter.get_output_details()
        self._labels = _labels(path, int(self._output["shape"][-1]))

    def _allocate(self, height, width):
        (given,) = self._interpreter.get_input_details()
        shape = [1, height, width, 3]
        signature = given["shape_signature"]
        self._interpreter.resize_tensor_input(
            given["index"],
            [
                own if own > 0 else ours
                for own, ours in zip(signature, shape, strict=True)
            ],
        )
        self._interpreter.allocate_tensors()

    def pixels(self, path: pathlib.Path) -> np.ndarray:
        """Returns the center of an image file as the network takes it."""
        _, height, width, _ = self._input["shape"]
        image = np.asarray(_upright(path))
        pixels = _center(image, (int(height), int(width)), **self._crop)[None]
        dtype = self._input["dtype"]
        if np.issubdtype(dtype, np.integer):
            pixels = np.rint(pixels)
        return (pixels - 128 if dtype == np.int8 else pixels).astype(dtype)

    def probabilities(self, pixels: np.ndarray) -> tuple[np.ndarray, float]:
        """Returns one image's probabilities, and the milliseconds it took."""
        self._interpreter.set_tensor(self._input["index"], pixels)
        start = time.perf_counter()
        self._interpreter.invoke()
        milliseconds = 1e3 * (time.perf_counter() - start)
        outputs = self._interpreter.get_tensor(self._output["index"])
        return _probabilities(outputs[0]), milliseconds

    def name(self, index: int) -> str:
        """Returns a class's name, or its number if it has none."""
        return self._labels[index] if self._labels else f"class {index}"


def _record(path):
    """Returns what is known of a file; nothing if there is no record."""
    file = path.with_suffix(".record.json")
    if not file.exists():
        return {}
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if not record.get("normalizes", True):
            raise ValueError("the network takes normalized pixels")
    except (AttributeError, ValueError) as error:
        raise ValueError(f"{file} cannot be used: {error}") from error
    return record


def _labels(path, classes):
    """Returns the class names beside a file; none if there are none."""
    labels = path.with_suffix(".labels.txt")
    if not labels.exists():
        return []
    try:
        text = labels.read_text(encoding="utf-8-sig")
        names = text.removesuffix("\n").split("\n") if text else []
    except UnicodeDecodeError as error:
        raise ValueError(f"{labels} is not a text in UTF-8: {error}") from error
    if len(names) != classes:
        raise ValueError(
            f"{labels} must have one name per class. Received: {len(names)} "
            f"names for {classes} classes"
        )
    return names


def _upright(path):
    """Returns an image file as RGB, the way up that the camera was held."""
    try:
        with Image.open(path) as file:
            return ImageOps.exif_transpose(file).convert("RGB")
    except FileNotFoundError:
        raise
    # SyntaxError is what Pillow raises for some broken files.
    except (
        OSError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombError,
    ) as error:
        raise ValueError(
            f"{path} is not an image that can be read: {error}"
        ) from error


def _center(
    image, size, fraction, interpolation, antialias, rounding, to_integers
):
    """Scales an image so that it covers a size and more; crops the center.

    Nothing is computed outside of the crop.
    """
    longest = _MAX_ASPECT * min(image.shape[:2])
    for _ in size:
        cut = max(image.shape[0] - longest, 0)
        start = cut // 2
        image = image[start : start + len(image) - cut].swapaxes(0, 1)
    own = image.shape[:2]
    cover = [round(side / fraction) for side in size]
    by_height = cover[0] * own[1] >= cover[1] * own[0]
    part, whole = (cover[0], own[0]) if by_height else (cover[1], own[1])
    for side, length in zip(size, own, strict=True):
        scaled = length * part // whole
        # Each turn scales what is the first axis then; two turn it back.
        image = _resampled(
            image,
            length / scaled,
            _start(scaled - side, rounding),
            side,
            interpolation,
            antialias,
        ).swapaxes(0, 1)
    image = np.clip(image, 0, 255)
    return np.rint(image) if to_integers and part != whole else image


def _start(margin, rounding):
    """Returns where a crop begins: half of what is left over."""
    half, odd = divmod(margin, 2)
    return half + odd * {"up": 1, "down": 0, "even": half % 2}[rounding]


def _resampled(image, scale, first, count, interpolation, antialias):
    """Returns positions of an image's first axis, scaled."""
    if scale == 1:
        return image[first : first + count].astype("float32")
    kernel, radius = _KERNELS[interpolation]
    width = max(scale, 1) if antialias else 1
    if interpolation == "area":
        width = scale
    result = np.empty((count, *image.shape[1:]), "float32")
    for index in range(count):
        center = (first + index + 0.5) * scale
        low = max(int(np.floor(center - radius * width)), 0)
        high = int(np.ceil(center + radius * width))
        pixels = image[low : max(high, low + 1)]
        positions = np.arange(low, low + len(pixels)) + 0.5
        weights = kernel((positions - center) / width, width)
        weights = (weights / weights.sum()).astype("float32")
        result[index] = np.tensordot(weights, pixels.astype("float32"), 1)
    return result


def _triangle(x, width):
    return np.maximum(1 - np.abs(x), 0)


def _cubic(x, width):
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _overlap(x, width):
    """Returns how much of each pixel lies within `width` pixels."""
    return np.clip((1 + width) / 2 - np.abs(x) * width, 0, min(1, width))


# Interpolation -> its weights by distance, and the farthest that has one.
_KERNELS = {
    "bilinear": (_triangle, 1),
    "bicubic": (_cubic, 2),
    "area": (_overlap, 0.5),
}


def _probabilities(outputs):
    """Returns probabilities, from logits if that is what a file gives."""
    if outputs.min() >= 0 and outputs.max() <= 1:
        return outputs
    powers = np.exp(outputs - outputs.max())
    return powers / powers.sum()


def _positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"must be a whole number above 0. Received: {text!r}"
        )
    return int(text)


def _print_classes(classifier, path, top):
    outputs, milliseconds = classifier.probabilities(classifier.pixels(path))
    print(f"{path} ({milliseconds:.1f} ms)")
    shown = np.argsort(-outputs)
    if classifier.threshold is not None:
        # Each class by itself: none of them may be there, or all.
        shown = [i for i in shown if outputs[i] >= classifier.threshold]
    elif top is None:
        top = _TOP
    for index in shown[:top]:
        print(f"  {outputs[index]:6.1%}  {classifier.name(index)}")
    if not len(shown):
        print(f"  no class has {classifier.threshold:.1%}")


def _print_error(error):
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)


def main() -> int:
    """Prints the likeliest classes of each image; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("images", type=pathlib.Path, nargs="+")
    for name, default in (("threads", 1), ("size", None), ("top", None)):
        parser.add_argument(f"--{name}", type=_positive, default=default)
    arguments = parser.parse_args()
    try:
        classifier = Classifier(
            arguments.model, arguments.threads, arguments.size
        )
    except (OSError, ValueError) as error:
        _print_error(error)
        return 1
    status = 0
    for path in arguments.images:
        try:
            _print_classes(classifier, path, arguments.top)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader has had enough, as `head` has. Nothing is left to say.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return status
        except (OSError, ValueError) as error:
            # The other images may be whole.
            _print_error(error)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
