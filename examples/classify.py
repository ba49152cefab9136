"""Classifies images with an exported LiteRT file. No TensorFlow needed.

    pip install ai-edge-litert numpy pillow
    python classify.py model.tflite photo.jpg ... [--threads=2] [--top=3]

The file is one that `python -m keras_regnet.export` wrote: it takes pixels and
normalises them itself. Class names are read from model.labels.txt beside it.
"""

import argparse
import pathlib
import sys
import time

import numpy as np
from ai_edge_litert import interpreter as litert
from PIL import Image

# Share of the shorter side that is looked at, as in evaluation.
_CROP_SHARE = 224 / 256


class Classifier:
    """A LiteRT file with its labels.

    Args:
      path: the file.
      threads: threads to compute with.
      size: side of the images, for a file that takes any.
    """

    def __init__(
        self, path: pathlib.Path, threads: int = 1, size: int = 224
    ) -> None:
        self._interpreter = litert.Interpreter(
            model_content=path.read_bytes(), num_threads=threads
        )
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
        (self._input,) = self._interpreter.get_input_details()
        (self._output,) = self._interpreter.get_output_details()
        labels = path.with_suffix(".labels.txt")
        self._labels = []
        if labels.is_file():
            self._labels = labels.read_text(encoding="utf-8").splitlines()

    def pixels(self, path: pathlib.Path) -> np.ndarray:
        """Returns the centre of an image file as the network takes it."""
        _, height, width, _ = self._input["shape"]
        with Image.open(path) as file:
            image = file.convert("RGB")
        wide = image.width * height > image.height * width
        scale = height / image.height if wide else width / image.width
        box_height = round(height / scale * _CROP_SHARE)
        box_width = round(width / scale * _CROP_SHARE)
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
        return outputs[0], milliseconds

    def name(self, index: int) -> str:
        """Returns a class's name, or its number if it has none."""
        known = index < len(self._labels)
        return self._labels[index] if known else f"class {index}"


def main() -> int:
    """Prints the likeliest classes of each image; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("images", type=pathlib.Path, nargs="+")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--top", type=int, default=3)
    arguments = parser.parse_args()
    try:
        classifier = Classifier(
            arguments.model, arguments.threads, arguments.size
        )
        for path in arguments.images:
            outputs, milliseconds = classifier.probabilities(
                classifier.pixels(path)
            )
            print(f"{path} ({milliseconds:.1f} ms)")
            for index in np.argsort(-outputs)[: arguments.top]:
                print(f"  {outputs[index]:6.1%}  {classifier.name(index)}")
    except (OSError, ValueError, RuntimeError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
