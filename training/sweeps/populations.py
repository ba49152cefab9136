"""The sampling stage of a sweep: which trials there are.

A sweep's folder holds `sweep.json`, what was asked for, and `trials.jsonl`,
one trial a line in the order in which they are trained. The spaces take
turns, so that a sweep that is interrupted is balanced.
"""

import dataclasses
import json
import os
import pathlib
import re
import zlib
from typing import Any

import numpy as np

from keras_regnet import atomic
from keras_regnet import design_space
from keras_regnet import plan
from keras_regnet.design_space import records
from training.sweeps import regimes
from training.sweeps import trial as trial_lib

SPEC_FILE = "sweep.json"
TRIALS_FILE = "trials.jsonl"
_SPEC_TYPES = {
    "regime": str,
    "regime_fields": dict,
    "spaces": list,
    "n": int,
    "seed": int,
    "trials": int,
}
_NUMBER = r"\d+(?:\.\d+)?"
_RANGE = re.compile(rf"^(?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER})$")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """What a sweep consists of.

    Args:
      regime: name of the regime.
      spaces: each a name and restrictions, see `parse_space`.
      n: networks of each space.
      seed: of the samples.
      trials: seeds that each network is trained with.
    """

    regime: str
    spaces: tuple[str, ...]
    n: int
    seed: int = 0
    trials: int = 1

    def __post_init__(self) -> None:
        regimes.get(self.regime)
        if not self.spaces:
            raise ValueError(
                "`space` must be given at least once. Received: none"
            )
        parsed = [parse_space(text) for text in self.spaces]
        described = [(s.name, frozenset(s.restrictions)) for s in parsed]
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
        """Returns what `sweep.json` holds: the regime's fields as well."""
        fields = regimes.get(self.regime).to_dict()
        values = {**dataclasses.asdict(self), "regime_fields": fields}
        return {**values, "spaces": list(self.spaces)}


def parse_space(text: str) -> design_space.Space:
    """Returns the space that a flag describes.

    Args:
      text: a name and restrictions, as in "RegNetX w_m=2", "AnyNetX_C
        widths=falling" or "RegNetX depth=12..28".

    Returns:
      The space.

    Raises:
      ValueError: if there is no such space, or a restriction is impossible.
    """
    name, *restrictions = text.split() or [""]
    parsed = {}
    for restriction in restrictions:
        parameter, equals, value = restriction.partition("=")
        if not equals or not value:
            raise ValueError(
                "`space` must be a name and restrictions such as w_m=2, "
                "depth=12..28 or widths=falling, with spaces between. "
                f"Received: {text!r}"
            )
        if parameter in parsed:
            raise ValueError(
                "`space` must restrict each parameter once. "
                f"Received twice: {parameter} in {text!r}"
            )
        parsed[parameter] = _value(value)
    return design_space.space(name, **parsed)


def _value(text):
    if match := _RANGE.match(text):
        return float(match["low"]), float(match["high"])
    if text in ("True", "False"):
        return text == "True"
    try:
        return float(text)
    except ValueError:
        return text


def sample(spec: Spec, folder: str | os.PathLike) -> list[trial_lib.Trial]:
    """Draws the networks of a sweep, or finds that it was done.

    Args:
      spec: what the sweep consists of. A larger `n` or `trials`, or more
        spaces, add trials to those that there are.
      folder: of the sweep.

    Returns:
      The trials.

    Raises:
      ValueError: if the folder holds a sweep that is not part of this one.
    """
    folder = pathlib.Path(folder)
    path = folder / SPEC_FILE
    before = []
    if path.exists():
        _check_extends(spec, _read_spec(path), path)
        stored, before = load(folder)
        if stored == spec:
            return before
    drawn = [_trials(spec, text) for text in spec.spaces]
    trials = [t for turn in zip(*drawn, strict=True) for t in turn]
    if not {trial.trial for trial in before} <= {t.trial for t in trials}:
        raise ValueError(
            f"{path} was sampled by another version of keras_regnet, whose "
            "networks are no part of this sample: its trials can be trained, "
            "but none can be added."
        )
    lines = "".join(json.dumps(vars(trial)) + "\n" for trial in trials)
    _write(folder / TRIALS_FILE, lines)
    _write(path, json.dumps(spec.to_dict(), indent=2) + "\n")
    return trials


def _trials(spec, text):
    """Returns the trials of one space, all networks with the first seed first.

    The first networks of a larger sample are those of a smaller one.
    """
    regime = regimes.get(spec.regime)
    space = parse_space(text).vary(
        stem=regime.stem, stem_width=regime.stem_width, strides=regime.strides
    )
    rng = np.random.default_rng([spec.seed, zlib.crc32(text.encode())])
    side = regime.image_size
    drawn = space.sample(
        rng,
        n=spec.n,
        flops=regime.flops,
        input_shape=(side, side, 3),
        classes=regime.classes,
    )
    return [
        _trial(spec, text, drawn, index, repeat)
        for repeat in range(spec.trials)
        for index in range(spec.n)
    ]


def _trial(spec, text, drawn, index, repeat):
    config = drawn[index].to_json()
    # Another seed for every network, the same whatever else is sampled.
    entropy = [spec.seed, zlib.crc32(text.encode()), index, repeat]
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)
    return trial_lib.Trial(
        trial=trial_lib.identify(config, seed, spec.regime),
        space=text,
        index=index,
        seed=seed,
        regime=spec.regime,
        config=config,
        depth=sum(stage.depth for stage in plan.stages(drawn[index])),
        flops=int(drawn.flops[index]),
        params=int(drawn.params[index]),
        activations=int(drawn.activations[index]),
    )


def _check_extends(spec, stored, path):
    """Raises unless the stored sweep is part of the one asked for."""
    new = spec.to_dict()
    differing = [
        name
        for name in ("regime", "regime_fields", "seed")
        if stored[name] != new[name]
    ]
    if any(new[name] < stored[name] for name in ("n", "trials")):
        differing += ["n or trials (fewer)"]
    if set(stored["spaces"]) - set(new["spaces"]):
        differing += ["spaces (some are gone)"]
    if differing:
        raise ValueError(
            f"`out` holds another sweep: {', '.join(differing)} differ from "
            f"{path}. Continue it with its own flags, or use another folder."
        )


def _read_spec(path):
    try:
        stored = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(stored, dict):
        raise ValueError(f"{path} is no sweep: it must be a JSON object")
    wrong = sorted(_SPEC_TYPES.keys() ^ stored.keys())
    if wrong:
        raise ValueError(
            f"{path} is no sweep of this version. "
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


def load(folder: str | os.PathLike) -> tuple[Spec, list[trial_lib.Trial]]:
    """Returns a sweep's specification and trials.

    Args:
      folder: of the sweep.

    Returns:
      What `sample` was given, and what it returned.

    Raises:
      ValueError: if nothing was sampled there, or a regime has changed since.
    """
    folder = pathlib.Path(folder)
    path = folder / SPEC_FILE
    if not path.exists():
        raise ValueError(
            "`out` must be a folder in which a sweep was sampled: run "
            f"`sample` first. Received: out={str(folder)!r}"
        )
    stored = _read_spec(path)
    name = stored["regime"]
    if stored["regime_fields"] != regimes.get(name).to_dict():
        raise ValueError(
            f"{path} was made with another version of the regime {name!r}: "
            "its trials cannot be compared with new ones."
        )
    del stored["regime_fields"]
    spec = Spec(**{**stored, "spaces": tuple(stored["spaces"])})
    return spec, _read_trials(folder / TRIALS_FILE, spec)


def _read_trials(path, spec):
    try:
        lines = path.read_text().splitlines()
        trials = [trial_lib.Trial(**json.loads(line)) for line in lines]
        for number, trial in enumerate(trials, start=1):
            records.check_fields(vars(trial), f"line {number}")
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged, or of another version: {error}"
        ) from error
    # More is what a crash leaves of a sweep that was to grow.
    planned = spec.n * spec.trials * len(spec.spaces)
    if len(trials) < planned:
        raise ValueError(
            f"{path} is damaged: it must have {planned} trials, as "
            f"{SPEC_FILE} says. Received: {len(trials)}"
        )
    return trials


def _write(path, text):
    with atomic.replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
