"""What a run remembers of its data: classes, counts, and which files they are.

It is stored when the run begins, so that a run that resumes can tell whether
its data are those it began with, wherever they lie.
"""

import dataclasses
import hashlib
import os
import zlib
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_regnet import class_names as names_lib
from training.data.dataset import class_counts
from training.data.dataset import DataSet
from training.data.dataset import Split
from training.data.dataset import Stream

# Files that are looked at, and bytes of each at its end. There compressed
# images differ if they differ anywhere: in checksums, or by shifted codes.
_FILES, _TAIL = 1000, 4096
# What other files mean for a part that is held out at random.
HELD_OUT_ANEW = (
    "the images that --val_fraction holds out are chosen anew, and the run may "
    "have been trained on some of them"
)
_PARTS = {"train": "training images", "val": "validation images"}


def digest(items: Iterable[object]) -> str:
    """Returns a hash of what names the files of a split, in their order."""
    found = hashlib.sha256()
    for item in items:
        found.update(f"{item}\n".encode(errors="surrogateescape"))
    return found.hexdigest()


def digest_of_paths(paths: Sequence[str]) -> str:
    """Returns a hash of files' names within the folder that they share.

    The sizes and the ends of some are part of it: other images of the same
    names are other files. Of all it would take long where a network lies
    between.
    """
    start = len(os.path.join(os.path.commonpath(paths), ""))
    step = -(-len(paths) // _FILES)
    return digest(
        (path[start:], 0 if number % step else _size_and_end(path))
        for number, path in enumerate(paths)
    )


def _size_and_end(path):
    """Returns what tells a file; -1 of one that is gone, or a dead link.

    Who reads it names it, or leaves it out.
    """
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - _TAIL, 0))
            return size, zlib.crc32(file.read())
    except OSError:
        return -1


@dataclasses.dataclass(frozen=True)
class Part:
    """The images of one split, as far as a run uses them.

    Args:
      images: how many.
      per_class: images of each class; None where all files would have to be
        read for it.
      digest: hash of the list of files that they come from, "" if there are
        none.
      in_sequence: whether they are read in sequence, not by index.
      labels: hash of the labels, where images have several; "" if it is not
        known, or the list of files tells them.
    """

    images: int
    per_class: tuple[int, ...] | None
    digest: str
    in_sequence: bool
    labels: str = ""


@dataclasses.dataclass(frozen=True)
class Identity:
    """Classes and images of a data set.

    Args:
      class_names: in the order of the labels.
      train: the images for training.
      val: the images for evaluation.
      multilabel: whether an image has any number of labels.
    """

    class_names: tuple[str, ...]
    train: Part
    val: Part
    multilabel: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields, of JSON's types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Identity":
        """Returns what `to_dict` wrote."""
        return cls(
            tuple(fields["class_names"]),
            *(_part_from_dict(fields[name]) for name in _PARTS),
            fields.get("multilabel", False),
        )


def _part_from_dict(fields):
    counts = fields["per_class"]
    counts = None if counts is None else tuple(counts)
    return Part(**{**fields, "per_class": counts})


def of(data: DataSet) -> Identity:
    """Returns the identity of a data set."""
    classes = len(data.class_names)
    return Identity(
        data.class_names,
        _part(data.train, classes),
        _part(data.val, classes),
        data.multilabel,
    )


def _part(split: Split | Stream, classes: int) -> Part:
    labels = None if isinstance(split, Stream) else split.labels
    per_class, labels_digest = None, ""
    if labels is not None:
        per_class = tuple(class_counts(labels, classes).tolist())
        if labels.ndim == 2:
            bits = np.packbits(labels).tobytes()
            labels_digest = digest([labels.shape, bits])
    return Part(
        split.num_examples,
        per_class,
        split.digest,
        isinstance(split, Stream),
        labels_digest,
    )


def same_files(stored: Identity, ours: Identity) -> bool:
    """Returns whether two data sets are known to be of the same files."""
    return all(
        old.digest and old.digest == new.digest
        for old, new in ((stored.train, ours.train), (stored.val, ours.val))
    )


def relabeled(stored: Identity, ours: Identity) -> list[str]:
    """Returns a line on each part whose images are the same by other labels.

    Of one label an image, other labels are other files.
    """
    if stored.multilabel != ours.multilabel:
        kinds = {True: "several labels an image", False: "one label an image"}
        before, now = kinds[stored.multilabel], kinds[ours.multilabel]
        return [f"labels: {before} before, {now} now"]
    return [
        f"{label}: the same, with other labels"
        for name, label in _PARTS.items()
        if _is_relabeled(getattr(stored, name), getattr(ours, name))
    ]


def _is_relabeled(old, new):
    same = old.digest == new.digest and old.images == new.images
    return bool(same and old.labels and new.labels and old.labels != new.labels)


def changes(stored: Identity, ours: Identity) -> list[str]:
    """Returns what is no longer as it was, of data with the same classes."""
    return [
        line
        for name, label in _PARTS.items()
        for line in _changes_of_part(
            label, getattr(stored, name), getattr(ours, name), ours.class_names
        )
    ]


def _changes_of_part(
    label: str, old: Part, new: Part, names: Sequence[str]
) -> Iterator[str]:
    if old.images != new.images:
        yield f"{label}: {old.images} before, {new.images} now"
    if old.per_class and new.per_class and old.per_class != new.per_class:
        pairs = zip(names, old.per_class, new.per_class, strict=True)
        counts = [f"{name!r} {m} -> {n}" for name, m, n in pairs if m != n]
        yield f"{label} by class: {names_lib.shown(counts)}"
    if old.images == new.images and old.digest != new.digest:
        yield f"{label}: as many, of other files"
    if old.in_sequence != new.in_sequence:
        how = "in sequence" if new.in_sequence else "by index"
        yield f"{label}: now read {how}, in another order"
