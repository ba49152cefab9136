"""Measures keras_regnet beside others, and writes tables and pictures.

python -m benchmarks run --suite=NAME [--quick] [--output=FILE]
python -m benchmarks table [RESULT]
python -m benchmarks plot [RESULT]

`run` measures a suite, prints its table and writes its result; the same command
resumes a run that was interrupted. `table` and `plot` show a result; without
one they write the tables and the pictures of README.md and docs/.
"""

import dataclasses
import pathlib
import sys

from absl import flags

from benchmarks import result_table
from benchmarks.harness import child
from benchmarks.harness import progress as progress_lib
from benchmarks.harness import results
from benchmarks.harness import run as run_lib
from benchmarks.harness import spec
from benchmarks.suites import catalog

_DEFAULTS = spec.Options()
_QUICK_ROUNDS = 1
_QUICK_TURN_SECONDS = 0.01

# Not the global ones: other modules have flags of the same names.
_FLAGS = flags.FlagValues()


def _define(kind, name, default, text, **options):
    getattr(flags, f"DEFINE_{kind}")(
        name, default, help=text, flag_values=_FLAGS, **options
    )


_define("bool", "help", False, "Show this help.")
_define(
    "enum",
    "suite",
    None,
    "What to measure: "
    + "; ".join(f"{s.name}: {s.purpose}" for s in catalog.SUITES.values()),
    enum_values=list(catalog.SUITES),
)
_define("bool", "quick", False, "One round, small networks, short turns.")
_define("list", "networks", [], "These networks instead of the suite's own.")
_define(
    "list",
    "cases",
    [],
    "Only the cases whose names contain one of these; the reference stays.",
)
_define("list", "threads", [], "Numbers of threads instead of the suite's own.")
_define("integer", "rounds", None, "Rounds; by default 5.", lower_bound=1)
_define(
    "float",
    "turn_seconds",
    None,
    f"About how long a turn takes; by default {_DEFAULTS.turn_seconds:g}.",
    lower_bound=0.0,
)
_define(
    "string",
    "output",
    None,
    "File of the result; by default SUITE_INSTRUCTIONS.json in "
    "benchmarks/results, with the processor's instruction set.",
)
_define(
    "string",
    "cache",
    str(_DEFAULTS.cache),
    "Folder of the environments and of the files that are made once.",
)
_define(
    "string",
    "photos",
    "",
    "input: folder with train/ and val/; without it images are generated.",
)
_define("string", "pycls", "", "sampler: folder of a checkout of pycls.")
_define("string", "sweep", "", "sweep: folder of a sampled sweep.")


def _options() -> spec.Options:
    quick = _FLAGS.quick
    turn_seconds = _FLAGS.turn_seconds
    if turn_seconds is None:
        turn_seconds = _QUICK_TURN_SECONDS if quick else _DEFAULTS.turn_seconds
    networks = ()
    if _FLAGS.networks:
        asked = {"networks": _FLAGS.networks}
        networks = tuple(run_lib.ask("network_names", asked)["networks"])
    return spec.Options(
        quick=quick,
        networks=networks,
        threads=tuple(map(_positive, _FLAGS.threads)),
        turn_seconds=turn_seconds,
        cache=pathlib.Path(_FLAGS.cache),
        photos=_absolute(_FLAGS.photos),
        pycls=_absolute(_FLAGS.pycls),
        sweep=_absolute(_FLAGS.sweep),
    )


def _positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(
            "`threads` must be positive integers. "
            f"Received: threads={','.join(_FLAGS.threads)}"
        )
    return int(text)


def _absolute(path):
    """Returns the path of a folder as processes elsewhere see it."""
    if path and not pathlib.Path(path).expanduser().is_dir():
        raise ValueError(f"no such folder: {path}")
    return str(pathlib.Path(path).expanduser().resolve()) if path else ""


def _with_cases(settings):
    """Returns the settings with the cases that the flags admit."""
    if not _FLAGS.cases:
        return settings

    def admits(setting, name):
        fixed = name in (setting.reference, spec.MACHINE)
        return fixed or any(part in name for part in _FLAGS.cases)

    return [
        dataclasses.replace(
            setting,
            cases=tuple(c for c in setting.cases if admits(setting, c.name)),
        )
        for setting in settings
    ]


def _accelerated_backend() -> str:
    """Returns the first backend of Keras that has an accelerator.

    Raises:
      CaseError: if none has; says what each lacks.
    """
    reasons = []
    for backend in spec.ACCELERATED:
        variables = {"KERAS_BACKEND": backend}
        try:
            if run_lib.ask("accelerator_name", {}, variables)["name"]:
                return backend
            reasons.append(f"{backend} has none")
        except child.CaseError as error:
            reasons.append(f"{backend} {error}")
    raise child.CaseError(
        f"--suite={_FLAGS.suite} needs an accelerator: {'; '.join(reasons)}"
    )


def _machine(suite):
    backend = _accelerated_backend() if suite.accelerator else "tensorflow"
    job = {"turn_seconds": _QUICK_TURN_SECONDS}
    return run_lib.ask("machine", job, {"KERAS_BACKEND": backend})


def _output(suite, machine):
    if _FLAGS.output:
        return pathlib.Path(_FLAGS.output).expanduser().resolve()
    name = f"{suite.name}_{machine['instructions'].lower()}.json"
    folder = child.ROOT / "benchmarks/results"
    if _FLAGS.quick:  # Says nothing of speed.
        folder = pathlib.Path(_FLAGS.cache).resolve() / "quick"
    return folder / name


def _command(arguments):
    """Returns the command without the folders of this machine."""
    shown = []
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        if flag.lstrip("-") in ("photos", "pycls", "sweep", "cache"):
            value = flag.lstrip("-").upper()
        if flag.lstrip("-") == "output":
            value = pathlib.Path(value).name
        shown.append(f"{flag}{equals}{value}")
    return " ".join(["python -m benchmarks", *shown])


def _run(arguments: list[str]) -> int:
    """Measures a suite; returns 1 if a case failed."""
    if _FLAGS.suite is None:
        raise ValueError(
            f"--suite is needed: one of {', '.join(catalog.SUITES)}"
        )
    suite = catalog.SUITES[_FLAGS.suite]
    options = _options()
    settings = _with_cases(suite.settings(options))
    machine = _machine(suite)
    rounds = _FLAGS.rounds or (_QUICK_ROUNDS if options.quick else suite.rounds)
    path = _output(suite, machine)
    record = results.new(
        suite,
        _command(arguments),
        machine,
        rounds,
        options.turn_seconds,
        settings,
    )
    partial = results.Partial(path, record)
    progress = progress_lib.Progress(len(settings))
    if partial.resumed:
        progress.say("resuming an interrupted run")
    run_lib.Runner(suite, partial, options, progress).run(settings)
    print(result_table.text(partial.record))
    print(f"written: {path}")
    return int(any(_failed(partial.record)))


def _failed(record):
    return (
        "failed" in case
        for setting in record["settings"]
        for case in setting["cases"].values()
    )


def _table(paths: list[str]) -> int:
    if paths:
        for path in paths:
            print(result_table.text(results.read(pathlib.Path(path))))
        return 0
    # Only now: it imports Keras.
    from benchmarks import tables

    tables.write()
    return 0


def _plot(paths: list[str]) -> int:
    # Only now: matplotlib need not be installed for the rest.
    from benchmarks import plots

    if paths:
        for path in map(pathlib.Path, paths):
            print(f"written: {plots.draw(results.read(path), path)}")
        return 0
    from benchmarks import tables

    tables.write_pictures()
    return 0


def main(argv: list[str]) -> int:
    """Does what the command line names, and returns the exit status."""
    try:
        command, *positional = _FLAGS(argv)[1:] or [""]
        if _FLAGS.help:
            print(f"{__doc__}\n{_FLAGS.get_help()}")
            return 0
        if command == "run" and not positional:
            return _run(argv[1:])
        if command == "table":
            return _table(positional)
        if command == "plot":
            return _plot(positional)
        received = " ".join([command, *positional])
        raise ValueError(
            "A command is needed: run, table or plot; run takes flags alone. "
            f"Received: {received!r}"
        )
    except (ValueError, OSError, ImportError, flags.Error) as error:
        said = error
    except child.CaseError as error:
        said = error
    print(f"error: {' '.join(str(said).split())}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
