"""Writes shards of images: `python training/make_shards.py FOLDER OUT`.

FOLDER has train/ and val/ with one folder per class in each, or CSV files of
labels; with --val_fraction, train/ or class folders alone. Train on the result
with --dataset=shards:OUT.
"""

import os
import pathlib
import sys

from absl import app
from absl import flags

# Run by path: modules are found from the checkout, not from this folder.
if __name__ == "__main__":
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# Before TensorFlow, which it has turn oneDNN on.
from keras_regnet import onednn  # noqa: F401

# isort: split
from training.data import shards

_IMAGES_PER_SHARD = flags.DEFINE_integer(
    "images_per_shard", 1024, "Most images in one file.", lower_bound=1
)
_SKIP_BAD_IMAGES = flags.DEFINE_bool(
    "skip_bad_images",
    False,
    "Leave out files that are not images, and name them, in place of an error.",
)
_FORMAT = flags.DEFINE_enum(
    "format",
    shards.FORMATS[0],
    shards.FORMATS,
    "array_record is read by index; see docs/training.md.",
)
_LABELS = flags.DEFINE_enum(
    "labels",
    "auto",
    ["auto", "single", "multiple"],
    "Whether an image has one label or several, as for main.py.",
)
_VAL_FRACTION = flags.DEFINE_float(
    "val_fraction",
    0.0,
    "Fraction of every class held out as val/, as by main.py.",
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the order of the images.")


def _main(arguments: list[str]) -> None:
    if len(arguments) != 3:
        sys.exit("usage: make_shards.py FOLDER OUT")
    source, folder = (pathlib.Path(path).expanduser() for path in arguments[1:])
    try:
        written = shards.write(
            source,
            folder,
            _IMAGES_PER_SHARD.value,
            _SKIP_BAD_IMAGES.value,
            _SEED.value,
            _FORMAT.value,
            _LABELS.value,
            _VAL_FRACTION.value,
        )
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    print(
        f"{folder}: {written['train']} training and {written['val']} "
        f"validation images, {written['skipped']} left out"
    )


if __name__ == "__main__":
    app.run(_main)
