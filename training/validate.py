"""Evaluates a classifier: `python training/validate.py --model=RUN_FOLDER`.

--model is a run folder, a .keras file, a SavedModel, a LiteRT or ONNX file, a
file of weights that tells its published network, or a variant's name with
--weights: a tag, a file, a run folder or hf:owner/name, as
`keras_regnet.build` takes.
What is not given comes from the run, or for published weights from their
record (size, crop, interpolation), or is the paper's: 224 pixels, the central
224 of 256, bilinear.
"""

import os
import pathlib
import sys

from absl import app
from absl import flags
from absl import logging

# Run by path: modules are found from the checkout, not from this folder.
if __name__ == "__main__":
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from keras_regnet import results
from training.config import config as train_config
from training.config import fields
from training.data import identity
from training.data import load
from training.evaluate import evaluate as evaluate_lib
from training.evaluate import multilabel
from training.evaluate import predictors
from training.workdir import files

_MODEL = flags.DEFINE_string(
    "model", None, "What is evaluated; see above.", required=True
)
_WEIGHTS = flags.DEFINE_string(
    "weights",
    "",
    "Weights of a variant: default, a tag, a file, a run folder or "
    "hf:owner/name.",
)
_DATASET = flags.DEFINE_string(
    "dataset", None, "As for main.py; default that of the run, or digits."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where tensorflow-datasets keeps its files."
)
_LABELS = flags.DEFINE_enum(
    "labels",
    None,
    fields.choices(train_config.TrainConfig, "labels"),
    "As for main.py.",
)
_THRESHOLD = flags.DEFINE_float("threshold", None, "As for main.py.")
_VAL_FRACTION = flags.DEFINE_float("val_fraction", None, "As for main.py.")
_IMAGE_SIZE = flags.DEFINE_string(
    "image_size",
    None,
    "Side of the images, or HEIGHTxWIDTH; default that of the run, of the "
    "weights' record, or 224.",
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

# The metrics of each class are printed for up to so many.
_MAX_CLASSES = 100


def _evaluate() -> evaluate_lib.Result:
    predictor = predictors.load(_MODEL.value, _WEIGHTS.value)
    given = {
        "dataset": _DATASET.value,
        "data_dir": _DATA_DIR.value,
        "labels": _LABELS.value,
        "threshold": _THRESHOLD.value,
        "val_fraction": _VAL_FRACTION.value,
        "eval_image_size": _IMAGE_SIZE.value,
        "eval_crop_fraction": _CROP_FRACTION.value,
        "interpolation": _INTERPOLATION.value,
        "antialias": _ANTIALIAS.value,
    }
    config = train_config.TrainConfig(
        global_batch_size=_BATCH_SIZE.value,
        **evaluate_lib.settings(predictor, given),
    )
    data = load.load_dataset(config)
    if _RESULTS.value:
        # Before the work, which would be lost.
        results.check(_RESULTS.value, data.multilabel)
    _say_what_changed(config, data)
    return evaluate_lib.evaluate(predictor, data, config, _FLIP_TTA.value)


def _say_what_changed(config, data):
    """Warns where images that were held out may have been trained on."""
    folder = pathlib.Path(_MODEL.value).expanduser()
    stored = files.stored_data(folder) if config.val_fraction else None
    if stored and not identity.same_files(
        identity.Identity.from_dict(stored), identity.of(data)
    ):
        logging.warning(
            "the data are not those of the run: %s", identity.HELD_OUT_ANEW
        )


def _main(arguments: list[str]) -> None:
    if len(arguments) > 1:
        sys.exit(f"error: unexpected arguments: {arguments[1:]}")
    try:
        if _RESULTS.value:
            # Before the work, which would be lost.
            results.check(_RESULTS.value)
        details = pathlib.Path(_DETAILS.value or ".").expanduser()
        if details.exists() and not details.is_dir():
            raise ValueError(f"`details` must be a folder. Received: {details}")
        result = _evaluate()
        if _RESULTS.value:
            results.append(_RESULTS.value, result.row)
        if _DETAILS.value:
            evaluate_lib.write_details(details, result)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    _print(result)


def _print(result):
    for name, value in result.row.items():
        shown = f"{value:.4f}" if isinstance(value, float) else value
        print(f"{name:18s} {'-' if shown is None else shown}")
    metrics = result.metrics
    if not isinstance(metrics, multilabel.Metrics):
        return
    for name in ("macro_f1", "best_threshold", "best_f1"):
        print(f"{name:18s} {getattr(metrics, name):.4f}")
    header, *rows = evaluate_lib.per_class(result)
    if len(rows) > _MAX_CLASSES:
        return
    width = max(len(name) for _, name, *_ in rows)
    print()
    for _, name, *cells in (header, *rows):
        print(f"{name:{width}}", *(f"{cell:>14}" for cell in cells))


if __name__ == "__main__":
    app.run(_main)
