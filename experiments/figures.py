"""Figures of experiments, as the paper draws them, as SVG.

Error EDFs with the band that holds a whole distribution with 95 %; error
against a property, with the interval of its best value.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_regnet import atomic
from keras_regnet import design_space
from keras_regnet.design_space import charts
from keras_regnet.design_space import page_data
from keras_regnet.design_space import records
from keras_regnet.design_space import summary
from keras_regnet.design_space.summary import Population

_SEED = 0
# Points of error left and right of the curves.
_AROUND = 1.0


@dataclasses.dataclass(frozen=True)
class Edfs:
    """A figure of error EDFs.

    Args:
      name: of the file, without its ending.
      title: the question that it answers.
      spaces: keys of the experiment's spaces.
    """

    name: str
    title: str
    spaces: tuple[str, ...]

    def draw(self, populations: Sequence[Population]) -> str:
        """Returns the figure as SVG."""
        return edfs(populations, self.title)


@dataclasses.dataclass(frozen=True)
class Scatter:
    """A figure of error against a property of one space's networks.

    Args:
      name: of the file, without its ending.
      title: the question that it answers.
      spaces: the one key of the experiment's spaces.
      parameter: one of `page_data.properties`.
    """

    name: str
    title: str
    spaces: tuple[str]
    parameter: str

    def draw(self, populations: Sequence[Population]) -> str:
        """Returns the figure as SVG."""
        (population,) = populations
        return scatter(population, self.parameter, self.title)


def edfs(populations: Sequence[Population], title: str) -> str:
    """Returns the error EDFs of populations, with their bands, as SVG."""
    errors = np.concatenate([p.errors for p in populations])
    ends = errors.min() - _AROUND, errors.max() + _AROUND
    data: dict[str, list[dict[str, Any]]] = {"edf": [], "band": []}
    for population in populations:
        label = _label(population)
        for row in _steps(population.errors, ends):
            for name, rows in data.items():
                rows.append({"space": label, **row[name]})
    return charts.edf_picture([_label(p) for p in populations], data, title)


def _steps(errors, ends):
    """Yields what an EDF and its band are from each error on."""
    starts = np.concatenate([[ends[0]], np.sort(errors), [ends[1]]])
    # Of an EDF an error counts behind it.
    behind = np.nextafter(starts, np.inf)
    shares = design_space.edf(errors, behind)
    low, high = design_space.edf_confidence_band(errors, behind)
    for start, *values in zip(starts, shares, low, high, strict=True):
        share, bottom, top = (round(float(value), 4) for value in values)
        where = {"error": round(float(start), 4)}
        yield {
            "edf": {**where, "share": share},
            "band": {**where, "low": bottom, "high": top},
        }


def scatter(population: Population, parameter: str, title: str) -> str:
    """Returns errors against a property, with its best value, as SVG."""
    values = [page_data.properties(r)[parameter] for r in population.done]
    best = design_space.bootstrap_best(
        values, population.errors, np.random.default_rng(_SEED)
    )
    label = _label(population)
    points = [
        {
            "space": label,
            "index": record.index,
            "error": record.error,
            "value": value,
        }
        for record, value in zip(population.done, values, strict=True)
    ]
    data = {"points": points, "best": [best._asdict()]}
    axis = (
        f"{page_data.PROPERTIES[parameter]}; best: {best.median:g} "
        f"[{best.low:g}, {best.high:g}]"
    )
    return charts.scatter_picture([label], data, title, axis)


def _label(population):
    """Returns a space with its size, lowest and mean error, as the paper."""
    errors = population.errors
    return (
        f"{population.space}: n = {len(errors)}, "
        f"[{errors.min():.1f}, {errors.mean():.1f}]"
    )


def write(
    folder: str | os.PathLike,
    figures: Sequence[Edfs | Scatter],
    spaces: Mapping[str, str],
    found: Sequence[records.Record],
) -> str:
    """Writes figures, and returns Markdown that shows them.

    Figures of spaces with too few networks are left out.

    Args:
      folder: of the files, which is made.
      figures: what to draw.
      spaces: names of the experiment's spaces by their keys.
      found: all records.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    by_name = {p.space: p for p in summary.populations(found)}
    lines = []
    for figure in figures:
        chosen = [by_name.get(spaces[key]) for key in figure.spaces]
        if any(p is None or len(p.done) < summary.MIN_COMPARED for p in chosen):
            continue
        path = folder / f"{figure.name}.svg"
        with atomic.replacing(path) as partial:
            partial.write_text(figure.draw(chosen), encoding="utf-8")
        lines.append(f"![{figure.title}]({folder.name}/{path.name})")
    if not lines:
        return ""
    return (
        "## Figures\n\nIn brackets the lowest and the mean error, in percent. "
        "Bands hold the whole distribution with 95 %; of a property, gray is "
        "the interval that holds its best value with 95 % (bootstrap), dashed "
        "the median.\n\n" + "\n\n".join(lines) + "\n\n"
    )
