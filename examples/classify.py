"""Classifies images with an exported LiteRT file. No TensorFlow needed.

    pip install ai-edge-litert numpy pillow
    python classify.py model.tflite photo.jpg ... [--threads=2] [--top=3]

The file is one that `python -m keras_regnet.export` wrote: it takes pixels and
normalizes them itself. Class names are read from model.labels.txt beside it.
"""

import argparse
import pathlib
import sys
import time

import numpy as np
from ai_edge_litert import interpreter as litert
from PIL import Image
from PIL import ImageOps

# Share of the shorter side that is looked at, as in evaluation.
_CROP_FRACTION = 224 / 256


class Classifier:
    """A LiteRT file with its labels.

    Args:
      path: the file.
      threads: threads to compute with.
      size: side of the images, for a file that takes any.

    Raises:
      ValueError: if the file is broken, or the labels do not fit it.
      OSError: if a file cannot be read.
    """

    def __init__(
        self, path: pathlib.Path, threads: int = 1, size: int = 224
    ) -> None:
        content = path.read_bytes()
        try:
            self._interpreter = litert.Interpreter(
                model_content=content, num_threads=threads
            )
            self._allocate(size)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{path} cannot be run: {error}") from error
        (self._input,) = self._interpreter.get_input_details()
        (self._output,) = self._interpreter.get_output_details()
        self._labels = _labels(path, int(self._output["shape"][-1]))

    def _allocate(self, size):
        (given,) = self._interpreter.get_input_details()
        shape = [1, size, size, 3]
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
        image = _upright(path)
        wide = image.width * height > image.height * width
        scale = height / image.height if wide else width / image.width
        box_height = round(height / scale * _CROP_FRACTION)
        box_width = round(width / scale * _CROP_FRACTION)
        left = (image.width - box_width) // 2
        top = (image.height - box_height) // 2
        image = image.resize(
            (int(width), int(height)),
            Image.Resampling.BILINEAR,
            box=(left, top, left + box_width, top + box_height),
        )
        pixels = np.asarray(image)[None]
        if self._input["dtype"] == np.int8:
            pixels = pixels.astype(np.int16) - 128
        return pixels.astype(self._input["dtype"])

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
    for index in np.argsort(-outputs)[:top]:
        print(f"  {outputs[index]:6.1%}  {classifier.name(index)}")


def _print_error(error):
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)


def main() -> int:
    """Prints the likeliest classes of each image; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("images", type=pathlib.Path, nargs="+")
    for name, default in (("threads", 1), ("size", 224), ("top", 3)):
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
        except (OSError, ValueError) as error:
            # The other images may be whole.
            _print_error(error)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
