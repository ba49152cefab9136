"""Many networks at once, in arrays of shape [stages, n].

The same arithmetic as `keras_regnet.plan` and `keras_regnet.complexity`, for
a sampler that looks at a million candidates; the tests hold the two equal.
"""

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from keras_regnet import plan
from keras_regnet.config import NetworkTemplate

_WIDTH_QUANTUM = 8
_PLAIN_CONVOLUTIONS = {"v": 1, "vr": 1, "basic": 2}


@dataclasses.dataclass(frozen=True)
class Networks:
    """What is built: integers of shape [stages, n].

    Args:
      depths: blocks of each stage.
      widths: channels of each block's output.
      inner_widths: channels of each block's 3x3 convolution.
      group_widths: channels per group of it.
    """

    depths: np.ndarray
    widths: np.ndarray
    inner_widths: np.ndarray
    group_widths: np.ndarray

    def take(self, indices: np.ndarray) -> "Networks":
        """Returns some of the networks.

        Args:
          indices: integers or booleans, [n].

        Returns:
          The networks chosen.
        """
        return Networks(
            *(
                getattr(self, field.name)[:, indices]
                for field in dataclasses.fields(self)
            )
        )


def compatible(
    depths: np.ndarray,
    widths: np.ndarray,
    numerators: np.ndarray,
    denominators: np.ndarray,
    group_widths: np.ndarray | None,
) -> Networks:
    """Returns the networks that are built for widths and groups asked for.

    Args:
      depths: blocks, [stages, n].
      widths: channels asked for, [stages, n].
      numerators: of the bottleneck ratios, [stages, n] or [1, n].
      denominators: of the bottleneck ratios, as `numerators`.
      group_widths: channels per group asked for; None for no groups.

    Returns:
      Networks whose group widths divide their inner widths.

    Source:
      Paper, appendix D; `keras_regnet.plan.compatible_width`.
    """
    inner = np.maximum(1, widths * denominators // numerators)
    if group_widths is None:
        return Networks(depths, widths, inner, inner)
    group_widths = np.minimum(group_widths, inner)
    quantum = group_widths
    if np.any(denominators != 1):
        quantum = np.lcm(group_widths, denominators)
    multiples = np.rint(inner / quantum).astype(np.int64)
    inner = np.maximum(multiples, 1) * quantum
    widths = inner * numerators // denominators
    inner = np.maximum(1, widths * denominators // numerators)
    return Networks(depths, widths, inner, group_widths)


def ratio_parts(ratios: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns numerators and denominators of ratios.

    Args:
      ratios: any shape.

    Returns:
      Two arrays of integers of that shape.

    Example:
    >>> ratio_parts(np.array([0.25, 4.0]))
    (array([1, 4]), array([4, 1]))
    """
    # The few different ratios, not each element, become fractions.
    unique, inverse = np.unique(ratios, return_inverse=True)
    fractions = [Fraction(r).limit_denominator(1024) for r in unique.tolist()]
    numerators = np.array([f.numerator for f in fractions], np.int64)
    denominators = np.array([f.denominator for f in fractions], np.int64)
    shape = ratios.shape
    return (
        numerators[inverse].reshape(shape),
        denominators[inverse].reshape(shape),
    )


def quantized_linear(
    depth: np.ndarray,
    w_0: np.ndarray,
    w_a: np.ndarray,
    w_m: np.ndarray,
    stages: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns depths and widths of RegNets that have a number of stages.

    Args:
      depth: number of blocks, [n].
      w_0: initial width, [n].
      w_a: slope, [n].
      w_m: ratio between levels, [n].
      stages: how many stages are wanted.

    Returns:
      Indices [m] of the networks in which every level from the first to the
      last holds a block, and there are `stages` different ones; their depths
      [stages, m]; their widths [stages, m], multiples of 8.

    Source:
      Paper, equations 2 to 4; `keras_regnet.plan.block_widths`.
    """
    last = w_0 + w_a * (depth - 1)
    levels = np.round(np.log(last / w_0) / np.log(w_m))
    kept = np.flatnonzero(levels == stages - 1)
    depth, w_0, w_a, w_m = (x[kept] for x in (depth, w_0, w_a, w_m))
    block = np.arange(depth.max(initial=0))[:, None]
    linear = w_0 + w_a * block
    exponents = np.round(np.log(linear / w_0) / np.log(w_m))
    exponents[block >= depth] = -1
    level = np.arange(stages, dtype=float)[:, None]
    depths = np.stack([(exponents == k).sum(axis=0) for k in range(stages)])
    widths = np.round(w_0 * np.power(w_m, level) / _WIDTH_QUANTUM)
    widths = np.maximum(widths.astype(np.int64), 1) * _WIDTH_QUANTUM
    whole = (depths > 0).all(axis=0) & (np.diff(widths, axis=0) > 0).all(axis=0)
    return kept[whole], depths[:, whole], widths[:, whole]


# --- Complexity -------------------------------------------------------------


class _Count:
    """Running sums of multiply-adds, parameters and activations, [n] each."""

    def __init__(self):
        self.flops = self.params = self.activations = 0

    def conv(self, positions, weights, outputs, times=1, normed=None):
        """Adds convolutions with as many weights and outputs each.

        `normed` is how many channels a batch norm has: `outputs` for None.
        """
        self.flops = self.flops + weights * positions * times
        norm = 2 * (outputs if normed is None else normed)
        self.params = self.params + (weights + norm) * times
        self.pool(positions, outputs, times)

    def pool(self, positions, outputs, times=1):
        """Adds pools, or the outputs of convolutions."""
        self.activations = self.activations + outputs * positions * times


def _shrink(size, stride):
    return (size[0] - 1) // stride + 1, (size[1] - 1) // stride + 1


def _squeeze_excite(count, template, inputs, inner, times):
    if not template.se_ratio:
        return
    if template.se_from == "input":
        squeeze = np.rint(inputs * template.se_ratio).astype(np.int64)
        squeeze = np.maximum(1, squeeze)
    else:
        squeeze = (inner * template.se_ratio + 4).astype(np.int64) // 8 * 8
        squeeze = np.maximum(8, squeeze)
    for weights, outputs in (
        (inner * squeeze + squeeze, squeeze),
        (inner * squeeze + inner, inner),
    ):
        count.conv(1, weights, outputs, times, normed=0)


def _blocks(count, template, stage, inputs, before, after, times):
    """Adds `times` blocks; `before` and `after` are numbers of positions."""
    width, inner, group_width = stage
    if template.block in _PLAIN_CONVOLUTIONS:
        count.conv(after, 9 * inputs * width, width, times)
        more = _PLAIN_CONVOLUTIONS[template.block] - 1
        if more:
            count.conv(after, 9 * width * width, width, times * more)
        return
    count.conv(before, inputs * inner, inner, times)
    count.conv(after, 9 * inner * group_width, inner, times)
    _squeeze_excite(count, template, inputs, inner, times)
    # The third norm is before a pre-activation block, behind another.
    normed = inputs if template.block == "pre" else width
    count.conv(after, inner * width, width, times, normed)


def _add_shortcut(count, template, inputs, width, stride, positions):
    if template.block in ("v", "z"):
        return
    projects = 1 if stride != 1 else (inputs != width).astype(np.int64)
    normed = 0 if template.block == "pre" else width
    count.conv(positions, inputs * width, width, projects, normed)
    if template.projection == "pool" and stride != 1:
        count.pool(positions, inputs)


def _add_stem(count, template, size, channels):
    for conv in plan.stem_convs(template):
        size = _shrink(size, conv.stride)
        weights = conv.kernel**2 * channels * conv.width
        normed = 0 if conv.bare else conv.width
        count.conv(size[0] * size[1], weights, conv.width, normed=normed)
        channels = conv.width
    if template.stem == "resnet":
        size = _shrink(size, 2)
        count.pool(size[0] * size[1], template.stem_width)
    return size


def _add_head(count, template, size, width, classes):
    if template.head_width:
        positions = size[0] * size[1]
        count.conv(positions, width * template.head_width, template.head_width)
        width = template.head_width
    if classes:
        weights = width * classes + classes
        count.conv(1, weights, classes, normed=0)


def complexity(
    networks: Networks,
    template: NetworkTemplate,
    strides: Sequence[int],
    size: tuple[int | np.ndarray, int | np.ndarray],
    channels: int = 3,
    classes: int = 1000,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns what one image costs in each network.

    Args:
      networks: n networks of as many stages as `strides`.
      template: what all blocks have in common; `expand_from` is "output".
      strides: stride of each stage's first block.
      size: height and width of the images; integers, or one for each
        network, [n].
      channels: of the images.
      classes: number of classes.

    Returns:
      flops, params and activations, integers of shape [n], equal to those of
      `keras_regnet.complexity`.
    """
    count = _Count()
    size = _add_stem(count, template, size, channels)
    inputs = np.full(networks.widths.shape[1], template.stem_width, np.int64)
    for number, stride in enumerate(strides):
        before, size = size[0] * size[1], _shrink(size, stride)
        after = size[0] * size[1]
        stage = (
            networks.widths[number],
            networks.inner_widths[number],
            networks.group_widths[number],
        )
        width = stage[0]
        _blocks(count, template, stage, inputs, before, after, 1)
        _add_shortcut(count, template, inputs, width, stride, after)
        times = networks.depths[number] - 1
        _blocks(count, template, stage, width, after, after, times)
        inputs = width
    _add_head(count, template, size, inputs, classes)
    return count.flops, count.params, count.activations
