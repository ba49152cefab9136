"""From the argument `weights` to a file and the record of what is in it."""

import difflib
import os
import re
from pathlib import Path

from keras_regnet import variants
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.weights import fetch
from keras_regnet.weights import hub_config
from keras_regnet.weights import inspect
from keras_regnet.weights import notices
from keras_regnet.weights import readers
from keras_regnet.weights import records
from keras_regnet.weights.detect import DetectedCheckpoint
from keras_regnet.weights.readers import keras3_file
from keras_regnet.weights.records import WeightRecord
from keras_regnet.weights.rules import UnknownNetworkError

SUFFIXES = tuple(dict.fromkeys((*keras3_file.SUFFIXES, *readers.SUFFIXES)))
# The weights of a run folder that the trainer has finished.
RUN_MODEL = "model.keras"
RUN_SAVED_MODEL = "saved_model"
RUN_CONFIG = "config.json"
# A repository of the hub as people copy it; a path has no two slashes in a row.
_REPOSITORY = re.compile(
    r"(?:hf:/|https?:/huggingface\.co/)?([\w.-]+/[\w.-]+)", re.IGNORECASE
)


def locate(
    weights: str | Path,
    config: RegNetConfig | AnyNetConfig | None,
    tag: str | None,
    include_top: bool,
) -> tuple[WeightRecord | None, Path]:
    """Returns the record, if there is one, and the path of the file."""
    if fetch.is_hub_source(weights):
        record = _record_of_hub(str(weights))
        if tag is not None:
            record = _record(config, tag)
        notices.warn_of_license(record)
        path = Path(fetch.from_hub(str(weights)))
        if record is None:
            fetch.beside_on_hub(str(weights), path, hub_config.NAME)
        return record, path
    if _is_path(weights):
        path = _file(Path(weights))
        record = None if tag is None else _record(config, tag)
        notices.warn_of_license(record)
        return record, path
    if tag is not None:
        raise ValueError(
            "`tag` says what a file is, and `weights` is not a file. "
            f"Received: weights={weights!r}, tag={tag!r}"
        )
    record = _record(config, str(weights))
    if include_top:
        notices.check_has_head(record.classes, record.tag)
    notices.warn_of_license(record)
    return record, Path(fetch.fetch(record, include_top=include_top))


def names_a_file(weights: str) -> bool:
    """Returns whether `weights` is a file or on the hub, not a tag or folder.

    Example:
    >>> names_a_file("hf:timm/regnety_032.ra_in1k"), names_a_file("imagenet")
    (True, False)
    """
    return fetch.is_hub_source(weights) or weights.endswith(SUFFIXES)


def is_fetched(weights: str, config: RegNetConfig | AnyNetConfig) -> bool:
    """Returns whether `resolve` would look elsewhere than on this machine."""
    if fetch.is_hub_source(weights):
        return True
    if _is_path(weights):
        return False
    _record(config, weights)
    return True


def _is_path(weights):
    if not isinstance(weights, str | Path):
        raise ValueError(
            "`weights` must be None, a name, a path or a `ResolvedWeights`. "
            f"Received: weights={weights!r}"
        )
    if isinstance(weights, Path):
        return True
    if weights.endswith(SUFFIXES) or os.sep in weights:
        return True
    suffix = Path(weights).suffix
    if suffix and (Path(weights).is_file() or _is_nearly_suffix(suffix)):
        return True
    # A folder of another kind, such as a data set's, may be named as a tag is.
    return is_run_folder(Path(weights)) or is_hub_folder(Path(weights))


def _is_nearly_suffix(suffix):
    """Returns whether a suffix is a misspelled one of a file of weights."""
    return bool(difflib.get_close_matches(suffix, SUFFIXES, n=1, cutoff=0.75))


def is_run_folder(folder: Path) -> bool:
    """Returns whether a folder is one of the trainer's, finished or not."""
    return any((folder / name).is_file() for name in (RUN_MODEL, RUN_CONFIG))


def is_hub_folder(folder: Path) -> bool:
    """Returns whether a folder holds what a repository of the hub does.

    The model of a run that the trainer has finished comes before it.
    """
    names = (RUN_MODEL, *fetch.HUB_FILES)
    found = [name for name in names if (folder / name).is_file()]
    return bool(found) and found[0] != RUN_MODEL


def _file(path):
    """Returns the file that a path stands for."""
    path = path.expanduser()
    if path.is_dir():
        names = (RUN_MODEL, *fetch.HUB_FILES)
        found = [path / name for name in names if (path / name).is_file()]
        if not found:
            raise ValueError(
                "`weights` is a folder, and what a run writes there at its "
                f"end does not exist: {RUN_MODEL}; nor does what "
                f"`save_folder` writes: {fetch.HUB_FILES[0]}. "
                f"Received: weights={str(path)!r}"
            )
        path = found[0]
    _check_file(path)
    return path


def _check_file(path):
    if not path.name.endswith(SUFFIXES):
        raise ValueError(
            "`weights` must be a run folder, a folder that `save_folder` "
            "wrote, the path of a file that ends in "
            f"{', '.join(SUFFIXES)}, or 'hf:owner/name'.{_hub_hint(path)} "
            f"Received: weights={str(path)!r}"
        )
    if not path.is_file():
        siblings = [p.name for p in path.parent.glob("*") if p.is_file()]
        close = difflib.get_close_matches(path.name, siblings, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"`weights` names a file that does not exist.{hint} "
            f"Received: weights={str(path)!r}"
        )


def _hub_hint(path):
    """Returns what is meant where a repository of the hub is misspelled."""
    found = _REPOSITORY.fullmatch(path.as_posix())
    if found is None or path.parent.is_dir():
        return ""
    return f" Did you mean 'hf:{found[1]}'?"


def _record(
    config: RegNetConfig | AnyNetConfig | None, tag: str
) -> WeightRecord:
    if config is None:
        raise UnknownNetworkError(
            f"A tag of `weights` does not tell the network. Received: {tag!r}"
        )
    name = variants.find_name(config)
    if name is None:
        raise ValueError(
            "`weights` must be None or a path for a network that was not "
            f"published. Received: weights={tag!r}"
        )
    return records.find(name, tag)


def _record_of_hub(source: str) -> WeightRecord | None:
    hub_id, _ = fetch.hub_repository(source)
    for record in records.all_records():
        if record.hub_id == hub_id:
            return record
    return None


def record_of_hash(
    path: Path, checkpoint: DetectedCheckpoint
) -> WeightRecord | None:
    """Returns the record whose published hash the file has, or None.

    Files are read for it only where there is a hash to compare.
    """
    candidates = records.of_format(checkpoint.format, checkpoint.variant())
    known = inspect.published_as(path, candidates)
    record = known[0] if known else None
    notices.warn_of_license(record)
    return record
