"""Checks a SavedModel with TensorFlow alone: no Keras, no keras_regnet.

    python check_saved_model.py PATH

loads the folder, feeds it the uint8 images of its check.npz, through both
signatures, and compares with the probabilities stored beside them. Prints one
line; exit status 1 if one differs by more than 1e-4. A file to be run by its
path, on the machine that will serve the model.
"""

import os
import pathlib
import sys

if __name__ == "__main__":
    # Run by path, this folder would come first, and its modules hide others.
    sys.path.pop(0)
    # TensorFlow imports Keras where it is installed. A check that had help
    # would say nothing about a server that has neither.
    sys.modules.update({"keras": None, "keras_regnet": None})  # type: ignore
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

# As of all files in float32: rounding alone has been seen to reach 2e-5.
TOLERANCE = 1e-4


def max_absolute_error(path: str) -> float:
    """Returns how far a SavedModel is from its stored probabilities.

    Args:
      path: folder of the SavedModel.

    Returns:
      The max absolute error over all stored images and signatures.
    """
    loaded = tf.saved_model.load(path)
    worst = 0.0
    with np.load(pathlib.Path(path) / "check.npz", allow_pickle=False) as data:
        stored = dict(data)
    for name, images in stored.items():
        if not name.startswith("images_"):
            continue
        expected = stored[name.replace("images", "probabilities")]
        for signature, dtype in (
            ("serving_default", tf.uint8),
            ("float_images", tf.float32),
        ):
            serve = loaded.signatures[signature]
            outputs = serve(images=tf.cast(images, dtype))["probabilities"]
            error = np.abs(outputs.numpy() - expected).max()
            # nan compares false with everything: make it the worst.
            worst = max(worst, float(np.nan_to_num(error, nan=np.inf)))
    return worst


def main(arguments: list[str]) -> int:
    """Checks the folder that the command line names; returns the status."""
    if len(arguments) != 2:
        print("usage: check_saved_model.py PATH", file=sys.stderr)
        return 2
    try:
        worst = max_absolute_error(arguments[1])
    except (OSError, tf.errors.OpError) as error:
        reason = (str(error).splitlines() or [""])[0]
        print(f"{arguments[1]}: {type(error).__name__}: {reason}")
        return 1
    print(
        f"{arguments[1]}: max absolute error {worst:.1e}, allowed "
        f"{TOLERANCE:.0e}"
    )
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
