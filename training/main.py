"""Trains a RegNet, as in `python training/main.py --strategy=mirrored`.

This file holds the flags and what they say when they are wrong; the work is
in train.train_and_evaluate, which can be imported. A recipe gives the
defaults; a flag that is not given leaves the recipe's value alone.
"""

import contextlib
import dataclasses
import logging as std_logging
import os
import pathlib
import sys
import tempfile
import traceback
from collections.abc import Iterator
from typing import NoReturn

from absl import app
from absl import flags
from absl import logging

# Run by path: modules are found from the checkout, not from this folder.
if __name__ == "__main__":
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

# The trainer is TensorFlow's, whatever backend the user has set for Keras.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

_TRAINING = pathlib.Path(__file__).resolve().parent

# What TensorFlow says on starting on a machine without a GPU.
_START_UP_NOISE = ("WARNING: All log messages before", "I0000", "cuInit")


@contextlib.contextmanager
def _without_start_up_noise() -> Iterator[None]:
    """Holds back stderr, and lets through what is not TensorFlow's greeting.

    It writes to the file descriptor and heeds no log level while it starts.
    """
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines():
                if not any(noise in line for noise in _START_UP_NOISE):
                    print(line, file=sys.stderr)


with _without_start_up_noise():
    import tensorflow as tf

    import keras_regnet
    from training.config import config as train_config
    from training.config import fields
    from training.config import recipes
    from training.trainer import dry_run
    from training.trainer import hooks as hooks_lib
    from training.trainer import input_speed
    from training.trainer import train

    # The driver is looked for here, once; not finding one is normal.
    tf.config.list_physical_devices()

_BENCHMARK_INPUT = flags.DEFINE_bool(
    "benchmark_input",
    False,
    "Measure images/s of the input pipeline alone, and train nothing.",
)
_DRY_RUN = flags.DEFINE_bool(
    "dry_run",
    False,
    "Print configuration, parameters, multiply-adds, steps and an estimate of "
    "the memory; train and write nothing.",
)
_DEFINE = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
    fields.Size: flags.DEFINE_string,
}
# One flag per field. None: not given.
_FIELDS = {
    field.name: _DEFINE[field.type](field.name, None, field.metadata["help"])
    for field in dataclasses.fields(train_config.TrainConfig)
}


def config_from_flags() -> train_config.TrainConfig:
    """Returns the recipe's configuration with the given flags in place."""
    given = {
        name: flag.value
        for name, flag in _FIELDS.items()
        if flag.value is not None
    }
    recipe = given.get("recipe", recipes.NAMES[0])
    config = recipes.get(recipe, given.get("variant", ""))
    config = dataclasses.replace(config, **given)
    workdir = config.workdir or str(pathlib.Path("runs") / config.recipe)
    return dataclasses.replace(config, workdir=workdir)


def parse_flags(arguments: list[str]) -> list[str]:
    """Parses flags as `app.run` does; what is wrong ends as one line."""
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        _print_error(error)
        sys.exit(1)


def main(arguments: list[str], hooks: hooks_lib.Hooks | None = None) -> None:
    """Trains as the flags say; ends the process.

    Args:
      arguments: what is left of the command line without flags.
      hooks: called at fixed points of the run.
    """
    _set_up_logging()
    try:
        if len(arguments) > 1:
            raise ValueError(f"Unexpected arguments: {arguments[1:]}")
        config = config_from_flags()
        if _DRY_RUN.value:
            print(dry_run.report(config))
        elif _BENCHMARK_INPUT.value:
            input_speed.measure(config)
        else:
            result = train.train_and_evaluate(config, hooks)
            _leave(0, result)
    except SystemExit as stopped:  # By SIGTERM, with nothing to save.
        _leave(stopped.code)
    except (ValueError, OSError) as error:
        if not _is_the_users(error):
            raise
        _print_error(error)
        _leave(1)


def _leave(code: int, result: train.Result | None = None) -> NoReturn:
    """Ends the process at once, where all is written.

    Python would first take down the input pipelines, whose threads may sleep
    for a minute: too long for a scheduler that has sent SIGTERM. Those of the
    `result` are never taken down.
    """
    del result
    std_logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _is_the_users(error: Exception) -> bool:
    """Returns whether an error is about what was requested, not a fault.

    Our own code raises ValueError for what it is given; one from within
    TensorFlow or Keras is unexpected and keeps its traceback.
    """
    if isinstance(error, OSError) and (
        error.filename is not None or isinstance(error, ConnectionError)
    ):
        return True
    *_, last = traceback.walk_tb(error.__traceback__)
    path = pathlib.Path(last[0].f_code.co_filename).resolve()
    package = pathlib.Path(keras_regnet.__file__).resolve().parent
    ours = (_TRAINING, package)
    return any(path.is_relative_to(folder) for folder in ours)


def _print_error(error: Exception) -> None:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)


class _Formatter(std_logging.Formatter):
    """Lines with the time of day; those above INFO name their level."""

    def __init__(self):
        super().__init__("%(asctime)s %(message)s", "%H:%M:%S")

    def format(self, record):
        line = super().format(record)
        if record.levelno > std_logging.INFO:
            return line.replace(" ", f" {record.levelname.lower()}: ", 1)
        return line


def _set_up_logging() -> None:
    """Shows our lines; of TensorFlow's, which share the log, warnings."""
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.INFO)
    handler = logging.get_absl_handler()
    handler.setFormatter(_Formatter())
    ours = str(_TRAINING)
    handler.addFilter(
        lambda record: (
            record.levelno > std_logging.INFO
            or os.path.abspath(record.pathname).startswith(ours)
        )
    )
    tf.get_logger().setLevel("WARNING")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
