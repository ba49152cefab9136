"""The bounds of a budget: who is inside, and which bounds leave nobody there.

A bound of a measure is (min, max), both allowed; to be lean, as the paper's
fits have it, is one more. All act in the same way.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from keras_regnet.design_space import limits

MEASURES = ("flops", "params", "activations")
Range = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class _RangeBound:
    name: str
    low: float
    high: float

    def outside(self, measures):
        measure = measures[MEASURES.index(self.name)]
        return (measure < self.low) | (measure > self.high)

    def distance(self, measures):
        """Logarithm of the ratio to the nearer end; 0 inside."""
        measure = measures[MEASURES.index(self.name)]
        end = np.clip(measure, self.low, self.high)
        return np.abs(np.log(np.maximum(end, 1) / np.maximum(measure, 1)))

    def admitting(self, counts):
        """The bound, moved as far as to admit a network."""
        count = counts[MEASURES.index(self.name)]
        low, high = min(self.low, count), max(self.high, count)
        return f"{self.name}={_as_text(low, high)}"

    def __str__(self):
        return f"{self.name}={_as_text(self.low, self.high)}"


class _LeanBound:
    name = "lean"

    def outside(self, measures):
        return ~limits.are_lean(*measures)

    def distance(self, measures):
        """Logarithm of the ratio to the fit that is exceeded more."""
        flops, params, activations = measures
        ratios = np.maximum(
            params / limits.max_params(flops),
            activations / limits.max_activations(flops),
        )
        return np.log(np.maximum(ratios, 1))

    def admitting(self, counts):
        del counts
        return "a space that is not lean"

    def __str__(self):
        return "a lean space"


def _as_text(low, high):
    ends = [f"{end:.15g}" for end in (low, high)]
    return f"({', '.join(ends)})"


class _Nearest:
    """The network of the least distance that was seen."""

    def __init__(self):
        self._distance = math.inf
        self.counts: list[int] = []

    def look_at(self, distance, measures):
        if not len(distance):
            return
        best = int(np.argmin(distance))
        if distance[best] < self._distance:
            self._distance = distance[best]
            self.counts = [int(measure[best]) for measure in measures]


class Bounds:
    """Ranges of complexity, and whether networks must be lean.

    It remembers which bounds the candidates broke that it was shown, how near
    the nearest came, and for each bound the nearest that broke no other.

    Args:
      ranges: (min, max) by the names of measures.
      lean: whether params and activations must stay under the paper's fits.
    """

    def __init__(self, ranges: Mapping[str, Range], lean: bool) -> None:
        self._bounds: list[_RangeBound | _LeanBound] = [
            _RangeBound(name, *ends) for name, ends in ranges.items()
        ]
        if lean:
            self._bounds.append(_LeanBound())
        self._seen: set[int] = set()
        self._nearest = _Nearest()
        self._broke_one = [_Nearest() for _ in self._bounds]

    def inside(self, measures: Sequence[np.ndarray]) -> np.ndarray:
        """Returns whether each of [m] networks is within all bounds."""
        inside = np.ones(len(measures[0]), bool)
        for bound in self._bounds:
            inside &= ~bound.outside(measures)
        return inside

    def remember(self, measures: Sequence[np.ndarray]) -> None:
        """Takes note of [m] networks of which none is inside."""
        # The set of bounds that a network breaks, a bit for each.
        broken = np.zeros(len(measures[0]), int)
        distance = np.zeros(len(broken))
        for index, bound in enumerate(self._bounds):
            broken |= bound.outside(measures).astype(int) << index
            distance += bound.distance(measures)
        self._seen.update(np.unique(broken).tolist())
        self._nearest.look_at(distance, measures)
        for index, nearest in enumerate(self._broke_one):
            only = broken == 1 << index
            nearest.look_at(distance[only], [x[only] for x in measures])

    def explanation(self) -> str:
        """Returns which bounds exclude all, and what would admit something."""
        excluding = ", and ".join(map(_together, self._excluding()))
        moved = " or ".join(
            bound.admitting(nearest.counts)
            for bound, nearest in zip(
                self._bounds, self._broke_one, strict=True
            )
            if nearest.counts
        )
        text = f"{excluding}."
        if moved:
            rest = ", the rest as it is" if len(self._bounds) > 1 else ""
            text += f" One would be admitted by {moved}{rest}."
        measured = zip(MEASURES, self._nearest.counts, strict=True)
        said = ", ".join(f"{count} {name}" for name, count in measured)
        return f"{text} The nearest had {said}."

    def _excluding(self) -> Iterable[tuple[str, ...]]:
        """The smallest sets of bounds of which every network breaks one."""
        indices = range(len(self._bounds))
        for size in range(1, len(self._bounds) + 1):
            found = [
                tuple(self._bounds[index].name for index in chosen)
                for chosen in itertools.combinations(indices, size)
                if all(
                    any(broken >> index & 1 for index in chosen)
                    for broken in self._seen
                )
            ]
            if found:
                return found
        return []

    def __str__(self) -> str:
        return ", ".join(map(str, self._bounds)) or "any complexity"


def _together(names):
    quoted = " and ".join(f"`{name}`" for name in names)
    if len(names) > 1:
        return f"{quoted} together exclude all of them"
    return f"{quoted} alone excludes all of them"
