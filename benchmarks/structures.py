"""Pictures of the paper's best networks: the width of every block.

The line is the linear function w_0 + w_a * j of the block's index j, the dots
are the widths that quantization makes of it.

Source:
  "Designing Network Design Spaces", CVPR 2020, figures 15 and 16.
"""

from typing import Any

from keras_regnet import plan
from keras_regnet import variants

FAMILIES = ("RegNetX", "RegNetY")
_COLUMNS = 4
_PANEL = 2.6, 2.0  # Inches.
_LINE, _DOT = "#999999", "#0072B2"
_PUBLISHED = 12  # Of each family; larger ones came later.

# Name, group width, w_0, w_a, and the width of each block.
Structure = tuple[str, int, float, float, list[int]]


def points(family: str) -> list[Structure]:
    """Returns the networks of "RegNetX" or "RegNetY" in the paper."""
    found = []
    for name in variants.list_variants(f"{family}-*F")[:_PUBLISHED]:
        config = variants.get_config(name)
        widths = [
            stage.first.width
            for stage in plan.stages(config)
            for _ in range(stage.depth)
        ]
        found.append((name, config.group_width, config.w_0, config.w_a, widths))
    return found


def draw(figure: Any, family: str) -> None:
    """Draws a panel for each network."""
    structures = points(family)
    rows = -(-len(structures) // _COLUMNS)
    figure.set_size_inches(_COLUMNS * _PANEL[0], rows * _PANEL[1])
    panels = figure.subplots(rows, _COLUMNS)
    for axes, structure in zip(panels.flat, structures, strict=True):
        _draw_network(axes, structure)
    for axes in panels[-1]:
        axes.set_xlabel("block", fontsize=8)
    for axes in panels[:, 0]:
        axes.set_ylabel("width", fontsize=8)


def _draw_network(axes, structure):
    name, group_width, w_0, w_a, widths = structure
    blocks = range(len(widths))
    axes.plot(blocks, [w_0 + w_a * j for j in blocks], color=_LINE, linewidth=1)
    axes.plot(blocks, widths, "o", color=_DOT, markersize=3)
    axes.set_title(f"{name}, g = {group_width}", fontsize=9)
    axes.set_yscale("log", base=2)
    axes.set_yticks(levels := sorted(set(widths)), map(str, levels))
    axes.set_yticks([], minor=True)
    axes.set_xticks([0, len(widths) - 1], ["1", str(len(widths))])
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
