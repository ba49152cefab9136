"""Samples networks from a space until there are enough in a budget."""

import collections
import dataclasses
import math
import numbers
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_regnet.complexity import check_input_shape
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.design_space import arrays
from keras_regnet.design_space import bounds as bounds_lib
from keras_regnet.design_space.bounds import Range

# Candidates at a time: their arrays fit in a core's cache. Another number
# would give the same networks.
CHUNK = 8192
# Nothing is accepted of so many times the candidates that one network of a
# sample may take: with 99.9 % it would not be complete in the end.
_HOPELESS = 7


@dataclasses.dataclass(frozen=True)
class Acceptance:
    """The fates of the candidates, up to the last one that was accepted.

    Args:
      candidates: how many were sampled.
      wrong_stages: had another number of stages than the space.
      outside: lay outside the ranges of complexity.
      duplicates: would have been built like one before.
      accepted: are in the sample.
    """

    candidates: int
    wrong_stages: int
    outside: int
    duplicates: int
    accepted: int

    @property
    def rate(self) -> float:
        """Fraction of the candidates that were accepted."""
        return self.accepted / self.candidates

    def __str__(self) -> str:
        return (
            f"{self.accepted} of {self.candidates} candidates "
            f"({self.rate:.2%}); {self.wrong_stages} with another number of "
            f"stages, {self.outside} outside the ranges, {self.duplicates} "
            "built like one before"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Sample(Sequence):
    """Networks sampled from a space: a sequence of configurations.

    Args:
      configs: the configurations, [n].
      flops: multiply-adds of each, [n].
      params: parameters, [n].
      activations: activations, [n].
      resolutions: side of the image of each, [n]; None if not sampled.
      acceptance: how many candidates it took.
    """

    configs: tuple[RegNetConfig | AnyNetConfig, ...]
    flops: np.ndarray
    params: np.ndarray
    activations: np.ndarray
    resolutions: np.ndarray | None
    acceptance: Acceptance

    def __len__(self) -> int:
        return len(self.configs)

    def __getitem__(self, index: int | slice) -> Any:
        return self.configs[index]


def check_range(name: str, value: object) -> Range:
    """Returns a (min, max) pair of numbers.

    Example:
    >>> check_range("flops", (360e6, 400e6))
    (360000000.0, 400000000.0)
    """
    pair = tuple(value) if isinstance(value, list | tuple) else ()
    numeric = len(pair) == 2 and all(
        isinstance(end, numbers.Real) and not math.isnan(end) for end in pair
    )
    possible = numeric and pair[0] <= pair[1]
    if not possible or pair[1] < 0 or pair[0] == math.inf:
        raise ValueError(
            f"`{name}` must be (min, max), two numbers in order, with "
            "a positive finite number between them. "
            f"Received: {name}={value!r}"
        )
    return pair


def check_counts(**counts: int) -> None:
    """Raises unless all arguments are integers above 0."""
    for name, value in counts.items():
        if not isinstance(value, numbers.Integral) or value < 1:
            raise ValueError(
                f"`{name}` must be an integer above 0. "
                f"Received: {name}={value!r}"
            )


def sample(
    space: Any,
    rng: np.random.Generator,
    n: int,
    ranges: Mapping[str, Range | None],
    input_shape: tuple[int, int, int],
    classes: int,
    max_candidates: int,
    min_networks: int | None = None,
) -> Sample:
    """Samples different networks until there are enough; see `Space.sample`.

    With fewer than `min_networks` (n by default) after `max_candidates`, it
    raises.
    """
    check_counts(n=n, classes=classes, max_candidates=max_candidates)
    check_input_shape(input_shape)
    if not isinstance(rng, np.random.Generator):
        raise ValueError(
            "`rng` must be a NumPy generator, such as "
            f"np.random.default_rng(0). Received: rng={rng!r}"
        )
    given = {
        name: check_range(name, ends)
        for name, ends in ranges.items()
        if ends is not None
    }
    bounds = bounds_lib.Bounds(given, space.lean)
    search = _Search(space, bounds, n, input_shape, classes)
    # A generator of our own, so that `rng` moves on by the same amount
    # whatever the search takes.
    seed = rng.integers(2**63, size=2).tolist()
    own = np.random.Generator(np.random.PCG64(seed))
    needed = min_networks or n
    if_none = min(max_candidates, _HOPELESS * max_candidates / needed)
    while not search.complete and search.candidates < (
        max_candidates if search.accepted else if_none
    ):
        search.look_at(own.random((CHUNK, space.numbers)).T)
    if search.accepted < needed:
        raise ValueError(search.failure())
    return search.result()


class _Search:
    """The state of one search: counts, what was accepted."""

    def __init__(self, space, bounds, n, input_shape, classes):
        self._space, self._bounds, self._n = space, bounds, n
        self._input_shape, self._classes = input_shape, classes
        self.candidates = 0
        self._fates: collections.Counter[str] = collections.Counter()
        self._seen: set[tuple[bytes, int | None]] = set()
        self._kept: list[tuple[Any, list[int], int | None]] = []

    @property
    def accepted(self):
        return len(self._kept)

    @property
    def complete(self):
        return self.accepted == self._n

    def look_at(self, uniforms):
        """Accepts what it may of a chunk of numbers, [space.numbers, m]."""
        candidates = self._space.candidates(uniforms)
        sides = candidates.parameters.get("resolution")
        size = self._input_shape[:2] if sides is None else (*sides, *sides)
        measures = arrays.complexity(
            candidates.networks,
            self._space.template,
            self._space.strides,
            size,
            self._input_shape[2],
            self._classes,
        )
        inside = self._bounds.inside(measures)
        if not (self._kept or inside.any()):
            self._bounds.remember(measures)
        duplicates, end = self._accept(candidates, measures, inside)
        # Only what came before the last one needed is counted.
        end = uniforms.shape[1] if end is None else end
        built = int(np.searchsorted(candidates.indices, end))
        self.candidates += end
        self._fates["wrong_stages"] += end - built
        self._fates["outside"] += int((~inside[:built]).sum())
        self._fates["duplicates"] += duplicates

    def _accept(self, candidates, measures, inside):
        """Returns the number of duplicates, and where the sample was full."""
        duplicates = 0
        sides = candidates.parameters.get("resolution")
        for index in np.flatnonzero(inside):
            network = candidates.networks.take([index])
            columns = [column.ravel() for column in vars(network).values()]
            key = b"".join(column.tobytes() for column in columns)
            side = None if sides is None else int(sides[0, index])
            if (key, side) in self._seen:
                duplicates += 1
                continue
            self._seen.add((key, side))
            config = self._space.config(candidates, index)
            counts = [int(measure[index]) for measure in measures]
            self._kept.append((config, counts, side))
            if self.complete:
                return duplicates, int(candidates.indices[index]) + 1
        return duplicates, None

    def result(self):
        configs, counts, sides = zip(*self._kept, strict=True)
        flops, params, activations = np.array(counts).T
        return Sample(
            configs,
            flops,
            params,
            activations,
            None if sides[0] is None else np.array(sides),
            Acceptance(
                candidates=self.candidates,
                accepted=len(configs),
                **self._fates,
            ),
        )

    def failure(self):
        """Returns the message: what excludes networks, or how few there are."""
        outside = self._fates["outside"]
        received = (
            f"Received: n={self._n}, {self._bounds}, at input_shape="
            f"{self._input_shape}"
        )
        if not self._kept and outside:
            return (
                f"{self._space!r} has no network within the bounds among "
                f"{outside} candidates of {self._space.stages} stages: "
                f"{self._bounds.explanation()} {received}"
            )
        return (
            f"{self._space!r} has too few: {self.accepted} different networks "
            f"among {self.candidates} candidates, of which "
            f"{self._fates['wrong_stages']} had another number of stages, "
            f"{outside} lay outside, and {self._fates['duplicates']} were "
            f"built like one before. {received}"
        )
