"""From the argument `weights` to a model with those weights, in two steps.

`resolve` runs before a network is built: it finds the file, and what the
network must be to take its weights. `ResolvedWeights.assign` runs after.
"""

import dataclasses
import difflib
import os
import warnings
from pathlib import Path

import keras

from keras_regnet import variants
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import NetworkTemplate
from keras_regnet.config import RegNetConfig
from keras_regnet.weights import fetch
from keras_regnet.weights import files
from keras_regnet.weights import inspection
from keras_regnet.weights import loading
from keras_regnet.weights import mapping
from keras_regnet.weights import readers
from keras_regnet.weights import recognition
from keras_regnet.weights import records
from keras_regnet.weights.mapping import Source
from keras_regnet.weights.recognition import OUR_FORMAT
from keras_regnet.weights.recognition import Recognised
from keras_regnet.weights.records import WeightRecord

SUFFIXES = tuple(dict.fromkeys((*files.SUFFIXES, *readers.SUFFIXES)))
# The weights of a run folder that the trainer has finished.
RUN_MODEL = "model.keras"
_HEAD = "head_fc/"
# Fields of a network that may differ from those of the network a `.keras`
# file was saved from: the first is taken from the file, and a stem of another
# stride has the same weights.
_MAY_DIFFER = ("padding", "stem")


class UnknownNetworkError(ValueError):
    """A file does not tell of which network its weights are."""


@dataclasses.dataclass(frozen=True, eq=False)
class ResolvedWeights:
    """Weights that were found, and what a network must be to take them.

    Args:
      config: the network, with the padding and rounding of the weights.
      mean: of red, green and blue, which the model subtracts from 0..255.
      std: standard deviation, by which it divides.
      record: of the weights, None for none or those of an unknown file.
      path: the file, None for random weights.
      found: what the file holds, None for random weights.
    """

    config: RegNetConfig | AnyNetConfig
    mean: tuple[float, ...] = records.IMAGENET_MEAN
    std: tuple[float, ...] = records.IMAGENET_STD
    record: WeightRecord | None = None
    path: Path | None = None
    found: Recognised | None = None

    @property
    def classes(self) -> int:
        """Outputs of the classifier in the file, 0 if there is none."""
        return self.found.classes if self.found else 0

    @property
    def evaluation_record(self) -> WeightRecord | None:
        """The record that tells how these weights are evaluated.

        It is that of the weights; for a file of unknown hash, that of the
        published sets it can be, if all of them are evaluated alike. None if
        it is not known.
        """
        if self.record or not self.found:
            return self.record
        variant = self.found.variant()
        candidates = [
            record
            for record in records.of_format(self.found.format)
            if record.variant == variant and record.classes == self.classes
        ]
        ways = {
            (r.test_size, r.resize, r.interpolation, r.antialias)
            for r in candidates
        }
        return candidates[0] if len(ways) == 1 else None

    def without_weights(self) -> "ResolvedWeights":
        """Returns the same network and normalization, with random weights."""
        return dataclasses.replace(self, path=None, found=None)

    def assign(self, model: keras.Model) -> None:
        """Gives a model the weights, or leaves it as it is.

        A classifier of another number of classes keeps its values.

        Args:
          model: built from `config`.

        Raises:
          ValueError: if they do not fit.
        """
        if self.found is None:
            return
        tensors, sources = self._tensors_for(model)
        head = {path for path in sources if path.startswith(_HEAD)}
        outputs = {v.shape[-1] for v in model.weights if v.path in head}
        takes_head = outputs == {self.classes}
        try:
            loading.assign(
                model,
                tensors,
                sources,
                dropped=self.found.layouts[0].dropped,
                unfilled=() if takes_head else head,
                unused=() if takes_head else {sources[p].name for p in head},
                stem=mapping.first_kernel(self.config),
            )
        except ValueError as error:
            raise ValueError(
                f"The weights in {str(self.path)!r} do not fit the model "
                f"{model.name!r}: {error}"
            ) from error

    def _tensors_for(self, model):
        """Returns the tensors, and where the model's variables are in them."""
        found = self.found
        if found.format == OUR_FORMAT:
            return _by_layer(model, found.tensors)
        # A tag may stand for a file of another format than the caller's.
        same = self.record is not None and self.record.format == found.format
        order = self.record.channel_order if same else None
        sources = mapping.of_format(
            self.config, found.format, channel_order=order
        )
        return found.tensors, sources


def _by_layer(model, tensors):
    """Returns tensors that Keras saved, under the variables' own paths."""
    paths = {
        f"{layer.name}/{number}": variable.path
        for layer in model.layers
        for number, variable in enumerate(layer.weights)
    }
    named = tensors.renamed(lambda name: paths.get(name, name))
    head_in_file = [name for name in named if name.startswith(_HEAD)]
    sources = {
        path: Source(path, "same") for path in (*paths.values(), *head_in_file)
    }
    return named, sources


def _unloadable(path, reason, error=ValueError):
    return error(
        f"`weights` cannot be loaded: {reason} Received: weights={str(path)!r}"
    )


def resolve(
    weights: "str | os.PathLike | ResolvedWeights | None",
    config: RegNetConfig | AnyNetConfig | None = None,
    *,
    tag: str | None = None,
    classes: int | None = None,
    include_top: bool = True,
) -> ResolvedWeights:
    """Returns what must be built for the weights that were asked for.

    Args:
      weights: None for random weights; "imagenet" for the paper's; a tag of
        `keras_regnet.list_weights`; "hf:owner/name"; the path of a file; a
        folder of the trainer, whose `model.keras` it stands for; or what this
        function returned.
      config: the network that was asked for; None for the one that the file
        is of.
      tag: for a file, the weights that it is; its normalization follows.
      classes: outputs of the model; None for those of the weights.
      include_top: whether the model has a classifier.

    Returns:
      The resolved weights; files are fetched and read, and nothing is built.

    Raises:
      ImportError: if the file needs PyTorch, which is not installed.
      OSError: if a file cannot be fetched.
      UnknownNetworkError: if `config` is None and the file does not tell it.
      ValueError: if there are no such weights, they are another network's,
        or the file is damaged or unsafe.

    Example:
    >>> import keras_regnet
    >>> config = keras_regnet.get_config("RegNetX-200MF")
    >>> resolve(None, config).mean
    (123.675, 116.28, 103.53)
    """
    if isinstance(weights, ResolvedWeights):
        if config is not None:
            _check_network(weights, config)
        return weights
    if weights is None:
        return _random(config, tag)
    if isinstance(weights, os.PathLike):
        weights = Path(weights)
    record, path = _locate(weights, config, tag, include_top)
    if path.name.endswith(files.SUFFIXES) and readers.is_ours(path):
        resolved = _of_keras_file(config, record, path)
    else:
        resolved = _of_other_file(config, record, path)
    if include_top:
        name = resolved.record.tag if resolved.record else path.name
        _check_has_head(resolved.classes, name)
        _mention_other_classes(resolved.classes, classes, name)
    return resolved


def _random(config, tag):
    if tag is not None:
        raise ValueError(
            "`tag` says what the file `weights` is. Received: "
            f"weights=None, tag={tag!r}"
        )
    if config is None:
        raise ValueError(
            "`config` must be given where `weights` is None. "
            "Received: config=None"
        )
    return ResolvedWeights(config)


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


def names_a_file(weights: str) -> bool:
    """Returns whether `weights` is a file or on the hub, not a tag or folder.

    Args:
      weights: what `resolve` takes; such as these may tell their network.

    Example:
    >>> names_a_file("hf:timm/regnety_032.ra_in1k"), names_a_file("imagenet")
    (True, False)
    """
    return fetch.is_hub_source(weights) or weights.endswith(SUFFIXES)


def _check_network(resolved, config):
    if with_rules_of(resolved.config, config) != resolved.config:
        raise ValueError(
            "`weights` were resolved for another network. Received: "
            f"weights for {resolved.config}, config={config}"
        )


def _of_other_file(config, record, path):
    try:
        found = recognition.recognise(readers.read(path))
        config = _network(config, found, path)
    except UnknownNetworkError:
        raise
    except ValueError as error:
        raise _unloadable(path, error) from error
    if record is None:
        record = _record_of_hash(path, found)
    if record is None:
        _mention_licences(found)
    rules = record or records.typical(found.format, found.variant())
    config = dataclasses.replace(config, padding=rules.padding)
    return ResolvedWeights(config, rules.mean, rules.std, record, path, found)


def _of_keras_file(config, record, path):
    rules = files.saved_rules(path)
    try:
        found = recognition.recognise_ours(
            files.read(path), rules and rules.network
        )
        config = _network_of_ours(config, rules, found, path)
    except UnknownNetworkError:
        raise
    except ValueError as error:
        raise _unloadable(path, error) from error
    resolved = ResolvedWeights(config, path=path, found=found)
    if record is not None:
        rules = record
        config = dataclasses.replace(config, padding=record.padding)
        resolved = dataclasses.replace(resolved, config=config, record=record)
    if rules is None or rules.mean is None:
        return resolved
    return dataclasses.replace(resolved, mean=rules.mean, std=rules.std)


def _network_of_ours(config, rules, found, path):
    """Returns the network for a file that one of our models saved."""
    if config is None:
        return rules.network if rules else _network(None, found, path)
    if rules is None:
        return _of_same_widths(config, found)
    config = with_rules_of(rules.network, config)
    _check_same(rules.network, config)
    return config


def _of_same_widths(config, found):
    """Returns the network in the rounding of a file of weights alone.

    Names other than those of bottleneck blocks do not tell the stages, and
    the groups of a stage's first block may be others than its group width.
    """
    stages = [(stage.depth, stage.width) for stage in found.stages]
    for rounded in recognition.with_each_rounding(config):
        shapes = recognition.stage_shapes(rounded)
        if not stages or stages == [(s.depth, s.width) for s in shapes]:
            return rounded
    raise _other_network(found, config)


def _check_same(theirs, ours):
    """Raises if the network of a file is another than the one asked for."""
    their_name, our_name = map(recognition.name_of, (theirs, ours))
    if recognition.stage_shapes(theirs) != recognition.stage_shapes(ours):
        raise ValueError(
            f"it holds {their_name}, and asked for was {our_name}."
        )
    differing = [
        field.name
        for field in dataclasses.fields(NetworkTemplate)
        if field.name not in _MAY_DIFFER
        and getattr(theirs, field.name) != getattr(ours, field.name)
    ]
    if differing:
        raise ValueError(
            f"it holds {their_name} of {_values(theirs, differing)}, and asked "
            f"for was {our_name} of {_values(ours, differing)}."
        )


def _values(config, fields):
    return ", ".join(f"{name}={getattr(config, name)!r}" for name in fields)


def with_rules_of(
    source: RegNetConfig | AnyNetConfig | WeightRecord,
    config: RegNetConfig | AnyNetConfig,
) -> RegNetConfig | AnyNetConfig:
    """Returns a configuration with another's padding and width rounding.

    Args:
      source: has the rules; its rounding if it is not an `AnyNetConfig`.
      config: the network.
    """
    rules = {"padding": source.padding}
    if isinstance(config, RegNetConfig):
        rounding = getattr(source, "width_rounding", config.width_rounding)
        rules["width_rounding"] = rounding
    return dataclasses.replace(config, **rules)


def _network(config, found, path):
    """Returns the network in the rounding that the file's widths have."""
    if config is None:
        if found.variant() is None:
            raise _unloadable(
                path,
                f"it holds {found.describe()}, which is not a published "
                "network, so the network must be named too.",
                UnknownNetworkError,
            )
        return inspection.network(found)[1]
    for rounded in recognition.with_each_rounding(config):
        if found.fits(rounded):
            return rounded
    raise _other_network(found, config)


def _other_network(found, config):
    asked = recognition.name_of(config)
    return ValueError(
        f"it holds {found.describe()}, and asked for was {asked}."
    )


def _check_has_head(classes_of_weights, name):
    if not classes_of_weights:
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
    known = [r for r in records.of_format(found.format) if r.variant == network]
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
        for record in records.of_format(found.format)
        if record.variant == network
    ]
    known = inspection.published_as(path, candidates)
    record = known[0] if known else None
    _mention_licence(record)
    return record


def _locate(weights, config, tag, include_top):
    """Returns the record, if there is one, and the path of the file."""
    if fetch.is_hub_source(weights):
        record = _record_of_hub(str(weights))
        if tag is not None:
            record = _record(config, tag)
        _mention_licence(record)
        return record, Path(fetch.from_hub(str(weights)))
    if _is_path(weights):
        path = _file(Path(weights))
        record = None if tag is None else _record(config, tag)
        _mention_licence(record)
        return record, path
    if tag is not None:
        raise ValueError(
            "`tag` says what a file is, and `weights` is none. "
            f"Received: weights={weights!r}, tag={tag!r}"
        )
    record = _record(config, weights)
    if include_top:
        _check_has_head(record.classes, record.tag)
    _mention_licence(record)
    return record, Path(fetch.fetch(record, include_top=include_top))


def _is_path(weights):
    if not isinstance(weights, str | Path):
        raise ValueError(
            "`weights` must be None, a name, a path or a `ResolvedWeights`. "
            f"Received: weights={weights!r}"
        )
    if isinstance(weights, Path):
        return True
    is_name_of_file = weights.endswith(SUFFIXES) or os.sep in weights
    return is_name_of_file or (Path(weights) / RUN_MODEL).is_file()


def _file(path):
    """Returns the file that a path stands for."""
    if path.is_dir():
        path = path / RUN_MODEL
    _check_file(path)
    return path


def _check_file(path):
    if not path.name.endswith(SUFFIXES):
        raise ValueError(
            "`weights` must be a run folder, the path of a file that ends in "
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


def _record_of_hub(source):
    hub_id = source.removeprefix("hf:").split("@")[0]
    for record in records.all_records():
        if record.hub_id == hub_id:
            return record
    return None
