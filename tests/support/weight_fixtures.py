"""The small networks whose files and outputs are kept in `data/weights`.

`oracles/make_weight_fixtures.py` made them; no Keras and no PyTorch here.
"""

from tests.support import paths

FOLDER = paths.DATA / "weights"

# An even and an odd size: padding differs at the first only, and windows
# that reach over the edge exist at the second only.
SIZES = (48, 45)
CLASSES = 5
STEM_WIDTH = 8

# The quantized linear function of all but byobnet's, and what it gives.
LINE = {"depth": 5, "w_0": 8, "w_a": 6, "w_m": 1.42, "group_width": 4}
DEPTHS = (1, 1, 2, 1)
WIDTHS = (8, 16, 24, 32)
# Depth, width and stride of each stage.
BYOBNET = ((1, 8, 1), (2, 8, 2), (1, 16, 2), (1, 16, 2))
HEAD_WIDTH = 16

# The family of each network, and how its configuration differs from that of
# a RegNetX.
NETWORKS = {
    "timm_x": ("timm", {}),
    "timm_y": ("timm", {"block": "y"}),
    "timm_z": (
        "timm",
        {
            "block": "z",
            "bottleneck_ratio": 0.5,
            "se_ratio": 0.25,
            "activation": "silu",
            "head_width": HEAD_WIDTH,
        },
    ),
    "timm_v": (
        "timm",
        {
            "block": "pre",
            "se_ratio": 0.25,
            "activation": "silu",
            "projection": "pool",
        },
    ),
    "byobnet": (
        "byobnet",
        {
            "block": "z",
            "se_ratio": 0.25,
            "se_from": "inner",
            "se_activation": "relu",
            "expand_from": "input",
            "stem": "tiered",
            "activation": "silu",
            "head_width": HEAD_WIDTH,
        },
    ),
    "timm_group_norm": (
        "timm",
        {
            "block": "y",
            "activation": "silu",
            "norm": "group",
            "norm_group_width": 4,
        },
    ),
    "timm_v_evonorm": (
        "timm",
        {
            "block": "pre",
            "se_ratio": 0.25,
            "activation": "silu",
            "norm": "evonorm_s0a",
            "norm_group_width": 4,
        },
    ),
    "byobnet_evonorm": (
        "byobnet",
        {
            "block": "z",
            "se_ratio": 0.25,
            "se_from": "inner",
            "se_activation": "relu",
            "expand_from": "input",
            "stem": "deep",
            "activation": "silu",
            "head_width": HEAD_WIDTH,
            "norm": "evonorm_s0a",
            "norm_group_width": 8,
        },
    ),
    "torchvision_y": (
        "torchvision",
        {"block": "y", "width_rounding": "torchvision"},
    ),
    "pycls_y": ("pycls", {"block": "y"}),
    "classy_y": ("classy", {"block": "y", "width_rounding": "torchvision"}),
    "swag_y": ("swag", {"block": "y", "width_rounding": "torchvision"}),
    "transformers_x": ("transformers", {}),
    "transformers_y": ("transformers", {"block": "y"}),
}
