"""Records of trained networks: one flat line of JSON each.

A trial is a configuration, a seed and a regime; each attempt to train it
leaves one record. A file grows by appended, flushed and synchronized lines; a
last line without its end was truncated by a crash and is detected as such.
"""

import collections
import dataclasses
import functools
import gzip
import hashlib
import json
import math
import os
import pathlib
import typing
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Self

from keras_regnet import atomic
from keras_regnet import config as config_lib
from keras_regnet import plan
from keras_regnet import safe_files
from keras_regnet.complexity import complexity
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig

SCHEMA = 1
STATUSES = ("done", "failed")
# Fields that are stored under another name.
_STORED_NAMES = {"trial_id": "trial"}
# Fields that are stored only where they have a value: they came later.
_OPTIONAL = ("resolution",)
# What arrays hold.
_MAX_INT = 2**63 - 1
# A page asks each of up to some ten thousand records several times.
_parse_config = functools.lru_cache(16_384)(config_lib.from_json)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """A network that is to be trained with a seed, as a regime says.

    Args:
      trial_id: identifies configuration, seed and regime; stored as "trial".
      space: name of the space that the network was sampled from.
      index: its number in the sample.
      seed: of weights, shuffling and augmentation.
      regime: name of the regime.
      config: the network, as its `to_json` writes it.
      depth: number of blocks.
      flops: multiply-adds at the regime's resolution.
      params: number of parameters.
      activations: size of the outputs of all convolutions.
      resolution: side of the images in pixels, where it was sampled with the
        network; None for the regime's.
    """

    trial_id: str
    space: str
    index: int
    seed: int
    regime: str
    config: str
    depth: int
    flops: int
    params: int
    activations: int
    resolution: int | None = None

    @property
    def network(self) -> RegNetConfig | AnyNetConfig:
        """The configuration."""
        return _parse_config(self.config)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields under the names by which they are stored."""
        return {
            _STORED_NAMES.get(name, name): value
            for name, value in dataclasses.asdict(self).items()
            if name not in _OPTIONAL or value is not None
        }

    def to_json(self) -> str:
        """Returns the fields as one line of JSON, without the line's end."""
        return json.dumps(self.to_dict(), allow_nan=False)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "trial") -> Self:
        """Returns the trial that a parsed line describes.

        Args:
          values: the fields under their stored names.
          where: names the line in errors.

        Returns:
          A `Trial`.

        Raises:
          ValueError: if a field is missing, unknown or of another type, or
            `config` is not a configuration.
        """
        _check_fields(cls, values, where)
        # For mypy, `type[Self]` is not hashable.
        types = _stored_types(cls)  # type: ignore[arg-type]
        fields = {name: values[name] for name in types if name in values}
        fields["trial_id"] = fields.pop("trial")
        return cls(**fields)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record(Trial):
    """The result of one attempt at a trial.

    Errors are top-1 errors in percent; lists have one entry per epoch.

    Args:
      status: "done" or "failed".
      reason: why it failed; "" if it did not.
      attempt: 1 for the first.
      error: error after the last epoch, on all images that the regime
        measures on: its validation part, or its test images where it has
        none; None if the trial failed.
      train_losses: mean loss over each epoch's augmented images.
      train_errors: error over the same images.
      test_errors: error on the same images after each epoch.
      test_images: number of images used for it after each epoch.
      seconds_build: time to make the model.
      seconds_compile: time to trace and compile the steps.
      seconds_input: time to shuffle and augment.
      seconds_train: time in training steps.
      seconds_test: time in evaluation.
      seconds: wall time of the whole attempt.
      started: time of day at its start, UTC, ISO 8601.
      backend: Keras's backend.
      device: kind of device it ran on; of a CPU in brackets what it computed
        with, see `keras_regnet.processor`.
      versions: of Python and packages, as in "keras 3.15.1, numpy 2.4.0".
    """

    status: str
    reason: str = ""
    attempt: int = 1
    error: float | None = None
    train_losses: list[float] = dataclasses.field(default_factory=list)
    train_errors: list[float] = dataclasses.field(default_factory=list)
    test_errors: list[float] = dataclasses.field(default_factory=list)
    test_images: list[int] = dataclasses.field(default_factory=list)
    seconds_build: float = 0.0
    seconds_compile: float = 0.0
    seconds_input: float = 0.0
    seconds_train: float = 0.0
    seconds_test: float = 0.0
    seconds: float = 0.0
    started: str = ""
    backend: str = ""
    device: str = ""
    versions: str = ""

    @property
    def done(self) -> bool:
        """Whether the trial was trained to its end."""
        return self.status == "done"

    def to_dict(self) -> dict[str, Any]:
        """Returns the schema's version and all fields, flat."""
        return {"schema": SCHEMA, **super().to_dict()}

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], where: str = "record"
    ) -> Self:
        """Returns the record that a parsed line describes.

        Args:
          values: the schema's version, and the fields under their stored
            names.
          where: names the line in errors.

        Returns:
          A `Record`.

        Raises:
          ValueError: if the schema is another version, a field is missing,
            unknown or of another type, a status is unknown, `config` is not
            a configuration, or the error is not a percentage.
        """
        if not isinstance(values, dict) or "schema" not in values:
            raise ValueError(
                f"{where} is not a record of a trial: it must be a JSON "
                f"object with a `schema`. Received: {str(values)[:80]!r}"
            )
        schema = values["schema"]
        if type(schema) is not int or schema != SCHEMA:
            raise ValueError(
                f"{where} has another `schema`: this version of keras_regnet "
                f"reads {SCHEMA}. Received: schema={schema!r}"
            )
        fields = {k: v for k, v in values.items() if k != "schema"}
        record = super().from_dict(fields, where)
        _check_outcome(record, where)
        return record


@functools.cache
def _stored_types(kind: Any) -> dict[str, Any]:
    """Returns the types of a class's fields by their stored names."""
    types = typing.get_type_hints(kind)
    return {_STORED_NAMES.get(name, name): t for name, t in types.items()}


def _has_type(value, expected):
    if origin := typing.get_origin(expected):
        arguments = typing.get_args(expected)
        if origin is list:
            return isinstance(value, list) and all(
                _has_type(item, arguments[0]) for item in value
            )
        return any(_has_type(value, argument) for argument in arguments)
    if expected is float:
        is_number = isinstance(value, int | float)
        return (
            is_number and not isinstance(value, bool) and math.isfinite(value)
        )
    if expected is int and isinstance(value, int) and abs(value) > _MAX_INT:
        return False
    return isinstance(value, expected) and not isinstance(value, bool)


def _check_fields(kind, values, where):
    """Raises unless values are the fields of a class, each of its type."""
    if not isinstance(values, dict):
        raise ValueError(
            f"{where} must be a JSON object. Received: {str(values)[:80]!r}"
        )
    types = _stored_types(kind)
    wrong = sorted((types.keys() ^ values.keys()) - set(_OPTIONAL))
    if wrong:
        raise ValueError(
            f"{where} must have the fields of schema {SCHEMA}. Missing or "
            f"unknown: {', '.join(wrong)}"
        )
    for name, value in values.items():
        if not _has_type(value, types[name]):
            raise ValueError(
                f"{where}: `{name}` must be of type {types[name]}. "
                f"Received: {name}={str(value)[:80]!r}"
            )
    try:
        _parse_config(values["config"])
    except ValueError as error:
        raise ValueError(f"{where}: `config`: {error}") from error


def _check_outcome(record, where):
    """Raises unless status and error of a record go together."""
    status, error = record.status, record.error
    if status not in STATUSES:
        raise ValueError(
            f"{where}: `status` must be one of {STATUSES}. "
            f"Received: status={status!r}"
        )
    if record.done == (error is None):
        raise ValueError(
            f"{where}: there must be an `error` where `status` is 'done', "
            f"and only there. Received: status={status!r}, error={error!r}"
        )
    if not 0 <= (error or 0) <= 100:
        raise ValueError(
            f"{where}: `error` must be from 0 to 100 percent. "
            f"Received: error={error!r}"
        )


def from_networks(
    networks: Sequence[RegNetConfig | AnyNetConfig],
    errors: Sequence[float],
    *,
    space: str,
    regime: str,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    classes: int = 1000,
) -> list[Record]:
    """Returns records of networks that were trained elsewhere.

    Nothing is known of how: losses, errors by epoch and times are empty. A
    trial is told by its content, so that records of several calls may be put
    together; of what two calls have in common, analyses keep one.

    Args:
      networks: the configurations, [n].
      errors: top-1 test errors in percent, [n].
      space: name of the space that the networks were sampled from.
      regime: says how they were trained; only records of the same regime are
        compared.
      input_shape: of an image, for the complexity.
      classes: number of classes.

    Returns:
      One record for each network, in their order.

    Raises:
      ValueError: if there are not as many errors as networks, or one is
        not a percentage.

    Example:
    >>> config = AnyNetConfig((1, 2), (32, 64))
    >>> (record,) = from_networks([config], [31.5], space="A", regime="mine")
    >>> record.error, record.depth, record.params
    (31.5, 3, 169480)
    """
    if len(networks) != len(errors):
        raise ValueError(
            "`errors` must be as many as `networks`. Received: "
            f"{len(networks)} networks, {len(errors)} errors"
        )
    wrong = [error for error in errors if not 0 <= error <= 100]
    if wrong:
        raise ValueError(
            f"`errors` must be from 0 to 100 percent. Received: {wrong[0]}"
        )
    made: list[Record] = []
    seen: collections.Counter[str] = collections.Counter()
    pairs = zip(networks, errors, strict=True)
    for index, (network, error) in enumerate(pairs):
        counted = complexity(network, input_shape, classes=classes)
        content = _hash_of((space, regime, network.to_json(), float(error)))
        seen[content] += 1
        made.append(
            Record(
                trial_id=f"{space} {content} {seen[content]}",
                space=space,
                index=index,
                seed=0,
                regime=regime,
                config=network.to_json(),
                depth=sum(stage.depth for stage in plan.stages(network)),
                flops=counted.flops,
                params=counted.params,
                activations=counted.activations,
                status="done",
                error=float(error),
            )
        )
    return made


def _hash_of(values):
    """Returns a name of values that repeats in every process."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def read(path: str | os.PathLike) -> list[Record]:
    """Returns the records of a file, in the order in which they were written.

    Args:
      path: lines of JSON, packed by gzip if the name ends in ".gz".

    Returns:
      The records, failed attempts too; without a truncated last line.

    Raises:
      ValueError: if a line is not a record, naming the file and the line.
      FileNotFoundError: if there is no such file.
    """
    path = pathlib.Path(path)
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = safe_files.unpack_gzip(content, str(path))
    whole, _ = split_truncated(content)
    return [
        _parse(line, f"{path}, line {number}")
        for number, line in enumerate(whole.splitlines(), start=1)
    ]


def _parse(line, where):
    return Record.from_dict(safe_files.parse_json(line, where), where)


def split_truncated(content: bytes) -> tuple[bytes, bytes]:
    r"""Returns the whole lines of a file, and a truncated last line.

    Args:
      content: the file's bytes.

    Returns:
      The lines with their ends, and the rest, which is empty if nothing was
      truncated.

    Example:
    >>> split_truncated(b"one\ntwo\nthr")
    (b'one\ntwo\n', b'thr')
    """
    end = content.rfind(b"\n") + 1
    return content[:end], content[end:]


def write_packed(path: str | os.PathLike, records: Iterable[Record]) -> None:
    """Writes records packed by gzip; the file appears whole or not at all.

    Args:
      path: of the file, which is replaced; the same records give the same
        bytes.
      records: the records, in the order in which they are written.
    """
    lines = "".join(record.to_json() + "\n" for record in records)
    packed = gzip.compress(lines.encode(), compresslevel=9, mtime=0)
    with atomic.replacing(path) as partial:
        partial.write_bytes(packed)


class Log:
    """A file to which records are appended so that none is lost.

    Args:
      path: of the file, which is created if it does not exist. A last line
        that a crash truncated is removed, and kept in `truncated`.
    """

    def __init__(self, path: str | os.PathLike):
        self._path = pathlib.Path(path)
        # Unbuffered: what could not be written must not linger and be
        # written later.
        self._file = open(self._path, "ab+", buffering=0)  # noqa: SIM115
        self._file.seek(0)
        whole, self.truncated = split_truncated(self._file.read())
        if self.truncated:
            self._file.truncate(len(whole))
            os.fsync(self._file.fileno())

    def append(self, record: Record) -> None:
        """Writes a record to the disk.

        Args:
          record: what to write.

        Raises:
          OSError: if the disk is full or fails; the file is as before then.
        """
        size = os.fstat(self._file.fileno()).st_size
        left = record.to_json().encode() + b"\n"
        try:
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(size)
            raise OSError(error.errno, error.strerror, str(self._path)) from (
                error
            )

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def last_of_each_trial(records: Iterable[Record]) -> list[Record]:
    """Returns one record per trial: the one that finished, or the last.

    Args:
      records: in the order in which they were written.

    Returns:
      The records in the order of each trial's first.

    Raises:
      ValueError: if two trials of different networks have one id.
    """
    kept: dict[str, Record] = {}
    for record in records:
        first = kept.setdefault(record.trial_id, record)
        if (first.config, first.seed) != (record.config, record.seed):
            raise ValueError(
                "A trial must be of one network and seed. Received: two with "
                f"trial={record.trial_id!r}, #{first.index} and "
                f"#{record.index} of the space {record.space!r}; "
                "`from_networks` of today gives each an id of its own"
            )
        if record.trial_id not in kept or not kept[record.trial_id].done:
            kept[record.trial_id] = record
    return list(kept.values())


def by_space(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Returns the records of each space.

    Args:
      records: of any spaces.

    Returns:
      Lists of records by the spaces' names, in the order of appearance.
    """
    groups = collections.defaultdict(list)
    for record in records:
        groups[record.space].append(record)
    return dict(groups)
