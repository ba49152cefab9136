"""What to type after a network was picked: to train it in full, and to export.

The training goes on as the sweep's, for longer: what the network was chosen
under holds.
"""

import pathlib
import shlex

from keras_regnet import image_folder
from training.sweeps.regimes import BUILT_IN
from training.sweeps.regimes import Regime

# As many times the epochs of a trial.
_LONGER = 10
# Images to which the trainer's base_learning_rate refers.
_BASE_BATCH = 128


def after(
    regime: Regime, path: pathlib.Path, data_dir: str, test_held_out: bool
) -> list[str]:
    """Returns the commands of a picked network.

    Args:
      regime: of the sweep.
      path: of the network's configuration; the run folder will be beside it.
      data_dir: of tensorflow-datasets, "" if the sweep was not given it.
      test_held_out: as of `arrays.Arrays`: the trainer holds out the same.

    Returns:
      The command that trains, and the one that exports.
    """
    workdir = path.with_suffix("")
    where = [f"--data_dir={data_dir}"] if data_dir else []
    train = [
        "--strategy=mirrored",
        f"--variant={path}",
        *where,
        *training(regime, test_held_out),
        f"--workdir={workdir}",
    ]
    export = [
        str(workdir),
        "--format=litert",
        *_quantization(regime.dataset, where),
        f"--out={path.with_suffix('.tflite')}",
    ]
    return [
        shlex.join(["python", "training/main.py", *train]),
        shlex.join(["python", "-m", "keras_regnet.export", *export]),
    ]


def training(regime: Regime, test_held_out: bool) -> list[str]:
    """Returns the trainer's flags of a regime's data and training."""
    rate = regime.learning_rate * _BASE_BATCH / regime.batch_size
    held_out = [f"--val_fraction={regime.val_fraction:g}"]
    return [
        f"--dataset={regime.dataset}",
        *(held_out if test_held_out else []),
        f"--image_size={regime.image_size}",
        *_images(regime),
        f"--epochs={_LONGER * regime.epochs}",
        f"--global_batch_size={regime.batch_size}",
        f"--base_learning_rate={rate:g}",
        f"--warmup_epochs={regime.warmup_epochs:g}",
        f"--momentum={regime.momentum:g}",
        f"--weight_decay={regime.weight_decay:g}",
    ]


def _images(regime):
    """Returns the flags of what a trial saw of an image."""
    if regime.crop == "area":
        yield "--augmentation=random_resized_crop"
        yield f"--min_crop_area={regime.min_crop_area:g}"
    else:
        yield "--augmentation=pad_crop"
    yield "--flip" if regime.flip else "--noflip"


def _part(dataset, *names):
    """Returns a part of a folder of images, None if it has no such part."""
    kind, _, place = dataset.partition(":")
    folder = pathlib.Path(place).expanduser()
    if kind != "folder" or not folder.is_dir():
        return None
    parts = (image_folder.find_part(folder, name) for name in names)
    return next((part for part in parts if part is not None), None)


def _quantization(dataset, where):
    """Returns the flags that choose int8, where the export can read images."""
    kind, colon, place = dataset.partition(":")
    if kind == "folder":
        train = _part(dataset, image_folder.TRAIN)
        val = _part(dataset, image_folder.VAL, image_folder.TEST)
        compared = [f"--images={val}"] if val else []
        return [
            "--quantize=int8",
            f"--representative={train or place}",
            *compared,
        ]
    if colon or kind in BUILT_IN:
        return ["--quantize=float16"]
    return ["--quantize=int8", f"--representative={dataset}", *where]
