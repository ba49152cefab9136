"""From the argument `weights` to a filled model, in two steps.

`resolve` is asked before a network is built: which file it is, and what the
network needs to use it. `Request.fill` is asked after.
"""

import dataclasses
import difflib
import os
import warnings
from pathlib import Path

import keras

from keras_regnet import variants
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.weights import fetch
from keras_regnet.weights import files
from keras_regnet.weights import inspection
from keras_regnet.weights import loading
from keras_regnet.weights import names
from keras_regnet.weights import readers
from keras_regnet.weights import recognition
from keras_regnet.weights import records
from keras_regnet.weights.recognition import Recognised
from keras_regnet.weights.records import WeightRecord
from keras_regnet.weights.tensors import Tensors

SUFFIXES = tuple(dict.fromkeys((*files.SUFFIXES, *readers.SUFFIXES)))


@dataclasses.dataclass(frozen=True)
class Request:
    """What a network must be to take the weights that were asked for.

    Args:
      config: the network, with the padding and rounding of the weights.
      mean: of red, green and blue, which the model subtracts from 0..255.
      std: what it divides by.
      record: of the weights, None for none or those of an unknown file.
      path: the file, None for random weights.
      found: what the file holds, None for a file that Keras saved.
      saved: the tensors of a file that Keras saved, None for others.
    """

    config: RegNetConfig | AnyNetConfig
    mean: tuple[float, ...] = records.IMAGENET_MEAN
    std: tuple[float, ...] = records.IMAGENET_STD
    record: WeightRecord | None = None
    path: Path | None = None
    found: Recognised | None = None
    saved: Tensors | None = None

    def fill(self, model: keras.Model) -> None:
        """Gives the model the weights, or leaves it as it is.

        Args:
          model: built from `config`.

        Raises:
          ValueError: if they do not fit.
        """
        if self.path is None:
            return
        try:
            if self.found is None:
                files.fill(model, self.saved)
            else:
                _fill(model, self.found, self.config, self.record)
        except ValueError as error:
            raise _unfit(self.path, model.name, error) from error


def _unloadable(path, reason):
    return ValueError(
        f"`weights` cannot be loaded: {reason} Received: weights={str(path)!r}"
    )


def _unfit(path, name, reason):
    return ValueError(
        f"The weights in {str(path)!r} do not fit the model {name!r}: {reason}"
    )


def _fill(model, found, config, record):
    # A tag may stand for a file of another family than the caller's.
    same = record is not None and record.family == found.family
    order = record.channel_order if same else None
    whole = names.mapping(config, found.family, True, order)
    body = names.mapping(config, found.family, False, order)
    head = {path: whole[path] for path in whole.keys() - body.keys()}
    outputs = [v.shape[-1] for v in model.weights if v.path in head]
    takes_head = bool(outputs) and outputs[0] == found.classes
    loading.fill(
        model,
        found.tensors,
        whole if takes_head else body,
        dropped=found.layouts[0].dropped,
        unfilled=() if takes_head else head.keys(),
        unused=() if takes_head else {source.name for source in head.values()},
        stem=names.first_kernel(config),
    )


def resolve(
    weights: "str | os.PathLike | Request | None",
    config: RegNetConfig | AnyNetConfig,
    *,
    tag: str | None = None,
    classes: int | None = 1000,
) -> Request:
    """Returns what must be built for the weights that were asked for.

    Args:
      weights: None for random weights; "imagenet" for the paper's; a tag of
        `keras_regnet.list_weights`; "hf:owner/name"; the path of a file; or
        what this function returned.
      config: the network that was asked for.
      tag: for a file, the weights that it is; its normalisation follows.
      classes: outputs of the model, None without the top.

    Returns:
      The request; files are fetched and recognised, and nothing is built.

    Raises:
      ImportError: if the file needs PyTorch, which is not installed.
      OSError: if a file cannot be fetched.
      ValueError: if there are no such weights, they are another network's,
        or the file is damaged or unsafe.
    """
    if isinstance(weights, Request):
        _check_network(weights, config)
        return weights
    if weights is None:
        if tag is not None:
            raise ValueError(
                "`tag` says what the file `weights` is. Received: "
                f"weights=None, tag={tag!r}"
            )
        return Request(config)
    if isinstance(weights, os.PathLike):
        weights = Path(weights)
    record, path = _locate(weights, config, tag, classes)
    if path.name.endswith(files.SUFFIXES) and readers.is_ours(path):
        return _of_keras_file(config, record, path, classes)
    return _of_other_file(config, record, path, classes)


def is_fetched(weights: str, config: RegNetConfig | AnyNetConfig) -> bool:
    """Returns whether `resolve` would look elsewhere than on this machine.

    Args:
      weights: a tag, "hf:owner/name" or the path of a file.
      config: the network that was asked for.

    Raises:
      ValueError: if the network has no weights of that tag.
    """
    if fetch.is_hub_source(weights):
        return True
    if _is_path(weights):
        return False
    _record(config, weights)
    return True


def _check_network(request, config):
    if _with_rules_of(request.config, config) != request.config:
        raise ValueError(
            "`weights` were resolved for another network. Received: "
            f"weights for {request.config}, config={config}"
        )


def _of_other_file(config, record, path, classes):
    try:
        found = recognition.recognise(readers.read(path))
        config = _fitting(config, found)
    except ValueError as error:
        raise _unloadable(path, error) from error
    if record is None:
        record = _record_of_hash(path, found)
    if record is None:
        _mention_licences(found)
    name = record.tag if record else path.name
    _check_has_head(found.classes, classes, name)
    _mention_other_classes(found.classes, classes, name)
    rules = record or records.typical(found.family, found.variant())
    config = dataclasses.replace(config, padding=rules.padding)
    return Request(config, rules.mean, rules.std, record, path, found)


def _of_keras_file(config, record, path, classes):
    try:
        saved = files.read(path)
    except ValueError as error:
        raise _unloadable(path, error) from error
    _check_has_head(files.classes(saved), classes, path.name)
    _mention_other_classes(files.classes(saved), classes, path.name)
    request = Request(config, path=path, saved=saved)
    rules = record or files.saved_rules(path)
    if rules is None:
        return request
    network = record or rules.network
    request = dataclasses.replace(
        request, config=_with_rules_of(network, config), record=record
    )
    if rules.mean is None:
        return request
    return dataclasses.replace(request, mean=rules.mean, std=rules.std)


def _with_rules_of(source, config):
    """Returns a configuration with another's padding and rounding."""
    rules = {"padding": source.padding}
    if isinstance(config, RegNetConfig):
        rounding = getattr(source, "width_rounding", config.width_rounding)
        rules["width_rounding"] = rounding
    return dataclasses.replace(config, **rules)


def _fitting(config, found):
    """Returns the configuration in the rounding that the file's widths have."""
    for rounded in recognition.with_each_rounding(config):
        if found.fits(rounded):
            return rounded
    asked = recognition.name_of(config)
    raise ValueError(f"it holds {found.describe()}, and asked for was {asked}.")


def _check_has_head(classes_of_weights, classes, name):
    if classes is not None and not classes_of_weights:
        raise ValueError(
            f"{name!r} has no classifier: these weights come from training "
            "without labels, without the top, or with other layers in its "
            "place. Pass `include_top=False`; "
            'with `pooling="avg"`, `keras_regnet.replace_head` adds a '
            "classifier to train."
        )


def _mention_other_classes(classes_of_weights, classes, name):
    if classes not in (None, classes_of_weights):
        warnings.warn(
            f"{name!r} classifies {classes_of_weights} classes and the model "
            f"{classes}: everything but the classifier is loaded, which "
            "starts at random.",
            stacklevel=2,
        )


def _mention_licence(record):
    if record is not None and not record.commercial:
        warnings.warn(
            f"The weights {record.tag!r} of {record.variant} are under the "
            f"licence {record.licence!r}, which allows no commercial use.",
            stacklevel=2,
        )


def _mention_licences(found):
    """Warns of an unknown file of names that only non-commercial sets have."""
    network = found.variant()
    known = [r for r in records.of_family(found.family) if r.variant == network]
    if known and not any(record.commercial for record in known):
        warnings.warn(
            f"The file holds {found.describe()}. Such weights were published "
            f"under the licence {known[0].licence!r} alone, which allows no "
            "commercial use.",
            stacklevel=2,
        )


def _record_of_hash(path, found):
    """Returns the record whose published hash the file has, or None.

    Files are read for it only where there is a hash to compare.
    """
    network = found.variant()
    candidates = [
        record
        for record in records.of_family(found.family)
        if record.variant == network
    ]
    known = inspection.published_as(path, candidates)
    record = known[0] if known else None
    _mention_licence(record)
    return record


def _locate(weights, config, tag, classes):
    """Returns the record, if there is one, and the path of the file."""
    if fetch.is_hub_source(weights):
        record = _record_of_hub(str(weights))
        if tag is not None:
            record = _record(config, tag)
        _mention_licence(record)
        return record, Path(fetch.from_hub(str(weights)))
    if _is_path(weights):
        _check_file(Path(weights))
        record = None if tag is None else _record(config, tag)
        _mention_licence(record)
        return record, Path(weights)
    if tag is not None:
        raise ValueError(
            "`tag` says what a file is, and `weights` is none. "
            f"Received: weights={weights!r}, tag={tag!r}"
        )
    record = _record(config, weights)
    _check_has_head(record.classes, classes, record.tag)
    _mention_licence(record)
    return record, Path(fetch.fetch(record, include_top=classes is not None))


def _is_path(weights):
    if not isinstance(weights, str | Path):
        raise ValueError(
            "`weights` must be None, a name, a path or a `Request`. "
            f"Received: weights={weights!r}"
        )
    if isinstance(weights, Path):
        return True
    return weights.endswith(SUFFIXES) or os.sep in weights


def _check_file(path):
    if not path.name.endswith(SUFFIXES):
        raise ValueError(
            "`weights` must be the path of a file that ends in "
            f"{', '.join(SUFFIXES)}, or 'hf:owner/name'. "
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


def _record(config, tag):
    name = variants.find_name(config)
    if name is None:
        raise ValueError(
            "`weights` must be None or a path for a network that was not "
            f"published. Received: weights={tag!r}"
        )
    return records.find(name, tag)


def _record_of_hub(source):
    hub_id = source.removeprefix("hf:").split("@")[0]
    for record in records.all_records():
        if record.hub_id == hub_id:
            return record
    return None
