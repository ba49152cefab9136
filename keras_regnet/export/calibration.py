"""The range of each activation of a float LiteRT file, from images."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_regnet.export import runners

# (min, max) of the values of a tensor, by its name.
Ranges = dict[str, tuple[float, float]]


def ranges(
    contents: bytes, images: np.ndarray, mean: Sequence[float]
) -> Ranges:
    """Returns the ranges of the input and of what each operation gives.

    Args:
      contents: of the file.
      images: pixels in 0..255.
      mean: of the pixels, which the file subtracts.
    """
    runner = runners.LiteRTRunner(contents, keep_tensors=True)
    interpreter = runner.interpreter
    operations = runners.operations(interpreter)
    indices = {index for each in operations for index in each["outputs"]}
    tensors = [
        (detail["name"], interpreter.tensor(detail["index"]))
        for detail in interpreter.get_tensor_details()
        if detail["index"] in indices and detail["dtype"] == np.float32
    ]
    found = {name: (math.inf, -math.inf) for name, _ in tensors}
    for image in images:
        runner.run(image[None])
        for name, values in tensors:
            low, high = found[name]
            found[name] = (
                min(low, float(values().min())),
                max(high, float(values().max())),
            )
    return found | _of_pixels(interpreter, operations, mean)


def _of_pixels(
    interpreter: Any,
    operations: Sequence[dict[str, Any]],
    mean: Sequence[float],
) -> Ranges:
    """Returns the ranges of the input, and of it less its mean: all of 0..255.

    Representative images need not have the darkest and the brightest pixel;
    what the file will be given may.
    """
    (pixels,) = interpreter.get_input_details()
    names = {
        detail["index"]: detail["name"]
        for detail in interpreter.get_tensor_details()
    }
    found = {pixels["name"]: (0.0, 255.0)}
    low, high = -float(max(mean)), 255 - float(min(mean))
    # Either a subtraction, or one between two changes of shape.
    reached, is_less = {pixels["index"]}, False
    for operation in operations if np.any(mean) else ():
        if reached.isdisjoint(operation["inputs"]):
            continue
        if operation["op_name"] == "SUB":
            is_less = True
        elif operation["op_name"] != "RESHAPE":
            break
        (output,) = operation["outputs"]
        reached = {output}
        found[names[output]] = (low, high) if is_less else (0.0, 255.0)
    return found
