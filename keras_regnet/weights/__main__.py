"""Lists, shows, converts and verifies weights.

python -m keras_regnet.weights list [VARIANT]
python -m keras_regnet.weights show VARIANT TAG
python -m keras_regnet.weights verify FILE
python -m keras_regnet.weights convert IN OUT --family=timm
"""

import dataclasses
import sys
from pathlib import Path

from absl import app
from absl import flags

import keras_regnet
from keras_regnet import atomic
from keras_regnet import errors
from keras_regnet.weights import exporting
from keras_regnet.weights import inspection
from keras_regnet.weights import recognition
from keras_regnet.weights import records

_KERAS_SUFFIXES = (".keras", ".weights.h5")
_FAMILY = flags.DEFINE_enum(
    "family",
    None,
    [*exporting.FORMATS, "keras"],
    "Whose names and layout `convert` writes; 'keras' is for OUT.keras and "
    "OUT.weights.h5.",
)
_TAG = flags.DEFINE_string(
    "tag",
    None,
    "Which published set IN of `convert` is, where its hash does not tell.",
)

_LIST_HEADER = (
    "network",
    "tag",
    "source",
    "classes",
    "size",
    "top-1",
    "licence",
)
_STATISTICS_HEADER = (
    "part",
    "parameters",
    "kernels' std / initial",
    "gamma",
    "running variance",
)


def list_records(variant: str | None = None) -> str:
    """Returns a table of the published weights.

    Args:
      variant: a network in any common spelling; None for all.

    Returns:
      Markdown, one line per record.

    Raises:
      ValueError: if there is no such variant.

    Example:
    >>> print(list_records("RegNetX-4GF").splitlines()[2])
    | RegNetX-4.0GF | pycls_in1k | timm | 1000 | 224 | 78.5 | mit |
    """
    rows = [
        (
            record.variant,
            record.tag,
            record.source,
            str(record.classes or "none"),
            str(record.test_size),
            "" if record.top1 is None else f"{record.top1:.1f}",
            record.licence,
        )
        for record in records.list_weights(variant)
    ]
    return _table(_LIST_HEADER, rows)


def _table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def show(variant: str, tag: str) -> str:
    """Returns everything that is known of a published set of weights.

    Args:
      variant: a network in any common spelling.
      tag: what `weights=` would be.

    Returns:
      One line per field.

    Raises:
      ValueError: if there are no such weights.
    """
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
    """Returns what a file is, and whether anything speaks against it.

    Args:
      path: of the file.

    Returns:
      Lines to print, and whether it is whole and looks trained.

    Raises:
      ImportError: if the file needs PyTorch, which is not installed.
      OSError: if there is no such file.
      ValueError: if the file is damaged, or of no published network.
    """
    found = inspection.inspect(path)
    problems = found.problems()
    lines = [
        f"file     {found.path}",
        f"sha256   {found.sha256}",
        f"format   {found.found.format}",
        f"network  {found.variant}",
        f"classes  {found.found.classes or 'none'}",
        f"tag      {_tags(found)}",
        "",
        _table(_STATISTICS_HEADER, map(_statistics_row, found.statistics)),
        "",
        *problems,
    ]
    if not problems:
        lines.append("It is complete and looks trained.")
    return "\n".join(lines), not problems


def _tags(found):
    if found.records:
        tags = ", ".join(record.full_tag for record in found.records)
        return f"{tags} (this hash was published)"
    candidates = [
        record.tag
        for record in records.of_format(found.found.format)
        if record.variant == found.variant
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


def convert(source: str, target: str, family: str, tag: str | None) -> str:
    """Writes weights for another project, or for Keras 3.

    Args:
      source: a file that `weights=` takes.
      target: the file to write; it appears when it is whole.
      family: a project of `weights.export`, or "keras".
      tag: which published set the file is; None for what its hash tells.

    Returns:
      A line to print.

    Raises:
      ImportError: if a file needs PyTorch, which is not installed.
      OSError: if a file cannot be read or written.
      ValueError: if the file is damaged, of no published network, or cannot
        be expressed so.
    """
    suffixes = _KERAS_SUFFIXES if family == "keras" else exporting.SUFFIXES
    if not target.endswith(suffixes):
        raise errors.unknown_value("suffix of OUT", target, suffixes)
    found, config = inspection.identify(source)
    model = keras_regnet.build(
        config,
        Path(source),
        include_top=bool(found.classes),
        classes=found.classes or 1,
        tag=tag,
    )
    if family == "keras":
        _save(model, Path(target))
    else:
        exporting.export(model, target, family)
    network = recognition.name_of(config)
    return f"Wrote {target}: {network}, {found.classes or 'no'} classes."


def _save(model, target):
    write = model.save if target.suffix == ".keras" else model.save_weights
    with atomic.replacing(target) as partial:
        write(partial)


def _arguments(command, arguments, names):
    """Raises unless there are as many arguments as names in capitals."""
    least = sum(not name.startswith("[") for name in names)
    if not least <= len(arguments) <= len(names):
        raise ValueError(
            f"Usage: python -m keras_regnet.weights {command} "
            f"{' '.join(names)}. Received: {arguments}"
        )
    return arguments


def _run(argv):
    """Runs a command; returns what to print and whether all is well."""
    command, *rest = argv
    if command == "list":
        return list_records(*_arguments(command, rest, ["[VARIANT]"])), True
    if command == "show":
        return show(*_arguments(command, rest, ["VARIANT", "TAG"])), True
    if command == "verify":
        return verify(*_arguments(command, rest, ["FILE"]))
    if command == "convert":
        _arguments(command, rest, ["IN", "OUT"])
        if _FAMILY.value is None:
            raise ValueError(
                "`convert` needs --family=timm, torchvision, pycls or keras."
            )
        return convert(*rest, _FAMILY.value, _TAG.value), True
    raise errors.unknown_value(
        "command", command, ("list", "show", "convert", "verify")
    )


def main(argv: list[str]) -> None:
    """Runs the command that the arguments name.

    Args:
      argv: the program's name, the command and its arguments.
    """
    try:
        text, good = _run(argv[1:] or [""])
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    print(text)
    if not good:
        sys.exit(1)


if __name__ == "__main__":
    app.run(main)
