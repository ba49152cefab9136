"""Published sets of weights with their accuracy, cost and speed."""

import dataclasses
import functools
import pathlib
from typing import NamedTuple

import keras_regnet
from benchmarks.harness import results
from keras_regnet import variants
from keras_regnet.weights import records

RESULTS = pathlib.Path(__file__).resolve().parent / "results"
_IMAGENET_CLASSES = 1000


class Evaluated(NamedTuple):
    """A published set of weights with its accuracy and what it costs."""

    record: records.WeightRecord
    multiply_adds: int
    params: int


@functools.cache
def permissive() -> list[Evaluated]:
    """Returns every set of a permissive license and of known accuracy.

    Where several sources publish a set, it is the first that says how accurate
    it is. Multiply-adds are those of the size of that evaluation.
    """
    return [e for e in every() if e.record.commercial]


@functools.cache
def every() -> list[Evaluated]:
    """Returns every set of known accuracy, whatever its license."""
    found = {}
    for record in records.all_records():
        if record.classes == _IMAGENET_CLASSES and record.top1:
            key = (record.variant, record.tag, record.commercial)
            found.setdefault(key, record)
    return [_evaluated(record) for record in found.values()]


def _evaluated(record):
    config = variants.get_config(record.variant)
    if isinstance(config, keras_regnet.RegNetConfig):
        config = dataclasses.replace(
            config, width_rounding=record.width_rounding
        )
    size = record.test_size
    counted = keras_regnet.complexity(config, (size, size, 3))
    return Evaluated(record, counted.flops, counted.params)


def best(variant: str) -> Evaluated:
    """Returns what `weights="default"` stands for."""
    record = records.default_record(variant)
    if record is None:
        raise ValueError(f"{variant} has no default weights")
    return _evaluated(record)


class Mobile(NamedTuple):
    """A network that was timed as LiteRT files, on one thread.

    Args:
      top1: percent, as published.
      multiply_adds: of one image.
      milliseconds: of one image, by the form of the file.
    """

    top1: float
    multiply_adds: int
    milliseconds: dict[str, float]


@functools.cache
def mobile() -> dict[str, Mobile]:
    """Returns what the suite litert measured, network by network."""
    found: dict[str, Mobile] = {}
    for setting in results.read(RESULTS / "mobile.json")["settings"]:
        if setting["labels"]["threads"] != 1:
            continue
        for case in setting["cases"].values():
            if "form" not in case["facts"]:
                continue  # The machine's limits.
            facts = case["facts"]
            network = found.setdefault(
                facts["network"],
                Mobile(facts["top1"], facts["multiply_adds"], {}),
            )
            seconds = results.median(case)
            network.milliseconds[facts["form"]] = 1e3 * seconds
    return found


def milliseconds(evaluated: Evaluated) -> dict[str, float]:
    """Returns the milliseconds of a set's network, if it was measured."""
    network = mobile().get(evaluated.record.variant)
    if network is None or network.multiply_adds != evaluated.multiply_adds:
        return {}  # Other widths, or another size.
    return network.milliseconds
