"""Evaluates a classifier: `python training/validate.py --model=RUN_FOLDER`.

--model is a run folder, a .keras file, a SavedModel, a LiteRT file, or a
variant's name with --weights. What is not given comes from the run, or is the
paper's: 224 pixels, the central 224 of 256, bilinear.
"""

import os
import pathlib
import sys

from absl import app
from absl import flags

# Run by path: modules are found from the checkout, not from this folder.
if __name__ == "__main__":
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from keras_regnet import results
from training.config import config as train_config
from training.config import fields
from training.data import datasets
from training.evaluate import evaluate as evaluate_lib
from training.evaluate import predictors

_MODEL = flags.DEFINE_string(
    "model", None, "What is evaluated; see above.", required=True
)
_WEIGHTS = flags.DEFINE_string("weights", "", "Weights of a variant.")
_DATASET = flags.DEFINE_string(
    "dataset", None, "As for main.py; default that of the run, or digits."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where tensorflow-datasets keeps its files."
)
_VAL_FRACTION = flags.DEFINE_float("val_fraction", None, "As for main.py.")
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", None, "Side of the images; default that of the run or 224."
)
_CROP_FRACTION = flags.DEFINE_float(
    "crop_fraction", None, "Fraction of the shorter side that is seen."
)
_INTERPOLATION = flags.DEFINE_enum(
    "interpolation",
    None,
    fields.choices(train_config.TrainConfig, "interpolation"),
    "How images are scaled.",
)
_ANTIALIAS = flags.DEFINE_bool(
    "antialias", None, "Average over source pixels when making smaller."
)
_FLIP_TTA = flags.DEFINE_bool(
    "flip_tta", False, "Average over an image and its mirror image."
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 64, "Images at a time.", lower_bound=1
)
_RESULTS = flags.DEFINE_string("results", "", "CSV to which a row is appended.")
_DETAILS = flags.DEFINE_string(
    "details", "", "Folder for per_class.csv and confusion.csv."
)

# What a run's configuration decides where no flag does.
_OF_THE_RUN = (
    "dataset",
    "data_dir",
    "val_fraction",
    "image_size",
    "eval_image_size",
    "eval_crop_fraction",
    "interpolation",
    "antialias",
)


def _settings(predictor: predictors.Predictor | None) -> dict[str, object]:
    """Returns the configuration's fields: flags, then the run's."""
    of_run = predictor.settings if predictor else {}
    fields = {name: of_run[name] for name in _OF_THE_RUN if name in of_run}
    given = {
        "dataset": _DATASET.value,
        "data_dir": _DATA_DIR.value,
        "val_fraction": _VAL_FRACTION.value,
        "eval_image_size": _IMAGE_SIZE.value,
        "eval_crop_fraction": _CROP_FRACTION.value,
        "interpolation": _INTERPOLATION.value,
        "antialias": _ANTIALIAS.value,
    }
    fields.update({k: v for k, v in given.items() if v is not None})
    if predictor and predictor.image_size and _IMAGE_SIZE.value is None:
        fields["eval_image_size"] = predictor.image_size
    return fields


def _evaluate() -> evaluate_lib.Result:
    # A variant is built for the data set's classes; a run names its data set.
    predictor = None
    if not _WEIGHTS.value:
        predictor = predictors.load(_MODEL.value)
    config = train_config.TrainConfig(
        global_batch_size=_BATCH_SIZE.value, **_settings(predictor)
    )
    data = datasets.load(config)
    if not predictor:
        classes = len(data.class_names)
        predictor = predictors.load(_MODEL.value, _WEIGHTS.value, classes)
    return evaluate_lib.evaluate(predictor, data, config, _FLIP_TTA.value)


def _main(arguments: list[str]) -> None:
    if len(arguments) > 1:
        sys.exit(f"error: unexpected arguments: {arguments[1:]}")
    try:
        if _RESULTS.value:
            # Before the work, which would be lost.
            results.check(_RESULTS.value)
        result = _evaluate()
        if _RESULTS.value:
            results.append(_RESULTS.value, result.row)
        if _DETAILS.value:
            evaluate_lib.write_details(pathlib.Path(_DETAILS.value), result)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    for name, value in result.row.items():
        shown = f"{value:.4f}" if isinstance(value, float) else value
        print(f"{name:18s} {'-' if shown is None else shown}")


if __name__ == "__main__":
    app.run(_main)
