"""The published networks, one row each, and the spellings of their names.

The rows hold the parameters of the paper; widths and depths are derived by
`keras_regnet.plan`. Sources: paper, figures 15 and 16 (RegNetX, RegNetY up to
32GF); ClassyVision's model definitions (RegNetY-64GF to 256GF, RegNetZ);
VISSL's (RegNetY-10B-SEER); timm's (RegNetY-256GF-SEER as VISSL trained it,
RegNetZ-4.0GF-NoHeadConv, RegNetZ-B16 to E8, RegNetV);
arXiv 1512.03385 and 1611.05431 as pycls configures them (ResNet, ResNeXt).
"""

import dataclasses
import fnmatch
import functools
import re

from keras_regnet import errors
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig

FAMILIES = ("RegNetX", "RegNetY", "RegNetZ", "RegNetV")


def _x(depth, w_0, w_a, w_m, group_width):
    return RegNetConfig(depth, w_0, w_a, w_m, group_width)


def _y(depth, w_0, w_a, w_m, group_width):
    return RegNetConfig(depth, w_0, w_a, w_m, group_width, block="y")


def _z(depth, w_0, w_a, w_m, group_width, head_width):
    return RegNetConfig(
        depth,
        w_0,
        w_a,
        w_m,
        group_width,
        bottleneck_ratio=0.25,
        block="z",
        se_ratio=0.25,
        activation="silu",
        head_width=head_width,
    )


def _v(depth, w_0, w_a, w_m, group_width, projection):
    return RegNetConfig(
        depth,
        w_0,
        w_a,
        w_m,
        group_width,
        block="pre",
        se_ratio=0.25,
        activation="silu",
        projection=projection,
    )


def _z_of_timm(
    depths, widths, group_width, head_width, tiered=True, expansion=4
):
    return AnyNetConfig(
        depths,
        widths,
        strides=(1 if tiered else 2, 2, 2, 2),
        bottleneck_ratios=1 / expansion,
        group_widths=group_width,
        block="z",
        se_ratio=0.25,
        se_from="inner",
        se_activation="relu",
        expand_from="input",
        stem="tiered" if tiered else "simple",
        stem_width=64 if tiered else 32,
        head_width=head_width,
        activation="silu",
    )


def _resnet(depths, bottleneck_ratio=4, group_widths=None):
    return AnyNetConfig(
        depths,
        (256, 512, 1024, 2048),
        (1, 2, 2, 2),
        bottleneck_ratio,
        group_widths,
        stem="resnet",
        stem_width=64,
    )


def _resnext(depths):
    return _resnet(depths, bottleneck_ratio=2, group_widths=(4, 8, 16, 32))


_VARIANTS = {
    "RegNetX-200MF": _x(13, 24, 36.44, 2.49, 8),
    "RegNetX-400MF": _x(22, 24, 24.48, 2.54, 16),
    "RegNetX-600MF": _x(16, 48, 36.97, 2.24, 24),
    "RegNetX-800MF": _x(16, 56, 35.73, 2.28, 16),
    "RegNetX-1.6GF": _x(18, 80, 34.01, 2.25, 24),
    "RegNetX-3.2GF": _x(25, 88, 26.31, 2.25, 48),
    "RegNetX-4.0GF": _x(23, 96, 38.65, 2.43, 40),
    "RegNetX-6.4GF": _x(17, 184, 60.83, 2.07, 56),
    "RegNetX-8.0GF": _x(23, 80, 49.56, 2.88, 120),
    "RegNetX-12GF": _x(19, 168, 73.36, 2.37, 112),
    "RegNetX-16GF": _x(22, 216, 55.59, 2.1, 128),
    "RegNetX-32GF": _x(23, 320, 69.86, 2.0, 168),
    "RegNetY-200MF": _y(13, 24, 36.44, 2.49, 8),
    "RegNetY-400MF": _y(16, 48, 27.89, 2.09, 8),
    "RegNetY-600MF": _y(15, 48, 32.54, 2.32, 16),
    "RegNetY-800MF": _y(14, 56, 38.84, 2.4, 16),
    "RegNetY-1.6GF": _y(27, 48, 20.71, 2.65, 24),
    "RegNetY-3.2GF": _y(21, 80, 42.63, 2.66, 24),
    "RegNetY-4.0GF": _y(22, 96, 31.41, 2.24, 64),
    "RegNetY-6.4GF": _y(25, 112, 33.22, 2.27, 72),
    "RegNetY-8.0GF": _y(17, 192, 76.82, 2.19, 56),
    "RegNetY-12GF": _y(19, 168, 73.36, 2.37, 112),
    "RegNetY-16GF": _y(18, 200, 106.23, 2.48, 112),
    "RegNetY-32GF": _y(20, 232, 115.89, 2.53, 232),
    "RegNetY-64GF": _y(20, 352, 147.48, 2.4, 328),
    "RegNetY-128GF": _y(27, 456, 160.83, 2.52, 264),
    "RegNetY-256GF": _y(27, 640, 124.47, 2.04, 848),
    "RegNetY-256GF-SEER": _y(27, 640, 230.83, 2.53, 373),
    "RegNetY-10B-SEER": _y(27, 1744, 620.83, 2.52, 1010),
    "RegNetZ-500MF": _z(21, 16, 10.7, 2.51, 4, head_width=1024),
    "RegNetZ-4.0GF": _z(28, 48, 14.5, 2.226, 8, head_width=1536),
    "RegNetZ-4.0GF-NoHeadConv": _z(28, 48, 14.5, 2.226, 8, head_width=0),
    "RegNetZ-B16": _z_of_timm(
        (2, 6, 12, 2), (48, 96, 192, 288), 16, 1536, tiered=False, expansion=3
    ),
    "RegNetZ-C16": _z_of_timm(
        (2, 6, 12, 2), (48, 96, 192, 288), 16, 1536, tiered=False
    ),
    "RegNetZ-D32": _z_of_timm((3, 6, 12, 3), (64, 128, 256, 384), 32, 1792),
    "RegNetZ-D8": _z_of_timm((3, 6, 12, 3), (64, 128, 256, 384), 8, 1792),
    "RegNetZ-E8": _z_of_timm((3, 8, 16, 3), (96, 192, 384, 512), 8, 2048),
    "RegNetV-4.0GF": _v(22, 96, 31.41, 2.24, 64, "conv"),
    "RegNetV-6.4GF": _v(25, 112, 33.22, 2.27, 72, "pool"),
    "ResNet-50": _resnet((3, 4, 6, 3)),
    "ResNet-101": _resnet((3, 4, 23, 3)),
    "ResNet-152": _resnet((3, 8, 36, 3)),
    "ResNeXt-50": _resnext((3, 4, 6, 3)),
    "ResNeXt-101": _resnext((3, 4, 23, 3)),
    "ResNeXt-152": _resnext((3, 8, 36, 3)),
}

# Networks of timm's that differ from ours in more than their parameters.
_OF_OTHER_KINDS = {
    "regnety_040_sgn": "group norm in place of batch norm",
    "regnetz_c16_evos": "EvoNorm-S0 in place of batch norm and activation",
    "regnetz_d8_evos": "EvoNorm-S0 in place of batch norm and activation",
}

# "regnety_032", "RegNetY-3.2GF", "regnet_y_3_2gf", "3.2GF", "032" ...
_REGNET_SPELLING = re.compile(
    r"(?:regnet[-_ ]?(?P<family>[xyzv])[-_ ]?)?"
    r"(?:(?P<flops>\d+(?:[._]\d+)?)(?P<unit>[mg])f?|(?P<code>\d{3,4}))"
)
_RESNET_SPELLING = re.compile(
    r"(?P<family>resnet|resnext)[-_ ]?(?P<layers>\d+)(?:[-_]32x4d)?"
)

# What makes a name a pattern of names.
_WILDCARDS = re.compile(r"[*?[]")


def _key(name):
    """Returns (family or None, MFLOPs or layers) of a spelling, or None."""
    text = str(name).strip().lower()
    if match := _RESNET_SPELLING.fullmatch(text):
        return match["family"], int(match["layers"])
    match = _REGNET_SPELLING.fullmatch(text)
    if not match:
        return None
    family = match["family"] and "regnet" + match["family"]
    if match["code"]:
        return family, int(match["code"]) * 100
    flops = float(match["flops"].replace("_", "."))
    return family, round(flops * (1000 if match["unit"] == "g" else 1))


_NAMES = {_key(name): name for name in _VARIANTS if _key(name)}
_NAMES_IN_LOWER_CASE = {name.lower(): name for name in _VARIANTS}
# Names of timm and transformers for networks whose size is ambiguous or not in
# the name.
_NAMES_OF_OTHERS = {
    "regnet-y-10b-seer": "RegNetY-10B-SEER",
    "regnety_2560": "RegNetY-256GF-SEER",
    "regnetz_040": "RegNetZ-4.0GF-NoHeadConv",
    "regnetz_040_h": "RegNetZ-4.0GF",
    "regnetz_b16": "RegNetZ-B16",
    "regnetz_c16": "RegNetZ-C16",
    "regnetz_d32": "RegNetZ-D32",
    "regnetz_d8": "RegNetZ-D8",
    "regnetz_e8": "RegNetZ-E8",
}


def list_variants(pattern: str | None = None) -> tuple[str, ...]:
    """Returns the names of the published networks.

    Args:
      pattern: a family, such as "RegNetX" or "ResNet"; a network in any common
        spelling; or either with the wildcards of file names, such as `"*GF"`,
        `"regnety*"` or `"regnety_0[01]*"`. Case and separators do not
        count. None for all.

    Returns:
      Names as the papers print them, small to large within a family.

    Raises:
      ValueError: if no network has such a name.

    Example:
    >>> list_variants("RegNetV"), list_variants("RegNet?-8GF")
    (('RegNetV-4.0GF', 'RegNetV-6.4GF'), ('RegNetX-8.0GF', 'RegNetY-8.0GF'))
    """
    return tuple(_VARIANTS) if pattern is None else matching(pattern, "pattern")


def matching(pattern: str, argument: str) -> tuple[str, ...]:
    """Returns the names that a pattern stands for, see `list_variants`."""
    text = str(pattern).strip()
    if _WILDCARDS.search(text):
        plain = _without_separators(text)
        found = tuple(
            name
            for name in _VARIANTS
            if any(fnmatch.fnmatchcase(s, plain) for s in _spellings(name))
        )
    elif text.lower() in _families():
        found = _of_family(text)
    else:
        _check_kind(text)
        found = tuple(filter(None, [_find(text, None)]))
    if not found:
        allowed = (*_families().values(), *_VARIANTS)
        raise errors.unknown_value(argument, pattern, allowed)
    return found


def _families():
    """Returns the names of the families by their small letters."""
    names = dict.fromkeys(name.split("-")[0] for name in _VARIANTS)
    return {name.lower(): name for name in names}


def _of_family(family):
    families = _families()
    if str(family).lower() not in families:
        raise errors.unknown_value("family", family, families.values())
    prefix = families[str(family).lower()] + "-"
    return tuple(name for name in _VARIANTS if name.startswith(prefix))


def _without_separators(text):
    """Returns a name, or a pattern of names, as patterns are compared.

    Within brackets a hyphen is a range's. Torchvision writes 3_2 for 3.2.
    """
    text = re.sub(r"(?<=\d)_(?=\d)", ".", text.lower())
    return re.sub(r"(\[[^]]*\])|[-_ ]", lambda match: match[1] or "", text)


@functools.cache
def _spellings(name):
    """Returns what a pattern may match: the paper's name, and timm's."""
    family, size = _key(name) or (name, 0)
    code = f"{family}_{size // 100:03d}"
    others = [
        *(spelling for spelling, n in _NAMES_OF_OTHERS.items() if n == name),
        *([code] if _find(code, None) == name else []),
    ]
    names = [name, name.replace(".0GF", "GF"), *others]
    return tuple(dict.fromkeys(map(_without_separators, names)))


def variant_name(variant: str, family: str | None = None) -> str:
    """Returns the printed name for any common spelling of a variant.

    Args:
      variant: "RegNetY-3.2GF", "regnety_032", "regnet_y_3_2gf", "resnet50";
        with a `family` also "3.2GF", "4.0GF", "4GF" or "032".
      family: "RegNetX", "RegNetY" ...; None if `variant` says it.

    Returns:
      The key of `list_variants()`.

    Raises:
      ValueError: if there is no such variant, or it is of another family.

    Example:
    >>> variant_name("4GF", "RegNetY"), variant_name("regnety_032")
    ('RegNetY-4.0GF', 'RegNetY-3.2GF')
    """
    allowed = tuple(_VARIANTS) if family is None else _of_family(family)
    _check_kind(variant)
    name = _find(variant, family)
    if name not in allowed:
        raise errors.unknown_value(
            "variant", variant, _spelled_like(str(variant), allowed)
        )
    return name


def _check_kind(variant):
    """Raises if a name is that of a network which is none of ours."""
    if other := _OF_OTHER_KINDS.get(str(variant).strip().lower()):
        raise ValueError(
            f"`variant` must be a network with batch norm; this one has "
            f"{other}, which no configuration here expresses. "
            f"Received: variant={variant!r}"
        )


def _find(variant, family):
    """Returns the printed name, of any family, or None."""
    text = str(variant).strip().lower()
    prefix = f"{family}-".lower() if family else ""
    for names in (_NAMES_OF_OTHERS, _NAMES_IN_LOWER_CASE):
        for spelling in (text, prefix + text):
            if spelling in names:
                return names[spelling]
    named_family, size = _key(text) or (None, None)
    if named_family is None and family is not None:
        named_family = family.lower()
    return _NAMES.get((named_family, size))


def _spelled_like(variant, names):
    """Returns names without the family if the caller wrote none."""
    if variant.lower().startswith(("regnet", "resne")):
        return names
    if len({name.split("-")[0] for name in names}) > 1:
        return names
    return tuple(name.split("-")[1] for name in names)


def get_config(
    variant: str, family: str | None = None
) -> RegNetConfig | AnyNetConfig:
    """Returns the configuration of a published network.

    Args:
      variant: the name in any common spelling, see `variant_name`.
      family: "RegNetX", "RegNetY" ...; None if `variant` says it.

    Returns:
      A `RegNetConfig`; for ResNet and ResNeXt an `AnyNetConfig`.

    Raises:
      ValueError: if there is no such variant, or it is of another family.

    Example:
    >>> get_config("RegNetX-400MF").group_width
    16
    """
    return _VARIANTS[variant_name(variant, family)]


def find_name(config: RegNetConfig | AnyNetConfig) -> str | None:
    """Returns the name of a configuration.

    Args:
      config: a configuration.

    Returns:
      The name of the published network, whatever the padding and the rounding
      of widths; None if the network was not published.

    Example:
    >>> find_name(get_config("regnetx_002"))
    'RegNetX-200MF'
    """
    plain = _without_rules(config)
    for name, published in _VARIANTS.items():
        if _without_rules(published) == plain:
            return name
    return None


def _without_rules(config):
    """Returns the configuration with the rules that weights may change."""
    rules = {"padding": "symmetric"}
    if isinstance(config, RegNetConfig):
        rules["width_rounding"] = "pycls"
    return dataclasses.replace(config, **rules)
