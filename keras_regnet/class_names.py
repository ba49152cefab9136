"""How two lists of class names match: by name, and by index only if said.

A list has one name per label, in the order of the labels. Names that only
count ("0", "1" and so on, in order) stand for classes without names.
"""

import collections
import difflib
import re
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

from keras_regnet import imagenet

_NAMES_SHOWN = 10


class Match(NamedTuple):
    """Where the classes of images are among the outputs of a model.

    Args:
      indices: output of the model for each class of the images.
      names: of the outputs; those of the images where the model has none.
      by_name: whether the names say so; if not, the classes are taken to be in
        the order of the outputs.
    """

    indices: tuple[int, ...]
    names: tuple[str, ...]
    by_name: bool


def match(
    names: Sequence[str], of_model: Sequence[str] | None, outputs: int
) -> Match:
    """Returns the output of a model for each class of some images.

    Args:
      names: of the classes of the images, which may be a part of the model's.
      of_model: name of each output, None if they are not known.
      outputs: number of outputs of the model.

    Raises:
      ValueError: if a class is not the model's, or there are no names to go by
        and not as many classes as outputs.

    Example:
    >>> match(("ant", "cat"), ("ant", "bee", "cat"), outputs=3).indices
    (0, 2)
    """
    if of_model is not None and len(of_model) != outputs:
        raise ValueError(
            "The class names of the model must be one for each output. "
            f"Received: {len(of_model)} names for {outputs} outputs"
        )
    if of_model is None or are_unnamed(names, of_model):
        if len(names) != outputs:
            raise ValueError(
                "Without names to match, the images must have as many classes "
                f"as the model. Received: {outputs} classes of the model for "
                f"{len(names)} of the images"
            )
        known = of_model or names
        if is_counted(known):
            known = names
        return Match(tuple(range(outputs)), tuple(known), by_name=False)
    if tuple(names) == tuple(of_model):
        return Match(tuple(range(outputs)), tuple(of_model), by_name=True)
    keys, known = _by_id(names, of_model)
    _check_known(keys, known, of_model)
    index = {name: number for number, name in enumerate(known)}
    indices = tuple(index[name] for name in keys)
    return Match(indices, tuple(of_model), by_name=True)


def _by_id(names, of_model):
    """Returns two lists of names; WordNet's ids where one is ImageNet's.

    So a folder named "n02099601" is "golden_retriever", and the reverse.
    """
    classes = imagenet.classes_named(of_model)
    if classes is None:
        return tuple(names), tuple(of_model)
    if tuple(names) == classes.names:
        return classes.ids, classes.ids
    if set(names) == set(map(str, range(len(of_model)))):
        # Folders of numbers, which come in the order of text.
        return tuple(classes.ids[int(name)] for name in names), classes.ids
    ids = [classes.ids_of(name) for name in names]
    ambiguous = [
        n for n, found in zip(names, ids, strict=True) if len(found) > 1
    ]
    if ambiguous:
        raise ValueError(
            "A name of several classes of ImageNet does not tell which: name "
            "the class by its id of WordNet, such as 'n02012849'. "
            f"Received: {shown(map(repr, ambiguous))}"
        )
    keys = (
        next(iter(found), name) for name, found in zip(names, ids, strict=True)
    )
    return tuple(keys), classes.ids


def checked(class_names: Any, classes: int | None = None) -> tuple[str, ...]:
    """Returns class names as a tuple.

    Args:
      class_names: texts without line breaks.
      classes: number of outputs, None for any.

    Raises:
      ValueError: if they are no names, or not one for each output.
    """
    is_list = not isinstance(class_names, str | bytes | Mapping)
    names = tuple(class_names) if is_list else ()
    if not is_list or not all(isinstance(name, str) for name in names):
        raise ValueError(
            "`class_names` must be a list of texts, or None. "
            f"Received: class_names={class_names!r}"
        )
    check(names)
    # NumPy's texts, too, are plain ones from here on.
    names = tuple(map(str, names))
    if classes is not None and len(names) != classes:
        raise ValueError(
            "`class_names` must have one name per output of the model. "
            f"Received: {len(names)} names for {classes} outputs"
        )
    return names


def check(names: Iterable[str]) -> None:
    """Raises a ValueError unless a file of one name per line can hold names.

    Example:
    >>> check(("ant", "honey bee"))
    """
    for name in names:
        if re.search(r"[\r\n]", name):
            raise ValueError(
                f"A class name must have no line break. Received: {name!r}"
            )
        if not name.isprintable() and any(map(_is_surrogate, name)):
            raise ValueError(
                f"A class name must be text in UTF-8. Received: {name!r}"
            )


def _is_surrogate(character):
    """Whether a character stands for a byte that is not UTF-8."""
    return "\ud800" <= character <= "\udfff"


def are_unnamed(names: Sequence[str], others: Sequence[str] | None) -> bool:
    """Returns whether one of two lists has no names to match the other's.

    Example:
    >>> are_unnamed(("ant", "bee"), ("0", "1"))
    True
    >>> are_unnamed(("1", "10"), [str(label) for label in range(12)])
    False
    """
    if others is None:
        return True
    are_known = set(names) <= set(others)
    return is_counted(names) != is_counted(others) and not are_known


def is_counted(names: Sequence[str]) -> bool:
    """Returns whether names are only the numbers of the labels.

    Example:
    >>> is_counted(("0", "1", "2")), is_counted(("1", "7"))
    (True, False)
    """
    return tuple(names) == tuple(str(number) for number in range(len(names)))


def _check_known(names, known, of_model):
    """Raises unless each name is that of one output, by what is known of it."""
    counts = collections.Counter(known)
    of_images = collections.Counter(names)
    unknown = [name for name in names if name not in counts]
    if unknown:
        raise ValueError(
            "The classes of the images must be the model's. Unknown: "
            f"{shown([with_close(name, of_model) for name in unknown])}. The "
            f"model's: {shown(map(repr, of_model))}"
        )
    repeated = [
        name for name in of_images if of_images[name] > 1 or counts[name] > 1
    ]
    if repeated:
        raise ValueError(
            "A class must have a name of its own. Received more than once: "
            f"{shown(map(repr, repeated))}"
        )


def with_close(name: str, allowed: Iterable[str]) -> str:
    """Returns a name in quotes, with the close match if there is one.

    Example:
    >>> with_close("Cat", ("cat", "dog"))
    "'Cat' (did you mean 'cat'?)"
    """
    by_lower_case = {other.lower(): other for other in allowed}
    close = difflib.get_close_matches(name.lower(), by_lower_case, n=1)
    hint = f" (did you mean {by_lower_case[close[0]]!r}?)" if close else ""
    return f"{name!r}{hint}"


def shown(names: Iterable[str]) -> str:
    """Returns names separated by commas, of many the first.

    Example:
    >>> shown(f"{number}" for number in range(12))
    '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more'
    """
    names = list(names)
    text = ", ".join(names[:_NAMES_SHOWN])
    rest = len(names) - _NAMES_SHOWN
    return f"{text} and {rest} more" if rest > 0 else text


def differences(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Returns how a list of class names differs from an older one.

    Args:
      old: the names of the older list.
      new: the names now.

    Returns:
      Lines, empty if the lists are equal.

    Example:
    >>> differences(("Ant", "bee"), ("ant", "cat"))
    ["new: 'cat'", "missing: 'bee'", "in another case: 'ant' was 'Ant'"]
    """
    if tuple(old) == tuple(new):
        return []
    if len(old) == len(new) and imagenet.classes_named(old):
        # The one list may have names, the other ids of WordNet.
        new, old = _by_id(new, old)
        if new == old:
            return []
    gone, added = set(old) - set(new), set(new) - set(old)
    of_case = {name.lower(): name for name in gone}
    recased = {x: of_case[x.lower()] for x in added if x.lower() in of_case}
    parts = {
        "new": [repr(name) for name in added - recased.keys()],
        "missing": [repr(name) for name in gone - set(recased.values())],
        "in another case": [f"{x!r} was {was!r}" for x, was in recased.items()],
    }
    lines = [
        f"{label}: {shown(sorted(names))}"
        for label, names in parts.items()
        if names
    ]
    return lines or ["in another order"]
