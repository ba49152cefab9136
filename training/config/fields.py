"""Fields of a configuration, each with its help text, bounds and choices."""

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any

from keras_regnet import errors
from keras_regnet import image_sizes

# The side of a square in pixels, or "HEIGHTxWIDTH".
Size = int | str

_SIMPLE_TYPES = (bool, int, float, str)

# What a run that resumes compares of a field: its value, nothing, or the
# network or the data set that it names.
VALUE = "value"
NOTHING = "nothing"
NETWORK = "network"
DATA = "data"


def field(
    default: Any,
    meaning: str,
    *,
    low: float | None = None,
    high: float = math.inf,
    or_zero: bool = False,
    choices: Sequence[str] = (),
    resume: str = VALUE,
) -> Any:
    """Returns a dataclass field.

    Args:
      default: the value where none is given.
      meaning: help text of the flag.
      low: smallest value allowed; None for any.
      high: largest value allowed; infinity for any finite value.
      or_zero: whether 0 is allowed below `low`.
      choices: the values allowed; empty for any.
      resume: what must be as it was where a run resumes: `VALUE`; `NETWORK` or
        `DATA`, which may go by another name; or `NOTHING`, for what changes no
        weight.
    """
    return dataclasses.field(
        default=default,
        metadata={
            "help": meaning,
            "low": low,
            "high": high,
            "or_zero": or_zero,
            "choices": tuple(choices),
            "resume": resume,
        },
    )


def choices(cls: type, name: str) -> tuple[str, ...]:
    """Returns the values that a field of a dataclass may have."""
    (found,) = [f for f in dataclasses.fields(cls) if f.name == name]
    return found.metadata["choices"]


def expand_paths(config: Any) -> None:
    """Replaces a leading "~" in the texts of a dataclass, frozen or not.

    A shell leaves it in "--workdir=~/run" as it is.
    """
    for each in dataclasses.fields(config):
        value = getattr(config, each.name)
        if isinstance(value, str):
            object.__setattr__(config, each.name, os.path.expanduser(value))


def shorten_sizes(config: Any) -> None:
    """Writes the sizes of a dataclass in one way: "64x64" as 64.

    Raises:
      ValueError: if one is not a size.
    """
    for each in dataclasses.fields(config):
        if each.type == Size:
            size = image_sizes.parse(each.name, getattr(config, each.name))
            object.__setattr__(config, each.name, image_sizes.short(size))


def check(config: Any) -> None:
    """Raises unless every field by itself has a value that it may have.

    Args:
      config: a dataclass whose fields are made by `field`.

    Raises:
      ValueError: naming the field, what is allowed and what was received.
    """
    for each in dataclasses.fields(config):
        value = getattr(config, each.name)
        if each.type in _SIMPLE_TYPES:
            _check_type(each.name, each.type, value)
        if each.metadata["choices"] and value not in each.metadata["choices"]:
            raise errors.unknown_value(
                each.name, value, each.metadata["choices"]
            )
        if each.metadata["low"] is not None:
            _check_bounds(each.name, each.metadata, value)


def _check_type(name, expected, value):
    allowed = (int, float) if expected is float else expected
    is_bool = isinstance(value, bool)
    if not isinstance(value, allowed) or is_bool != (expected is bool):
        raise ValueError(
            f"`{name}` must be of type {expected.__name__}. "
            f"Received: {name}={value!r}"
        )


def _check_bounds(name, bounds, value):
    low, high = bounds["low"], bounds["high"]
    numbers = value if isinstance(value, tuple) else [value]
    if isinstance(value, str):
        numbers = image_sizes.parse(name, value)
    # Not `value < low`: nan is wrong too.
    if all(low <= x <= high and x < math.inf for x in numbers):
        return
    if bounds["or_zero"] and value == 0:
        return
    if bounds["or_zero"]:
        allowed = f"0 or at least {low}"
    elif high == math.inf:
        allowed = f"finite and at least {low}"
    else:
        allowed = f"within {low} and {high}"
    raise ValueError(f"`{name}` must be {allowed}. Received: {name}={value}")
