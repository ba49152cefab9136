"""The specification of a sweep, and the trials that are sampled from it.

A sweep's folder holds `sweep.json`, its specification, and `trials.jsonl`,
one trial a line in the order in which they are trained. The spaces take
turns, so that a sweep that is interrupted is balanced.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_regnet import atomic
from keras_regnet import config as config_lib
from keras_regnet import design_space
from keras_regnet import plan
from keras_regnet import safe_files
from keras_regnet.config import NetworkTemplate
from keras_regnet.design_space import domains
from keras_regnet.design_space.records import Trial
from training.sweeps import files
from training.sweeps import given
from training.sweeps import latencies
from training.sweeps.regimes import Regime

_SPEC_TYPES = {
    "regime": str,
    "regime_fields": dict,
    "spaces": list,
    "n": int,
    "seed": int,
    "trials": int,
}
# Networks that are measured at least for each that is to be within a budget
# of latency, a few seconds each.
_MIN_MEASURED = 30
_NUMBER = r"\d+(?:\.\d+)?"
_RANGE = re.compile(rf"^(?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER})$")
_LIST = re.compile(rf"^{_NUMBER}(,{_NUMBER})+$")
# Fields of networks that a space may have otherwise; the stem is the regime's.
_FIELDS = {field.name for field in dataclasses.fields(NetworkTemplate)} - {
    "block",
    "stem",
    "stem_width",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """The networks, seeds and regime of a sweep.

    Args:
      regime: data and training.
      spaces: each a name and restrictions, see `parse_space`, or a file of
        networks, see `given`.
      n: number of networks of each space.
      seed: of the samples.
      trials: number of seeds that each network is trained with.
    """

    regime: Regime
    spaces: tuple[str, ...]
    n: int
    seed: int = 0
    trials: int = 1

    def __post_init__(self) -> None:
        if not self.spaces:
            raise ValueError(
                "`space` must be given at least once. Received: none"
            )
        described = [_described(text) for text in self.spaces]
        repeated = {
            text
            for text, space in zip(self.spaces, described, strict=True)
            if described.count(space) > 1
        }
        if repeated:
            raise ValueError(
                "`space` must name each space once. "
                f"Received twice: {', '.join(sorted(repeated))}"
            )
        if self.seed < 0:
            raise ValueError(
                f"`seed` must not be negative. Received: seed={self.seed}"
            )
        for name in ("n", "trials"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"`{name}` must be above 0. "
                    f"Received: {name}={getattr(self, name)}"
                )

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of `sweep.json`, with the regime's fields."""
        return {
            "regime": self.regime.name,
            "spaces": list(self.spaces),
            "n": self.n,
            "seed": self.seed,
            "trials": self.trials,
            "regime_fields": self.regime.to_dict(),
        }


def _described(text):
    """Returns what a space is, however it is written."""
    if given.is_file(text):
        return text
    space = parse_space(text)
    return space.name, frozenset(space.restrictions)


def parse_space(text: str) -> design_space.Space:
    """Returns the space of a flag such as "RegNetX w_m=2 depth=12..28".

    Restrictions narrow it. A list of values, as in group_width=16,32 or
    resolution=32,48,64, and a field of the networks, as in activation=silu,
    take the place of what it has (`Space.vary`).
    """
    name, *restrictions = text.split() or [""]
    parsed, changes = {}, {}
    for restriction in restrictions:
        parameter, equals, value = restriction.partition("=")
        if not equals or not value:
            raise ValueError(
                "`space` must be a name and restrictions such as w_m=2, "
                "depth=12..28 or widths=falling, with spaces between. "
                f"Received: {text!r}"
            )
        if parameter in parsed or parameter in changes:
            raise ValueError(
                "`space` must restrict each parameter once. "
                f"Received twice: {parameter} in {text!r}"
            )
        if _LIST.match(value):
            numbers = map(_number, value.split(","))
            changes[parameter] = domains.uniform(numbers)
        elif parameter in _FIELDS:
            changes[parameter] = _value(value)
        else:
            parsed[parameter] = _value(value)
    space = design_space.space(name, **parsed)
    return space.vary(**changes) if changes else space


def _number(text):
    """Returns a number, an integer where it is whole: widths are integers."""
    number = float(text)
    return int(number) if number.is_integer() else number


def _value(text):
    if match := _RANGE.match(text):
        return float(match["low"]), float(match["high"])
    if text in ("True", "False"):
        return text == "True"
    try:
        return _number(text)
    except ValueError:
        return text


def sample(spec: Spec, folder: str | os.PathLike) -> list[Trial]:
    """Samples the trials of a sweep, unless its folder has them already.

    A larger `n` or `trials`, or more spaces, add trials to those there are; a
    folder with a sweep that is not part of this one is an error.
    """
    folder = pathlib.Path(folder)
    path = folder / files.SPEC
    before = []
    if path.exists():
        stored, before = load(folder)
        _check_extends(spec, stored, path)
        # The same regime keeps the name that is part of the trials' ids.
        kept = dataclasses.replace(stored.regime, dataset=spec.regime.dataset)
        spec = dataclasses.replace(spec, regime=kept)
        if stored == spec and not any(map(given.is_file, spec.spaces)):
            return before
    with latencies.Latencies(folder, spec.regime) as measured:
        samples = [_trials(spec, text, measured) for text in spec.spaces]
    trials = [t for turn in zip(*samples, strict=True) for t in turn]
    if not {t.trial_id for t in before} <= {t.trial_id for t in trials}:
        raise ValueError(
            f"{path} was sampled by another version of keras_regnet, or from a "
            "file of other networks, which are not part of this sample: its "
            "trials can be trained, but none can be added."
        )
    lines = "".join(trial.to_json() + "\n" for trial in trials)
    if measured.measured:
        stored_ms = json.dumps(measured.measured, indent=0) + "\n"
        _write(folder / files.LATENCIES, stored_ms)
    _write(folder / files.TRIALS, lines)
    _write(path, json.dumps(spec.to_dict(), indent=2) + "\n")
    return trials


def _trials(spec, text, measured):
    """Returns the trials of one space, all networks with the first seed first.

    The first networks of a larger sample are those of a smaller one.
    """
    networks, chosen = _networks(spec, text, measured)
    return [
        _trial(spec, text, networks, place, index, repeat)
        for repeat in range(spec.trials)
        for index, place in enumerate(chosen)
    ]


def _networks(spec, text, measured):
    """Returns networks, and the places of those that are trained."""
    regime = spec.regime
    chosen = list(range(spec.n))
    if given.is_file(text):
        return given.read(text, spec.n, regime), chosen
    space = parse_space(text).vary(
        stem=regime.stem, stem_width=regime.stem_width, strides=regime.strides
    )
    if regime.latency_ms is None:
        return _sample(spec, text, space, spec.n), chosen
    if space.resolutions is not None:
        raise ValueError(
            "`latency_ms` must be left out for a space whose resolution is "
            f"sampled: it is measured at one. Received: {text}"
        )
    return _fast_enough(spec, text, space, measured)


def _sample(spec, text, space, n):
    """Returns n networks in the budget, the first ones whatever n is."""
    regime = spec.regime
    side = regime.image_size
    return space.sample(
        np.random.default_rng([spec.seed, zlib.crc32(text.encode())]),
        n=n,
        flops=regime.flops,
        params=regime.params,
        activations=regime.activations,
        input_shape=(side, side, 3),
        classes=regime.classes,
    )


def _fast_enough(spec, text, space, measured):
    """Returns networks, and the places of the first n in the latency budget."""
    low, high = spec.regime.latency_ms
    seen, chosen = [], []
    while True:
        start, count = len(seen), max(spec.n, 2 * len(seen))
        networks = _sample(spec, text, space, count)
        for place in range(start, count):
            seen.append(measured.of(networks[place].to_json()))
            if low <= seen[-1] <= high:
                chosen.append(place)
            print(
                f"{text}: {seen[-1]:.3g} ms; {len(chosen)} of {spec.n} found "
                f"among {len(seen)}",
                flush=True,
            )
            if len(chosen) == spec.n:
                return networks, chosen
            if len(seen) == _MIN_MEASURED * (1 + len(chosen)):
                raise _too_slow(spec, text, seen, chosen)


def _too_slow(spec, text, seen, chosen):
    low, high = spec.regime.latency_ms
    nearest = min(seen, key=lambda ms: max(low / ms, ms / max(high, 1e-9)))
    return ValueError(
        f"{text} has too few networks with `latency_ms` within {low:g} and "
        f"{high:g} on this machine: {len(chosen)} among {len(seen)} that were "
        f"measured, of {min(seen):.3g} to {max(seen):.3g} ms; the nearest "
        f"bound that admits one is {nearest:.3g} ms. Received: n={spec.n}"
    )


def _trial(spec, text, networks, place, index, repeat):
    network = networks.configs[place]
    config = network.to_json()
    sides = networks.resolutions
    resolution = None if sides is None else int(sides[place])
    # Another seed for every network, the same whatever else is sampled.
    entropy = [spec.seed, zlib.crc32(text.encode()), index, repeat]
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)
    return Trial(
        trial_id=identify(config, seed, spec.regime, resolution),
        space=text,
        index=index,
        seed=seed,
        regime=spec.regime.name,
        config=config,
        depth=sum(stage.depth for stage in plan.stages(network)),
        flops=int(networks.flops[place]),
        params=int(networks.params[place]),
        activations=int(networks.activations[place]),
        resolution=resolution,
    )


def identify(
    config: str, seed: int, regime: Regime, resolution: int | None = None
) -> str:
    """Returns a trial's id, 16 hexadecimal digits.

    It depends on the network (the JSON of its configuration), on the seed, on
    the regime and on a resolution of the network's own, but not on fields with
    their default values: a later version may have more.
    """
    network = config_lib.from_json(config)
    kind = type(network).__name__
    described = [kind, _changed_fields(network), seed, regime.name]
    described.append(regime.identity())
    if resolution is not None:
        described.append(resolution)
    content = json.dumps(described, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _changed_fields(instance):
    """Returns the fields of a dataclass whose values are not the defaults."""
    return {
        field.name: getattr(instance, field.name)
        for field in dataclasses.fields(instance)
        if getattr(instance, field.name) != field.default
    }


def _check_extends(spec, stored, path):
    """Raises unless the stored sweep is part of the requested one."""
    before, now = stored.regime.identity(), spec.regime.identity()
    names = sorted(before.keys() | now.keys())
    differing = [n for n in names if before.get(n) != now.get(n)]
    if differing == ["data_digest"]:
        raise ValueError(
            f"{spec.regime.dataset} has other images, or under other names, "
            f"than when {path} was sampled: its trials cannot be compared "
            "with new ones. Use another folder."
        )
    if stored.seed != spec.seed:
        differing += ["seed"]
    if spec.n < stored.n or spec.trials < stored.trials:
        differing += ["n or trials (fewer)"]
    if set(stored.spaces) - set(spec.spaces):
        differing += ["spaces (some are gone)"]
    if differing:
        raise ValueError(
            f"`out` holds another sweep: {', '.join(differing)} differ from "
            f"{path}. Continue it with its own flags, or use another folder."
        )


def check_sampled(
    folder: str | os.PathLike,
    given: Mapping[str, Any],
    fields: Mapping[str, Any],
) -> None:
    """Raises unless a sweep was sampled as is said.

    Args:
      folder: of the sweep.
      given: fields of its `Spec`.
      fields: fields of its regime.

    Raises:
      ValueError: naming those that differ.
    """
    stored = load_spec(folder)
    differing = [
        name
        for instance, said in ((stored, given), (stored.regime, fields))
        for name, value in said.items()
        if getattr(instance, name) != value
    ]
    if differing:
        raise ValueError(
            f"`out` holds another sweep: {', '.join(differing)} differ from "
            f"{pathlib.Path(folder) / files.SPEC}. After `sample`, leave such "
            "flags out, or use another folder."
        )


def _read_spec(path):
    stored = safe_files.read_json(path)
    if not isinstance(stored, dict):
        raise ValueError(f"{path} is not a sweep: it must be a JSON object")
    wrong = sorted(_SPEC_TYPES.keys() ^ stored.keys())
    if wrong:
        raise ValueError(
            f"{path} is not a sweep of this version. "
            f"Missing or unknown: {', '.join(wrong)}"
        )
    for name, kind in _SPEC_TYPES.items():
        if type(stored[name]) is not kind:
            raise ValueError(
                f"{path}: `{name}` must be of type {kind.__name__}. "
                f"Received: {name}={stored[name]!r}"
            )
    if not all(isinstance(space, str) for space in stored["spaces"]):
        raise ValueError(
            f"{path}: `spaces` must be names. "
            f"Received: spaces={stored['spaces']!r}"
        )
    return stored


def load(folder: str | os.PathLike) -> tuple[Spec, list[Trial]]:
    """Returns a sweep's specification and trials.

    Raises:
      ValueError: if nothing was sampled there, or a file is damaged.
    """
    spec = load_spec(folder)
    return spec, _read_trials(pathlib.Path(folder) / files.TRIALS, spec)


def load_spec(folder: str | os.PathLike) -> Spec:
    """Returns a sweep's specification; raises as `load`."""
    path = pathlib.Path(folder) / files.SPEC
    if not path.exists():
        raise ValueError(
            "`out` must be a folder in which a sweep was sampled: run "
            f"`sample` first. Received: out={str(folder)!r}"
        )
    stored = _read_spec(path)
    try:
        # Not the preset of that name: it may have changed since.
        regime = Regime.from_dict(stored["regime"], stored.pop("regime_fields"))
    except ValueError as error:
        raise ValueError(f"{path}: `regime_fields`: {error}") from error
    spaces = tuple(stored["spaces"])
    return Spec(**{**stored, "regime": regime, "spaces": spaces})


def _read_trials(path, spec):
    try:
        lines = path.read_text().splitlines()
        trials = [
            Trial.from_dict(safe_files.parse_json(line, "it"), f"line {number}")
            for number, line in enumerate(lines, start=1)
        ]
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged, or of another version: {error}"
        ) from error
    # A crash while a sweep grew leaves more than there must be.
    planned = spec.n * spec.trials * len(spec.spaces)
    if len(trials) < planned:
        raise ValueError(
            f"{path} is damaged: it must have {planned} trials, as "
            f"{files.SPEC} says. Received: {len(trials)}"
        )
    return trials


def _write(path, text):
    with atomic.replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
