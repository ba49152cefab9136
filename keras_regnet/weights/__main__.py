"""Lists, shows, converts, verifies and publishes weights.

python -m keras_regnet.weights list [PATTERN] [--licence=permissive]
python -m keras_regnet.weights defaults
python -m keras_regnet.weights show VARIANT TAG
python -m keras_regnet.weights verify FILE|RUN_FOLDER|hf:OWNER/NAME
python -m keras_regnet.weights convert IN OUT --format=timm
python -m keras_regnet.weights save_folder IN FOLDER [--licence=mit]
python -m keras_regnet.weights push IN OWNER/NAME [--licence=mit] [--private]
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

from absl import app
from absl import flags

import keras_regnet
from keras_regnet import atomic
from keras_regnet import errors
from keras_regnet import terminal
from keras_regnet import variants
from keras_regnet.weights import detect
from keras_regnet.weights import fetch
from keras_regnet.weights import hub_folder
from keras_regnet.weights import inspect
from keras_regnet.weights import locate
from keras_regnet.weights import records
from keras_regnet.weights import save

_COMMANDS = (
    *("list", "defaults", "show", "convert", "verify"),
    *("save_folder", "push"),
)
_KERAS_SUFFIXES = (".keras", ".weights.h5")
# Of its own, as other command lines have some of the same names.
_FLAGS = flags.FlagValues()
_FORMAT = flags.DEFINE_enum(
    "format",
    None,
    [*save.FORMATS, "keras"],
    "Whose names and layout `convert` writes; 'keras' is for OUT.keras and "
    "OUT.weights.h5.",
    flag_values=_FLAGS,
)
_TAG = flags.DEFINE_string(
    "tag",
    None,
    "Which published set IN is, where its hash does not tell.",
    flag_values=_FLAGS,
)
_SOURCE = flags.DEFINE_string(
    "source",
    None,
    "Whose files `list` shows, such as 'timm'.",
    flag_values=_FLAGS,
)
_LICENCE = flags.DEFINE_string(
    "licence",
    None,
    "Of what `list` shows: 'mit' ..., or 'permissive' for all that allow "
    "commercial use; of what is published, where it is not that of the set it "
    "came from.",
    flag_values=_FLAGS,
)
_CLASSES = flags.DEFINE_integer(
    "classes",
    None,
    "Outputs of the classifiers that `list` shows, 0 for none.",
    flag_values=_FLAGS,
)
_PRIVATE = flags.DEFINE_bool(
    "private",
    None,
    "Whether `push` makes a repository that others do not see.",
    flag_values=_FLAGS,
)
_FLAGS.mark_as_parsed()

_LIST_HEADER = (
    "network",
    "tag",
    "source",
    "classes",
    "size",
    "top-1",
    "license",
)
_DEFAULTS_HEADER = (
    "network",
    "default",
    "license",
    "size",
    "top-1",
    "imagenet",
    "points",
)
_STATISTICS_HEADER = (
    "part",
    "parameters",
    "kernels' std / initial",
    "gamma",
    "running variance",
)


def list_records(pattern: str | None = None, **filters: Any) -> str:
    """Returns a table of the published weights.

    Args:
      pattern: as of `keras_regnet.list_weights`. The default of each network
        is marked.
      **filters: the other arguments of `keras_regnet.list_weights`.

    Example:
    >>> print(list_records("RegNetX-4GF").splitlines()[2])
    | RegNetX-4.0GF | pycls_in1k (default) | timm | 1000 | 224 | 78.5 | mit |
    """
    rows = [
        (
            record.variant,
            f"{record.tag} (default)" if record.is_default else record.tag,
            record.source,
            str(record.classes or "none"),
            str(record.test_size),
            _percent(record.top1),
            record.licence,
        )
        for record in records.list_weights(pattern, **filters)
    ]
    return _table(_LIST_HEADER, rows)


def list_defaults() -> str:
    """Returns a table of what "default" and "imagenet" stand for.

    Example:
    >>> print(list_defaults().splitlines()[3])
    | RegNetX-400MF | tv2_in1k | bsd-3-clause | 224 | 74.6 | 72.5 | 2.1 |
    """
    rows = []
    for variant in variants.list_variants():
        record = records.default_record(variant)
        if record is None:
            continue
        paper = next(
            (
                r.top1
                for r in records.list_weights(variant, record.source)
                if r.tag == records.IMAGENET_TAG
            ),
            None,
        )
        best = record.top1
        gain = None if paper is None or best is None else best - paper
        rows.append(
            (
                variant,
                record.tag,
                record.licence,
                str(record.test_size),
                _percent(best) or "no classifier",
                _percent(paper),
                _percent(gain),
            )
        )
    return _table(_DEFAULTS_HEADER, rows)


def _percent(number):
    return "" if number is None else f"{number:.1f}"


def _table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def show(variant: str, tag: str) -> str:
    """Returns everything that is known of a published set of weights."""
    record = records.find(variant, tag)
    fields = {
        name: " ".join(map(str, value)) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(record).items()
        if value not in (None, "")
    }
    width = max(map(len, fields))
    lines = [f"{name:{width}}  {value}" for name, value in fields.items()]
    if not record.commercial:
        lines.append("No commercial use.")
    lines.append("Hash and accuracies are as published, and not checked here.")
    return "\n".join(lines)


def verify(path: str) -> tuple[str, bool]:
    """Returns what a file is, and whether anything speaks against it."""
    inspection = inspect.inspect(_file(path))
    problems = inspection.problems()
    checkpoint = inspection.checkpoint
    lines = [
        f"file     {inspection.path}",
        f"sha256   {inspection.sha256}",
        f"format   {checkpoint.format}",
        f"network  {inspection.variant}",
        f"classes  {checkpoint.classes or 'none'}",
        f"tag      {_tags(inspection)}",
        "",
        _table(_STATISTICS_HEADER, map(_statistics_row, inspection.statistics)),
        "",
        *problems,
    ]
    if not problems:
        lines.append("It is complete and looks trained.")
    return "\n".join(lines), not problems


def _file(source: str) -> Path:
    """Returns the file that stands for what `weights=` takes."""
    path = source if fetch.is_hub_source(source) else Path(source)
    return locate.locate(path, None, None, include_top=False)[1]


def _tags(inspection):
    if inspection.records:
        tags = ", ".join(record.full_tag for record in inspection.records)
        return f"{tags} (this hash was published)"
    file_format = inspection.checkpoint.format
    candidates = [
        record.tag
        for record in records.of_format(file_format, inspection.variant)
    ]
    unknown = "unknown: this hash was not published"
    if not candidates:
        return unknown
    return f"{unknown}; of these names there are: {', '.join(candidates)}"


def _statistics_row(row):
    low, high = row.variance_range
    return (
        row.part,
        f"{row.parameters:,}",
        f"{row.kernel_ratio:.2f}",
        _unless_nan(
            row.gamma_mean, f"{row.gamma_mean:.3f} ± {row.gamma_std:.3f}"
        ),
        _unless_nan(low, f"{low:.2g} to {high:.2g}"),
    )


def _unless_nan(value, text):
    return text if value == value else ""


def convert(source: str, target: str, file_format: str, tag: str | None) -> str:
    """Writes weights for another project, or for Keras 3."""
    suffixes = _KERAS_SUFFIXES if file_format == "keras" else save.SUFFIXES
    if not target.endswith(suffixes):
        raise errors.unknown_value("suffix of OUT", target, suffixes)
    model, what = _open(source, tag)
    if file_format == "keras":
        _save(model, Path(target))
    else:
        save.export(model, target, file_format)
    return f"Wrote {target}: {what}."


def _open(source, tag):
    """Returns the model of a file, and what it is in words."""
    path = _file(source)
    checkpoint, config = inspect.identify(path)
    model = keras_regnet.build(
        config,
        path,
        include_top=bool(checkpoint.classes),
        classes=checkpoint.classes or 1,
        tag=tag,
    )
    classes = checkpoint.classes or "no"
    return model, f"{detect.name_of(config)}, {classes} classes"


def publish(
    command: str,
    source: str,
    target: str,
    *,
    licence: str | None = None,
    tag: str | None = None,
    private: bool | None = None,
) -> str:
    """Writes a model as a folder of the hub, or pushes it there."""
    model, what = _open(source, tag)
    is_run = Path(source, locate.RUN_MODEL).is_file()
    options: dict[str, Any] = {"licence": licence}
    options["run_folder"] = source if is_run else None
    if command == "push":
        url = hub_folder.push(model, target, private=private, **options)
        return f"Pushed {what}: {url}"
    hub_folder.save_folder(model, target, **options)
    return f"Wrote {target}: {what}."


def _save(model, target):
    write = model.save if target.suffix == ".keras" else model.save_weights
    with atomic.replacing(target) as partial:
        write(partial)


def _arguments(command, arguments, names):
    """Raises unless there are as many arguments as names in capitals."""
    required = sum(not name.startswith("[") for name in names)
    if not required <= len(arguments) <= len(names):
        raise ValueError(
            f"Usage: python -m keras_regnet.weights {command} "
            f"{' '.join(names)}. Received: {arguments}"
        )
    return arguments


def _run(argv):
    """Runs a command; returns what to print and whether all is well."""
    command, *rest = argv
    if command == "list":
        _arguments(command, rest, ["[PATTERN]"])
        table = list_records(
            *rest,
            source=_SOURCE.value,
            licence=_LICENCE.value,
            classes=_CLASSES.value,
        )
        return table, True
    if command == "defaults":
        _arguments(command, rest, [])
        return list_defaults(), True
    if command == "show":
        return show(*_arguments(command, rest, ["VARIANT", "TAG"])), True
    if command == "verify":
        return verify(*_arguments(command, rest, ["FILE"]))
    if command in ("save_folder", "push"):
        names = ["IN", "FOLDER" if command == "save_folder" else "OWNER/NAME"]
        text = publish(
            command,
            *_arguments(command, rest, names),
            licence=_LICENCE.value,
            tag=_TAG.value,
            private=_PRIVATE.value,
        )
        return text, True
    if command == "convert":
        _arguments(command, rest, ["IN", "OUT"])
        if _FORMAT.value is None:
            raise ValueError(
                "`convert` needs --format=timm, torchvision, pycls or keras."
            )
        source, target = rest
        return convert(source, target, _FORMAT.value, _TAG.value), True
    raise errors.unknown_value("command", command, _COMMANDS)


def main(argv: list[str]) -> None:
    """Runs the command that the arguments name."""
    try:
        text, good = _run(argv[1:] or [""])
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    terminal.show(text)
    if not good:
        sys.exit(1)


def run() -> None:
    """Runs the command line."""
    flags.FLAGS.append_flag_values(_FLAGS)
    for name in _FLAGS:
        flags.declare_key_flag(name)
    app.run(main)


if __name__ == "__main__":
    run()
