"""The arithmetic of widths, on integers and on arrays of integers alike.

The quantized linear function of the paper (section 3.3, equations 2 to 4) and
the compatibility of widths and groups (appendix D). A sampler calls these
functions with arrays, one entry for each network. No Keras here.
"""

import functools
from fractions import Fraction
from typing import NamedTuple
from typing import TypeVar

import numpy as np

# A number of channels: an integer, or an array with one for each network.
Width = int | np.ndarray
W = TypeVar("W", int, np.ndarray)

# Widths of a RegNet are multiples of this before groups are considered.
WIDTH_QUANTUM = 8
# torchvision adds one group where rounding takes away more than a tenth.
_MIN_KEPT_WIDTH = 0.9
_MAX_DENOMINATOR = 1024


class Ratios(NamedTuple):
    """Bottleneck ratios as fractions: what `Fraction` is to one network.

    Args:
      numerator: integers of any shape.
      denominator: integers of the same shape.
    """

    numerator: np.ndarray
    denominator: np.ndarray


@functools.lru_cache(1024)
def as_fraction(bottleneck_ratio: float) -> Fraction:
    """Returns the simple fraction that a ratio stands for.

    Its denominator is at most 1024, so that 1 / 3 is a third and not its binary
    neighbor.

    Example:
    >>> as_fraction(1 / 3)
    Fraction(1, 3)
    """
    return Fraction(bottleneck_ratio).limit_denominator(_MAX_DENOMINATOR)


def as_fractions(bottleneck_ratios: np.ndarray) -> Ratios:
    """Returns the simple fractions that an array of ratios stands for.

    Example:
    >>> as_fractions(np.array([0.25, 4.0]))
    Ratios(numerator=array([1, 4]), denominator=array([4, 1]))
    """
    # Only the few different ratios, not all elements, become fractions.
    unique, inverse = np.unique(bottleneck_ratios, return_inverse=True)
    fractions = [as_fraction(ratio) for ratio in unique.tolist()]
    numerators = np.array([f.numerator for f in fractions], np.int64)
    denominators = np.array([f.denominator for f in fractions], np.int64)
    shape = bottleneck_ratios.shape
    return Ratios(
        numerators[inverse].reshape(shape), denominators[inverse].reshape(shape)
    )


def _inner(width, ratio):
    return np.maximum(1, width * ratio.denominator // ratio.numerator)


# Populations of ten thousands ask for the same few again and again.
@functools.lru_cache(16_384)
def inner_width(width: int, bottleneck_ratio: float) -> int:
    """Returns the width of a block's 3x3 convolution, truncated, at least 1.

    Example:
    >>> inner_width(256, 4), inner_width(16, 0.25)
    (64, 64)
    """
    return int(_inner(width, as_fraction(bottleneck_ratio)))


def block_levels(
    block: np.ndarray,
    w_0: float | np.ndarray,
    w_a: float | np.ndarray,
    w_m: float | np.ndarray,
) -> np.ndarray:
    """Returns the exponent of w_m nearest to the width of each block, from 0.

    Source:
      Paper, equations 2 and 3.
    """
    linear = w_0 + w_a * block
    return np.rint(np.log(linear / w_0) / np.log(w_m))


def level_widths(
    level: np.ndarray, w_0: float | np.ndarray, w_m: float | np.ndarray
) -> np.ndarray:
    """Returns the widths that belong to exponents of w_m, multiples of 8.

    Exact halves round to even, as in the paper's implementation.

    Source:
      Paper, equation 4.
    """
    widths = np.rint(w_0 * np.power(w_m, level) / WIDTH_QUANTUM)
    # A w_0 under 4 would round to no channels at all.
    return np.maximum(widths.astype(np.int64), 1) * WIDTH_QUANTUM


def block_widths(
    depth: int, w_0: float, w_a: float, w_m: float
) -> tuple[int, ...]:
    """Returns the width of every block, before groups are considered.

    Args:
      depth: number of blocks d.
      w_0: initial width in channels.
      w_a: slope in channels per block.
      w_m: ratio between quantized widths.

    Returns:
      `depth` widths in channels, not decreasing, multiples of 8.

    Source:
      Paper, equations 2 to 4.

    Example:
    >>> block_widths(5, 24, 36.44, 2.49)
    (24, 56, 152, 152, 152)
    """
    levels = block_levels(np.arange(depth), w_0, w_a, w_m)
    return tuple(level_widths(levels, w_0, w_m).tolist())


def _round_pycls(width, quantum):
    multiples = np.rint(width / quantum).astype(np.int64)
    return np.maximum(multiples, 1) * quantum


def _round_torchvision(width, quantum):
    multiples = (2 * width + quantum) // (2 * quantum)
    rounded = np.maximum(multiples, 1) * quantum
    return rounded + quantum * (rounded < _MIN_KEPT_WIDTH * width)


_ROUNDINGS = {"pycls": _round_pycls, "torchvision": _round_torchvision}


def compatible(
    width: Width,
    ratio: Fraction | Ratios,
    group_width: Width | None,
    width_rounding: str = "pycls",
) -> tuple[Width, Width, Width]:
    """Returns width, inner width and group width that fit each other.

    The width nearest to the requested one, and a group width of at most the
    inner width, which it divides; for a `group_width` of None, the inner width.

    Source:
      Paper, appendix D. Where the inner width exceeds the width it must also
      be a multiple of their ratio (of its numerator, for a ratio such as
      5/2), hence the least common multiple.
    """
    inner = _inner(width, ratio)
    if group_width is None:
        return width, inner, inner
    group_width = np.minimum(group_width, inner)
    quantum = group_width
    if np.any(ratio.denominator != 1):
        quantum = np.lcm(group_width, ratio.denominator)
    inner = _ROUNDINGS[width_rounding](inner, quantum)
    width = inner * ratio.numerator // ratio.denominator
    return width, _inner(width, ratio), group_width


@functools.lru_cache(16_384)
def compatible_width(
    width: int,
    bottleneck_ratio: float,
    group_width: int | None,
    width_rounding: str = "pycls",
) -> tuple[int, int | None]:
    """Returns the width and group width of `compatible`, of one stage.

    Example:
    >>> compatible_width(392, 1, 16), compatible_width(80, 1, 120)
    ((384, 16), (80, 80))
    """
    if group_width is None:
        return width, None
    ratio = as_fraction(bottleneck_ratio)
    fitted = compatible(width, ratio, group_width, width_rounding)
    return int(fitted[0]), int(fitted[2])
