"""The spaces of the paper, by name."""

import functools
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from keras_regnet import errors
from keras_regnet.config import NetworkTemplate
from keras_regnet.design_space import anynet
from keras_regnet.design_space import domains
from keras_regnet.design_space import regnet
from keras_regnet.design_space import spaces

# Paper, section 3.2 and appendix D; Z as in "Fast and Accurate Model
# Scaling" (arXiv 2103.06877).
_TEMPLATES = {
    "X": NetworkTemplate(block="x"),
    "Y": NetworkTemplate(block="x", se_ratio=0.25),
    "R": NetworkTemplate(block="x"),
    "V": NetworkTemplate(block="v"),
    "VR": NetworkTemplate(block="vr"),
    "Z": NetworkTemplate(block="z", se_ratio=0.25, activation="silu"),
}
_PLAIN = ("V", "VR")
_WITHOUT_GROUPS = ("R", *_PLAIN)

# What each space adds to the one before (paper, table 1).
_CHAIN: Mapping[str, Mapping[str, str]] = {
    "A": {},
    "B": {"bottleneck_ratios": "equal"},
    "C": {"group_widths": "equal"},
    "D": {"widths": "rising"},
    "E": {"depths": "rising"},
}

# Paper, section 4.
_CONSTRAINED = {
    "bottleneck_ratio": 1,
    "depth": (1, 40),
    "w_m": (2, 3),
    "lean": True,
}


def _domains(all_domains, block):
    """The parameters that a block has."""
    absent = {"bottleneck": block in _PLAIN, "group": block in _WITHOUT_GROUPS}
    kept = {
        name: domain
        for name, domain in all_domains.items()
        if not absent.get(name.split("_")[0], False)
    }
    if block == "Z":
        ratio = next(name for name in kept if "bottleneck" in name)
        kept[ratio] = domains.uniform((0.25,))
    return kept


def _anynet(block, letter):
    chosen = _domains(anynet.DOMAINS, block)
    space = anynet.AnyNetSpace("", _TEMPLATES[block], chosen)
    for step, restrictions in _CHAIN.items():
        present = {k: v for k, v in restrictions.items() if k in chosen}
        space = space.restrict(**present)
        if step == letter:
            break
    return space.named(f"AnyNet{block}_{letter}")


def _regnet(block):
    chosen = _domains(regnet.DOMAINS, block)
    return regnet.RegNetSpace(f"RegNet{block}", _TEMPLATES[block], chosen)


def _constrained(block):
    narrowed = _regnet(block).restrict(**_CONSTRAINED)
    return narrowed.named(f"RegNet{block}_constrained")


def _makers() -> dict[str, Callable[[], spaces.Space]]:
    makers: dict[str, Callable[[], spaces.Space]] = {}
    for block in _TEMPLATES:
        for letter in _CHAIN:
            makers[f"AnyNet{block}_{letter}"] = functools.partial(
                _anynet, block, letter
            )
        makers[f"RegNet{block}"] = functools.partial(_regnet, block)
    for block in ("X", "Y"):
        makers[f"RegNet{block}_constrained"] = functools.partial(
            _constrained, block
        )
    return makers


_MAKERS = _makers()


def list_spaces() -> tuple[str, ...]:
    """Returns the names that `space` knows.

    Example:
    >>> "AnyNetX_E" in list_spaces()
    True
    """
    return tuple(_MAKERS)


def space(name: str, **restrictions: Any) -> spaces.Space:
    """Returns a design space of the paper.

    "AnyNetX_A" to "AnyNetX_E" are the chain of table 1: nothing, one
    bottleneck ratio for all stages, one group width, widths that rise, depths
    that rise. "RegNetX" is the quantized linear function, and
    "RegNetX_constrained" that of section 4. Instead of X: Y with
    squeeze-and-excitation, R without groups, V and VR without bottleneck, Z
    with inverted bottleneck.

    Args:
      name: one of `list_spaces()`.
      **restrictions: further ones, see `Space.restrict`.

    Returns:
      A space that can be restricted, varied and sampled.

    Raises:
      ValueError: if the name is unknown or a restriction is not possible.

    Example:
    >>> space("RegNetX", w_m=2)
    RegNetX, w_m = 2
    >>> space("RegNetX", w_0="w_a")
    RegNetX, w_0 = w_a
    """
    if not isinstance(name, str) or name not in _MAKERS:
        raise errors.unknown_value("name", name, _MAKERS)
    return _MAKERS[name]().restrict(**restrictions)
