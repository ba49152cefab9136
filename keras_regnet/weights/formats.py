"""How each format of weights names its tensors: tables alone, and no code.

`keras_regnet.weights.mapping` turns them into maps. No Keras here.
"""

import dataclasses
from collections.abc import Mapping

# The variables of a layer, and what PyTorch calls them and how it lays out.
_TORCH_VARIABLES = {
    "conv": {"kernel": ("weight", "conv")},
    "gate": {"kernel": ("weight", "conv"), "bias": ("bias", "same")},
    "norm": {
        "gamma": ("weight", "same"),
        "beta": ("bias", "same"),
        "moving_mean": ("running_mean", "same"),
        "moving_variance": ("running_var", "same"),
    },
    "group_norm": {"gamma": ("weight", "same"), "beta": ("bias", "same")},
    "evonorm": {"gamma": ("weight", "same"), "beta": ("bias", "same")},
    "evonorm_act": {
        "gamma": ("weight", "same"),
        "beta": ("bias", "same"),
        "v": ("v", "same"),
    },
    "dense": {"kernel": ("weight", "dense"), "bias": ("bias", "same")},
}


# What each kind of layer has.
VARIABLES = {kind: tuple(names) for kind, names in _TORCH_VARIABLES.items()}

# How many batches PyTorch's batch norm has seen.
_COUNTERS = r"\bnum_batches_tracked$"


# What a network must be for the simplest layout; see `NetworkTemplate`.
_PLAIN = {
    "block": ("x",),
    "stem": ("simple",),
    "projection": ("conv",),
    "expand_from": ("output",),
    "se_from": ("input",),
    "norm": ("batch",),
}
# timm calls them all "bn".
_ANY_NORM = ("batch", "group", "evonorm_s0a")


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the tensors of some networks are named.

    Args:
      ends: the names of the layers of stem and head, by ours.
      block: the beginning of the names within a block, with the fields
        {stage}, {block} (from 1), {stage_0}, {block_0} (from 0), {stage_2}
        (from 2) and {letter} (X or Y).
      parts: the names within a block, by ours.
      parts_with_se: those that differ where there is squeeze-and-excitation.
      variables: the names of a layer's variables and their transforms.
      allowed: values of a configuration's fields that have such names; a
        field that is not named may have any.
      channel_order: of the stem's input, unless a record says otherwise.
      separator: between the name of a layer and that of its variable.
      dropped: a regular expression, found in the names of tensors that
        hold nothing a network computes with.
    """

    ends: Mapping[str, str]
    block: str
    parts: Mapping[str, str]
    parts_with_se: Mapping[str, str] = dataclasses.field(default_factory=dict)
    variables: Mapping[str, Mapping[str, tuple[str, str]]] = dataclasses.field(
        default_factory=lambda: _TORCH_VARIABLES
    )
    allowed: Mapping[str, tuple] = dataclasses.field(
        default_factory=lambda: _PLAIN
    )
    channel_order: str = "RGB"
    separator: str = "."
    dropped: str = _COUNTERS


_KERAS_VARIABLES = {
    kind: {variable: (variable, "same") for variable in variables}
    for kind, variables in VARIABLES.items()
}

_CLASSY_PARTS = {
    "conv1": "f.a.0",
    "conv1_bn": "f.a.1",
    "conv2": "f.b.0",
    "conv2_bn": "f.b.1",
    "se_reduce": "f.se.excitation.0",
    "se_expand": "f.se.excitation.2",
    "conv3": "f.c",
    "conv3_bn": "f.final_bn",
    "shortcut": "proj",
    "shortcut_bn": "bn",
}

_TIMM = Layout(
    ends={
        "stem_conv": "stem.conv",
        "stem_conv_bn": "stem.bn",
        "head_conv": "final_conv.conv",
        "head_conv_bn": "final_conv.bn",
        "head_fc": "head.fc",
    },
    block="s{stage}.b{block}.",
    parts={
        "conv1": "conv1.conv",
        "conv1_bn": "conv1.bn",
        "conv2": "conv2.conv",
        "conv2_bn": "conv2.bn",
        "se_reduce": "se.fc1",
        "se_expand": "se.fc2",
        "conv3": "conv3.conv",
        "conv3_bn": "conv3.bn",
        "shortcut": "downsample.conv",
        "shortcut_bn": "downsample.bn",
    },
    allowed={**_PLAIN, "block": ("x", "z"), "norm": _ANY_NORM},
)

# RegNetV: norms in front of the convolutions, and a bare stem.
_TIMM_V_PARTS = {
    "norm1": "norm1",
    "conv1": "conv1",
    "norm2": "norm2",
    "conv2": "conv2",
    "se_reduce": "se.fc1",
    "se_expand": "se.fc2",
    "norm3": "norm3",
    "conv3": "conv3",
    "shortcut": "downsample",
}

_TIMM_V = Layout(
    ends={"stem_conv": "stem", "head_fc": "head.fc"},
    block="s{stage}.b{block}.",
    parts=_TIMM_V_PARTS,
    allowed={**_PLAIN, "block": ("pre",), "norm": _ANY_NORM},
)

# The pool comes first in its shortcuts.
_TIMM_V_POOL = dataclasses.replace(
    _TIMM_V,
    parts={**_TIMM_V_PARTS, "shortcut": "downsample.1"},
    allowed={**_TIMM_V.allowed, "projection": ("pool",)},
)

# RegNetZ-B16 to E8 are made of other parts than timm's other RegNets.
_BYOBNET = Layout(
    ends={
        "stem_conv": "stem.conv",
        "stem_conv_bn": "stem.bn",
        "stem_conv1": "stem.conv1.conv",
        "stem_conv1_bn": "stem.conv1.bn",
        "stem_conv2": "stem.conv2.conv",
        "stem_conv2_bn": "stem.conv2.bn",
        "stem_conv3": "stem.conv3.conv",
        "stem_conv3_bn": "stem.conv3.bn",
        "head_conv": "final_conv.conv",
        "head_conv_bn": "final_conv.bn",
        "head_fc": "head.fc",
    },
    block="stages.{stage_0}.{block_0}.",
    parts={
        "conv1": "conv1_1x1.conv",
        "conv1_bn": "conv1_1x1.bn",
        "conv2": "conv2_kxk.conv",
        "conv2_bn": "conv2_kxk.bn",
        "se_reduce": "attn.fc1",
        "se_expand": "attn.fc2",
        "conv3": "conv3_1x1.conv",
        "conv3_bn": "conv3_1x1.bn",
    },
    allowed={
        **_PLAIN,
        "block": ("z",),
        "stem": ("simple", "tiered", "deep"),
        "expand_from": ("input",),
        "se_from": ("inner",),
        "norm": _ANY_NORM,
    },
)

_TORCHVISION = Layout(
    ends={
        "stem_conv": "stem.0",
        "stem_conv_bn": "stem.1",
        "head_fc": "fc",
    },
    block="trunk_output.block{stage}.block{stage}-{block_0}.",
    parts={
        "conv1": "f.a.0",
        "conv1_bn": "f.a.1",
        "conv2": "f.b.0",
        "conv2_bn": "f.b.1",
        "se_reduce": "f.se.fc1",
        "se_expand": "f.se.fc2",
        "conv3": "f.c.0",
        "conv3_bn": "f.c.1",
        "shortcut": "proj.0",
        "shortcut_bn": "proj.1",
    },
)

_PYCLS = Layout(
    ends={
        "stem_conv": "stem.conv",
        "stem_conv_bn": "stem.bn",
        "head_conv": "head.conv",
        "head_conv_bn": "head.bn",
        "head_fc": "head.fc",
    },
    block="s{stage}.b{block}.",
    parts={
        "conv1": "f.a",
        "conv1_bn": "f.a_bn",
        "conv2": "f.b",
        "conv2_bn": "f.b_bn",
        "se_reduce": "f.se.f_ex.0",
        "se_expand": "f.se.f_ex.2",
        "conv3": "f.c",
        "conv3_bn": "f.c_bn",
        "shortcut": "proj",
        "shortcut_bn": "bn",
    },
    allowed={
        **_PLAIN,
        "block": ("x", "z"),
        "stem": ("simple", "cifar", "resnet"),
    },
    channel_order="BGR",
)

_CLASSY = Layout(
    ends={
        "stem_conv": "_feature_blocks.conv1.stem.0",
        "stem_conv_bn": "_feature_blocks.conv1.stem.1",
        "head_fc": "0.clf.0",
    },
    block="_feature_blocks.res{stage_2}.block{stage}-{block_0}.",
    parts=_CLASSY_PARTS,
    # What self-supervised training puts behind the body.
    dropped=rf"{_COUNTERS}|\bprojection_head\b|\bprototypes\d*\b",
)

_SWAG = Layout(
    ends={
        "stem_conv": "stem.stem.0",
        "stem_conv_bn": "stem.stem.1",
        "head_fc": "head.fc",
    },
    block="trunk_output.block{stage}.block{stage}-{block_0}.",
    parts=_CLASSY_PARTS,
)

_TRANSFORMERS = Layout(
    ends={
        "stem_conv": "regnet.embedder.embedder.convolution",
        "stem_conv_bn": "regnet.embedder.embedder.normalization",
        "head_fc": "classifier.1",
    },
    block="regnet.encoder.stages.{stage_0}.layers.{block_0}.",
    parts={
        "conv1": "layer.0.convolution",
        "conv1_bn": "layer.0.normalization",
        "conv2": "layer.1.convolution",
        "conv2_bn": "layer.1.normalization",
        "se_reduce": "layer.2.attention.0",
        "se_expand": "layer.2.attention.2",
        "conv3": "layer.2.convolution",
        "conv3_bn": "layer.2.normalization",
        "shortcut": "shortcut.convolution",
        "shortcut_bn": "shortcut.normalization",
    },
    parts_with_se={
        "conv3": "layer.3.convolution",
        "conv3_bn": "layer.3.normalization",
    },
)

# As `keras_h5` reads them: without the name of the model, which begins
# every name in the file.
_KERAS_APPLICATIONS = Layout(
    ends={
        "stem_conv": "stem_conv",
        "stem_conv_bn": "stem_bn",
        "head_fc": "head_dense",
    },
    block="Stage_{stage_0}_{letter}Block_{block_0}_",
    parts={
        "conv1": "conv_1x1_1",
        "conv1_bn": "conv_1x1_1_bn",
        "conv2": "conv_3x3",
        "conv2_bn": "conv_3x3_bn",
        "se_reduce": "squeeze_and_excite_squeeze",
        "se_expand": "squeeze_and_excite_excite",
        "conv3": "conv_1x1_2",
        "conv3_bn": "conv_1x1_2_bn",
        "shortcut": "skip_1x1",
        "shortcut_bn": "skip_bn",
    },
    variables=_KERAS_VARIABLES,
    separator="/",
)

# As `kimm_file` names them: the files have no names.
_KIMM = Layout(
    ends={
        "stem_conv": "stem_conv2d",
        "stem_conv_bn": "stem_bn",
        "head_fc": "classifier",
    },
    block="s{stage}_b{block}_",
    parts={
        "conv1": "conv1_conv2d",
        "conv1_bn": "conv1_bn",
        "conv2": "conv2_conv2d",
        "conv2_bn": "conv2_bn",
        "se_reduce": "se_conv_reduce",
        "se_expand": "se_conv_expand",
        "conv3": "conv3_conv2d",
        "conv3_bn": "conv3_bn",
        "shortcut": "downsample_conv2d",
        "shortcut_bn": "downsample_bn",
    },
    variables=_KERAS_VARIABLES,
    separator="/",
)

# As `kecam_file` reads them.
_KECAM = Layout(
    ends={
        "stem_conv": "stem_conv",
        "stem_conv_bn": "stem_bn",
        "stem_conv1": "stem_1_conv",
        "stem_conv1_bn": "stem_1_bn",
        "stem_conv2": "stem_2_conv",
        "stem_conv2_bn": "stem_2_bn",
        "stem_conv3": "stem_3_conv",
        "stem_conv3_bn": "stem_bn",
        "head_conv": "features_conv",
        "head_conv_bn": "features_bn",
        "head_fc": "predictions",
    },
    block="stack{stage}_block{block}_",
    parts={
        "conv1": "deep_1_conv",
        "conv1_bn": "deep_1_bn",
        "conv2": "deep_2_conv",
        "conv2_bn": "deep_2_bn",
        "se_reduce": "deep_2_se_1_conv",
        "se_expand": "deep_2_se_2_conv",
        "conv3": "deep_3_conv",
        "conv3_bn": "3_bn",
        "shortcut": "shortcut_conv",
        "shortcut_bn": "shortcut_bn",
    },
    variables=_KERAS_VARIABLES,
    separator="/",
)

_KECAM_Z = dataclasses.replace(
    _KECAM, allowed={**_BYOBNET.allowed, "norm": ("batch",)}
)

# Its EvoNorm has variables of the shape that it multiplies images by.
_KECAM_EVONORM = dataclasses.replace(
    _KECAM_Z,
    ends={k: v.replace("_bn", "_evo_norm") for k, v in _KECAM.ends.items()},
    parts={k: v.replace("_bn", "_evo_norm") for k, v in _KECAM.parts.items()},
    variables=_KERAS_VARIABLES
    | {
        "evonorm": {
            "gamma": ("gamma", "image"),
            "beta": ("beta", "image"),
        },
        "evonorm_act": {
            "gamma": ("gamma", "image"),
            "beta": ("beta", "image"),
            "v": ("vv", "image"),
        },
    },
    allowed={**_BYOBNET.allowed, "norm": ("evonorm_s0a",)},
)

_OUR_PARTS = (
    *("norm1", "conv1", "conv1_bn", "norm2", "conv2", "conv2_bn"),
    *("se_reduce", "se_expand", "norm3", "conv3", "conv3_bn"),
    *("shortcut", "shortcut_bn"),
)
_OUR_ENDS = (
    *("stem_conv", "stem_conv1", "stem_conv2", "stem_conv3"),
    "head_conv",
)

# The names that `readers.keras3_file` gives the tensors of our own models:
# Keras numbers a layer's variables. Not a format: no other project writes it.
OURS = Layout(
    ends={end: end for name in _OUR_ENDS for end in (name, f"{name}_bn")}
    | {"head_fc": "head_fc"},
    block="stage{stage}_block{block}_",
    parts={part: part for part in _OUR_PARTS},
    variables={
        kind: {
            variable: (str(number), "same")
            for number, variable in enumerate(variables)
        }
        for kind, variables in VARIABLES.items()
    },
    allowed={},
    separator="/",
)

# A format has one layout, or several for networks of several kinds.
FORMATS = {
    "timm": (_TIMM, _TIMM_V, _TIMM_V_POOL),
    "byobnet": (_BYOBNET,),
    "torchvision": (_TORCHVISION,),
    "pycls": (_PYCLS,),
    "classy": (_CLASSY,),
    "swag": (_SWAG,),
    "transformers": (_TRANSFORMERS,),
    "keras_applications": (_KERAS_APPLICATIONS,),
    "kimm": (_KIMM,),
    "kecam": (_KECAM, _KECAM_Z, _KECAM_EVONORM),
}
