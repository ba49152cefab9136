"""Many networks at once, in arrays of shape [stages, n].

For a sampler that tries a million candidates: the arithmetic of
`keras_regnet.widths`, `plan` and `complexity`, called with arrays.
"""

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from keras_regnet import plan
from keras_regnet.complexity import of_stages
from keras_regnet.config import NetworkTemplate
from keras_regnet.widths import block_levels
from keras_regnet.widths import compatible
from keras_regnet.widths import level_widths
from keras_regnet.widths import Ratios


@dataclasses.dataclass(frozen=True)
class Networks:
    """The networks that are built: integers of shape [stages, n].

    Args:
      depths: number of blocks in each stage.
      widths: channels of each block's output.
      inner_widths: channels of each block's 3x3 convolution.
      group_widths: channels per group of that convolution.
    """

    depths: np.ndarray
    widths: np.ndarray
    inner_widths: np.ndarray
    group_widths: np.ndarray

    @classmethod
    def fitted(
        cls,
        depths: np.ndarray,
        widths: np.ndarray,
        ratios: Ratios | Fraction,
        group_widths: np.ndarray | None,
    ) -> "Networks":
        """Makes widths and group widths fit each other, see `compatible`."""
        fitted = compatible(widths, ratios, group_widths)
        return cls(depths, *map(np.asarray, fitted))

    def take(self, indices: np.ndarray) -> "Networks":
        """Returns the networks at some indices or under a mask, [n]."""
        return Networks(
            *(
                getattr(self, field.name)[:, indices]
                for field in dataclasses.fields(self)
            )
        )


def quantized_linear(
    depth: np.ndarray,
    w_0: np.ndarray,
    w_a: np.ndarray,
    w_m: np.ndarray,
    stages: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns depths and widths of the RegNets that have a number of stages.

    The parameters are [n]. Of the m networks in which every level from the
    first to the last holds a block, and which have `stages` different widths:
    their indices [m], depths [stages, m] and widths [stages, m].

    Source:
      Paper, equations 2 to 4; `keras_regnet.widths.block_widths`.
    """
    last_level = block_levels(depth - 1, w_0, w_a, w_m)
    kept = np.flatnonzero(last_level == stages - 1)
    depth, w_0, w_a, w_m = (x[kept] for x in (depth, w_0, w_a, w_m))
    block = np.arange(depth.max(initial=0))[:, None]
    level = block_levels(block, w_0, w_a, w_m)
    level[block >= depth] = -1
    depths = np.stack([(level == k).sum(axis=0) for k in range(stages)])
    widths = level_widths(np.arange(stages, dtype=float)[:, None], w_0, w_m)
    whole = (depths > 0).all(axis=0) & (np.diff(widths, axis=0) > 0).all(axis=0)
    return kept[whole], depths[:, whole], widths[:, whole]


def complexity(
    networks: Networks,
    template: NetworkTemplate,
    strides: Sequence[int],
    size: tuple[int | np.ndarray, int | np.ndarray],
    channels: int = 3,
    classes: int = 1000,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns flops, params and activations of n networks, [n] each.

    `size` is height and width of the images, integers or [n]; `expand_from` of
    the template is "output".
    """
    stages = _stages(networks, template, strides)
    total = of_stages(template, stages, (*size, channels), classes)
    counts = (total.flops, total.params, total.activations)
    flops, params, activations = map(np.asarray, counts)
    return flops, params, activations


def _stages(networks, template, strides):
    inputs = template.stem_width
    for depth, width, inner, group_width, stride in zip(
        networks.depths,
        networks.widths,
        networks.inner_widths,
        networks.group_widths,
        strides,
        strict=True,
    ):
        yield plan.make_stage(
            template, depth, inputs, width, stride, (inner, group_width)
        )
        inputs = width
