"""Writes a classifier as a preset of KerasHub.

python -m keras_regnet.hub MODEL FOLDER [WEIGHTS]

MODEL is a variant, a run folder of the trainer, a .keras file or a file of
weights that tells its network; WEIGHTS are those of a variant.
"""

import sys

from keras_regnet.hub import presets

_USAGE = "python -m keras_regnet.hub MODEL FOLDER [WEIGHTS]"


def main(arguments: list[str]) -> None:
    """Writes the folder that the arguments name."""
    if not 2 <= len(arguments) <= 3:
        sys.exit(f"error: Usage: {_USAGE}. Received: {arguments}")
    model, folder, *weights = arguments
    try:
        classifier = presets.write_preset(model, folder, *weights)
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    print(f"Wrote {folder}: {classifier.num_classes} classes.")


if __name__ == "__main__":
    main(sys.argv[1:])
