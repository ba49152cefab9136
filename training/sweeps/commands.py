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


def after(regime: Regime, path: pathlib.Path, data_dir: str) -> list[str]:
    """Returns the commands of a picked network.

    Args:
      regime: of the sweep.
      path: of the network's configuration; the run folder will be beside it.
      data_dir: of tensorflow-datasets, "" if the sweep was not given it.

    Returns:
      The command that trains, and the one that exports.
    """
    workdir = path.with_suffix("")
    rate = regime.learning_rate * _BASE_BATCH / regime.batch_size
    where = [f"--data_dir={data_dir}"] if data_dir else []
    train = [
        "--strategy=mirrored",
        f"--variant={path}",
        f"--dataset={regime.dataset}",
        *where,
        *_evaluation(regime),
        f"--image_size={regime.image_size}",
        *_images(regime),
        f"--epochs={_LONGER * regime.epochs}",
        f"--global_batch_size={regime.batch_size}",
        f"--base_learning_rate={rate:g}",
        f"--weight_decay={regime.weight_decay:g}",
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


def _evaluation(regime):
    """Returns the flag that class folders alone need.

    It holds out what the sweep has tested on.
    """
    kind = regime.dataset.partition(":")[0]
    parts = (image_folder.VAL, image_folder.TEST)
    if kind == "folder" and not _part(regime.dataset, *parts):
        yield f"--val_fraction={regime.val_fraction:g}"


def _quantization(dataset, where):
    """Returns the flags that choose int8, where the export can read images."""
    kind, colon, place = dataset.partition(":")
    if kind == "folder":
        train = _part(dataset, image_folder.TRAIN)
        return ["--quantize=int8", f"--representative={train or place}"]
    if colon or kind in BUILT_IN:
        return ["--quantize=float16"]
    return ["--quantize=int8", f"--representative={dataset}", *where]
