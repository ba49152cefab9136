"""The classes of ImageNet, by the number of a classifier's outputs; no Keras.

WordNet's ids in their order, which is that of every published classifier, and
the first of each id's names. ImageNet-1k has 1000; ImageNet-12k, the part of
ImageNet-22k that timm trains on, 11821.
"""

import collections
import csv
import dataclasses
import functools
import importlib.resources
import re
from collections.abc import Sequence

from keras_regnet import safe_files

_FILES = {1000: "imagenet_1k.csv", 11821: "imagenet_12k.csv.gz"}

_LEADING_ID = re.compile(r"n\d{8}(?![^\W_])")


@dataclasses.dataclass(frozen=True, eq=False)
class Classes:
    """Classes in the order of a classifier's outputs.

    Args:
      ids: of WordNet, such as "n01440764".
      names: such as "tench"; a few classes share one.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]

    @functools.cached_property
    def _ids_by_name(self):
        exact, folded = (
            collections.defaultdict(set),
            collections.defaultdict(set),
        )
        for class_id, name in zip(self.ids, self.names, strict=True):
            exact[class_id].add(class_id)
            exact[name].add(class_id)
            folded[_folded(name)].add(class_id)
        return dict(exact), dict(folded)

    def ids_of(self, name: str) -> set[str]:
        """Returns the ids that an id or a name may stand for.

        A name in other case, or with spaces, is taken if none is written so;
        further names behind a comma, or behind an id, are left out.
        """
        exact, folded = self._ids_by_name
        first = name.split(",")[0]
        if found := _LEADING_ID.match(name):
            first = found.group()
        return (
            exact.get(name)
            or exact.get(first)
            or folded.get(_folded(first), set())
        )


def _folded(name):
    return re.sub(r"[\s_-]+", " ", name).casefold()


@functools.cache
def classes(outputs: int) -> Classes | None:
    """Returns the classes of so many outputs, None if they are not ImageNet's.

    Example:
    >>> classes(1000).names[207]
    'golden_retriever'
    """
    if outputs not in _FILES:
        return None
    file = importlib.resources.files("keras_regnet") / "data" / _FILES[outputs]
    content = file.read_bytes()
    if file.name.endswith(".gz"):
        content = safe_files.unpack_gzip(content, file.name)
    rows = csv.DictReader(content.decode().splitlines())
    pairs = [(row["id"], row["name"]) for row in rows]
    ids, names = zip(*pairs, strict=True)
    return Classes(ids, names)


def outputs_known() -> tuple[int, ...]:
    """Returns the numbers of outputs that `classes` knows."""
    return tuple(_FILES)


def classes_named(names: Sequence[str] | None) -> Classes | None:
    """Returns ImageNet's classes if names, or ids, are all of them in order.

    Example:
    >>> classes_named(("ant", "bee")) is None
    True
    """
    known = None if names is None else classes(len(names))
    if known is None or tuple(names or ()) not in (known.ids, known.names):
        return None
    return known
