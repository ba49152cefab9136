"""The run folder: what is written there beside checkpoints and models."""

import csv
import dataclasses
import io
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_regnet
from keras_regnet import atomic
from keras_regnet import class_names
from keras_regnet import processor
from keras_regnet import safe_files
from keras_regnet import weights as weights_lib
from keras_regnet.export import saved_model
from keras_regnet.model_record import ModelRecord
from keras_regnet.weights import locate
from keras_regnet.weights import rules
from training.config import config as train_config
from training.config import fields
from training.config import network as network_lib
from training.data import class_weights
from training.data import identity
from training.workdir import checkpoint

# Holds the number of steps after which the models were exported.
_EXPORTED = "exported_step.txt"

# Classes, counts and files of the data, see `data.identity`.
_DATA = "data.json"

# How a run ended, see `outcome`.
OUTCOME = "outcome.json"

# Fields that decide what the models at the end are.
_OF_EXPORT = ("export_best", "best_metric", "portable_export", "threshold")

# What a killed process may have begun to write.
_WRITTEN = (
    "config.json",
    OUTCOME,
    _DATA,
    "metrics.csv",
    "curves.png",
    "model.keras",
    _EXPORTED,
)

COLUMNS = (
    "epoch",
    "step",
    "train_loss",
    "train_top1",
    "val_loss",
    "val_top1",
    "val_top5",
    "images_per_second",
    "learning_rate",
    "data_wait",
    "train_seconds",
    "eval_seconds",
)
# After these, of several labels an image, which leave top-1 and top-5 empty.
MULTILABEL_COLUMNS = (
    "val_map",
    "val_precision",
    "val_recall",
    "val_f1",
    "val_threshold",
)


def run_folder(config: train_config.TrainConfig) -> pathlib.Path:
    """Returns the folder of a run, to which it can export in the end."""
    folder = pathlib.Path(config.workdir or f"runs/{config.recipe}")
    saved_model.check_path(folder, "workdir")
    return folder


def is_finished(
    folder: pathlib.Path,
    config: train_config.TrainConfig,
    position: checkpoint.Position,
) -> bool:
    """Returns whether the folder holds all that the run would make.

    The marker is written last: models of fewer steps do not count.
    """
    if train_config.length(dataclasses.asdict(config))[0] == "epochs":
        done = position.epoch >= config.epochs
    else:
        # An epoch's steps are of no account here, and not known yet.
        done = position.step >= config.num_steps(steps_per_epoch=1)
    done = done or position.stops_early(
        config.early_stopping_epochs, config.best_metric
    )
    marker = folder / _EXPORTED
    if not done or not marker.is_file() or _exports_otherwise(folder, config):
        return False
    return marker.read_text().strip() == str(position.step)


def _exports_otherwise(folder, config):
    """Returns whether the folder's models were to be other ones."""
    path = folder / "config.json"
    if not path.is_file():
        return False
    stored = train_config.stored_fields(safe_files.read_json(path)["config"])
    return any(
        stored.get(name, value) != value
        for name, value in dataclasses.asdict(config).items()
        if name in _OF_EXPORT
    )


def mark_not_exported(folder: pathlib.Path) -> None:
    """Records that the models of a run are not there, or not as requested."""
    for name in (_EXPORTED, OUTCOME):
        (folder / name).unlink(missing_ok=True)


def mark_exported(folder: pathlib.Path, step: int) -> None:
    """Records that the exported models are those of a run up to a step."""
    atomic.write(folder / _EXPORTED, f"{step}\n".encode())


def check(
    folder: pathlib.Path,
    config: train_config.TrainConfig,
    network: network_lib.Network,
) -> None:
    """Raises if the folder holds another run; it need not exist.

    Raises:
      ValueError: naming what differs.
    """
    path = folder / "config.json"
    _check_writable(folder)
    if not path.is_file():
        if (folder / "checkpoints").is_dir():
            raise ValueError(
                "`workdir` holds checkpoints without a config.json, so they "
                f"are not a run of this trainer. Received: workdir={folder}"
            )
        return
    try:
        stored = safe_files.read_json(path)
        stored_fields = train_config.stored_fields(stored["config"])
        unit, number = train_config.length(stored_fields)
        stored_network = stored["network"]
        # Weights decide about padding, rounding and normalization.
        of_weights = architecture_of(stored) if config.weights else None
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"Not a config.json of a run: {path}") from error
    different = train_config.differences(config, stored_fields)
    if of_weights:
        network = rules.with_rules_of(of_weights.config, network)
    if stored_network != json.loads(network.to_json()):
        different += train_config.differences(
            config, stored_fields, fields.NETWORK
        )
        different = different or [f"variant: what {config.variant!r} means"]
    if stored_data(folder) is None:
        different += moved_data(folder, config)
    own_unit, own_number = train_config.length(dataclasses.asdict(config))
    if unit != own_unit:
        different.append(
            f"length: {unit}={number} in the folder, {own_unit}={own_number} "
            "requested, and the unit must stay"
        )
    elif number > own_number:
        different.append(
            f"{unit}: {number} in the folder, {own_number} requested, and "
            "only more is possible"
        )
    if different:
        raise _refused(folder, "another configuration", different)


def _refused(folder, what, different):
    """Returns the error for a folder whose run cannot go on as requested."""
    way = f"--weights={folder} --workdir=NEW starts another from its weights"
    if not (folder / locate.RUN_MODEL).is_file():
        way += ", once it is finished"
    return ValueError(
        f"The folder {folder} holds a run with {what}; a run that resumes "
        f"keeps it. {way}, --workdir=NEW alone begins anew. "
        f"Different: {'; '.join(different)}"
    )


def stored_data(folder: pathlib.Path) -> dict[str, Any] | None:
    """Returns what a run stored of its data, None if it is an older one.

    Raises:
      ValueError: if the file is damaged.
    """
    path = folder / _DATA
    if not path.is_file():
        return None
    try:
        return identity.Identity.from_dict(safe_files.read_json(path)).to_dict()
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"Not a {_DATA} of a run: {path}") from error


def moved_data(
    folder: pathlib.Path, config: train_config.TrainConfig
) -> list[str]:
    """Returns how a run's data set went by another name, one line per field."""
    path = folder / "config.json"
    if not path.is_file():
        return []
    stored = train_config.stored_fields(safe_files.read_json(path)["config"])
    return train_config.differences(config, stored, fields.DATA)


def stored_class_weights(folder: pathlib.Path) -> dict[str, float] | None:
    """Returns what a run's loss counts, by class; None if all count alike."""
    path = folder / "config.json"
    if not path.is_file():
        return None
    return safe_files.read_json(path).get("class_weights")


def check_class_weights(
    folder: pathlib.Path,
    config: train_config.TrainConfig,
    stored: Mapping[str, float] | None,
    ours: Mapping[str, float] | None,
) -> None:
    """Raises a ValueError if a file of weights is not as it was.

    Balanced ones go with the images, whose changes are said.

    Args:
      folder: the run folder, for messages.
      config: of the run that resumes.
      stored: what `stored_class_weights` returned; None for a new run.
      ours: those of today.
    """
    if stored is None or ours is None or config.class_weights == "balanced":
        return
    different = class_weights.differences(stored, ours)
    if different:
        raise _refused(folder, "other class weights", different)


def data_changes(
    folder: pathlib.Path,
    stored: Mapping[str, Any],
    moved: Sequence[str],
    data: identity.Identity,
) -> list[str]:
    """Returns how the data of a run that resumes differ from those it had.

    Args:
      folder: the run folder, for messages.
      stored: what `stored_data` returned.
      moved: what `moved_data` returned.
      data: the data set of today.

    Raises:
      ValueError: if the classes are others, the labels of the same images
        are, or the data set was moved and is not known to be the same.
    """
    before = identity.Identity.from_dict(stored)
    different = class_names.differences(before.class_names, data.class_names)
    if different:
        raise _refused(folder, "other classes", different)
    relabeled = identity.relabeled(before, data)
    if relabeled:
        raise _refused(folder, "other labels", relabeled)
    changes = identity.changes(before, data)
    if moved and not identity.same_files(before, data):
        raise _refused(folder, "another data set", [*moved, *changes])
    return changes


def write_data(folder: pathlib.Path, data: identity.Identity) -> None:
    """Writes data.json: what a run that resumes compares its data with."""
    text = json.dumps(data.to_dict()) + "\n"
    atomic.write(folder / _DATA, text.encode())


def stored_architecture(folder: pathlib.Path) -> dict[str, Any] | None:
    """Returns what config.json says of the network and its normalization.

    Args:
      folder: the run folder, which `check` has passed.

    Returns:
      What `architecture_of` takes; None if there is no config.json.
    """
    path = folder / "config.json"
    if not path.is_file():
        return None
    stored = safe_files.read_json(path)
    names = ("network", "normalization", "record")
    return {name: stored[name] for name in names if name in stored}


def architecture_of(stored: Mapping[str, Any]) -> weights_lib.ResolvedWeights:
    """Returns the network and normalization of a run, without its weights.

    Args:
      stored: what `stored_architecture` returned.
    """
    network = keras_regnet.config.from_json(json.dumps(stored["network"]))
    # Runs from before the field was written have ImageNet's.
    normalization = stored.get("normalization", {})
    # Nor did they keep where their weights came from.
    record = stored.get("record")
    return weights_lib.ResolvedWeights(
        network,
        saved=record and ModelRecord.from_json(json.dumps(record)),
        **{name: tuple(values) for name, values in normalization.items()},
    )


def _check_writable(folder):
    """Raises if the folder cannot be made, before there is work to lose."""
    there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not there.is_dir():
        raise ValueError(
            f"`workdir` must be a folder, and {there} is a file. "
            f"Received: workdir={folder}"
        )
    if not os.access(there, os.W_OK):
        raise ValueError(
            f"`workdir` must be in a folder that can be written to, and "
            f"{there} is not one. Received: workdir={folder}"
        )


def remove_abandoned(folder: pathlib.Path) -> None:
    """Removes what a killed process had begun to write."""
    checkpoint.remove_abandoned(folder / "checkpoints")
    for name in _WRITTEN:
        atomic.remove_abandoned(folder, name)


def write_config(
    folder: pathlib.Path,
    config: train_config.TrainConfig,
    architecture: weights_lib.ResolvedWeights,
    weights_of_classes: Mapping[str, float] | None = None,
) -> None:
    """Writes config.json: all that is needed to repeat the run."""
    record = {
        "config": dataclasses.asdict(config),
        "network": json.loads(architecture.config.to_json()),
        "normalization": {
            "mean": architecture.mean,
            "std": architecture.std,
        },
        "class_weights": weights_of_classes,
        # Of what the run started from.
        "record": json.loads(architecture.model_record(0).to_json()),
        "command": sys.argv,
        "git_revision": _git_revision(),
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            "keras_regnet": keras_regnet.__version__,
        },
        "processor": str(processor.setting()),
        # Not the precision asked for where a processor lacks it.
        "dtype_policy": keras.config.dtype_policy().name,
    }
    text = json.dumps(record, indent=2) + "\n"
    atomic.write(folder / "config.json", text.encode())


def _git_revision():
    """Returns the checkout's revision, "+" if it has changes, or "unknown"."""
    git = shutil.which("git")
    if not git:
        return "unknown"
    root = pathlib.Path(__file__).resolve().parents[2]
    described = subprocess.run(
        [
            git,
            "-C",
            str(root),
            "describe",
            "--always",
            "--dirty=+",
            "--abbrev=40",
            "--exclude=*",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "unknown"


def columns(rows: Sequence[Mapping[str, float | None]]) -> tuple[str, ...]:
    """Returns the columns that the metrics of epochs have."""
    several = any(MULTILABEL_COLUMNS[0] in row for row in rows)
    return (*COLUMNS, *MULTILABEL_COLUMNS) if several else COLUMNS


def write_metrics(
    folder: pathlib.Path, rows: Sequence[Mapping[str, float | None]]
) -> None:
    """Writes metrics.csv, one row (see `columns`) per finished epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns(rows), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {
                name: f"{value:.6g}" if isinstance(value, float) else value
                for name, value in row.items()
            }
        )
    atomic.write(folder / "metrics.csv", text.getvalue().encode())
