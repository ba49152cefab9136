"""Configurations: what a network is, before anything is built.

`AnyNetConfig` lists every stage. `RegNetConfig` holds the few parameters of
the quantized linear function from which `keras_regnet.plan` derives the
stages. Both are frozen, validated when made, and survive JSON. No Keras here:
a sampler makes a million of these.
"""

import dataclasses
import json
import math
import numbers
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import TYPE_CHECKING

from keras_regnet import errors
from keras_regnet import safe_files
from keras_regnet.widths import inner_width

BLOCKS = ("x", "y", "r", "v", "vr", "z", "pre", "basic")
STEMS = ("simple", "cifar", "resnet", "tiered", "deep")
NORMS = ("batch", "group", "evonorm_s0a")
PROJECTIONS = ("conv", "pool")
EXPANSIONS = ("output", "input")
SQUEEZES = ("input", "inner")
PADDINGS = ("symmetric", "same")
WIDTH_ROUNDINGS = ("pycls", "torchvision")

_NORM_GROUP_WIDTH = 16
# What configurations of earlier versions do not have, and JSON leaves out where
# it changes nothing: the text of the same network stays the same.
_LATER_FIELDS = ("norm", "norm_group_width")
# Types that `_plain` leaves as they are.
_PLAIN_TYPES = (str, int, float, bool, type(None))
# Blocks made of plain 3x3 convolutions: no bottleneck, groups or SE.
PLAIN_BLOCKS = ("v", "vr", "basic")
# Blocks without a shortcut where the shape changes.
_UNPROJECTED_BLOCKS = ("v", "z")
_SE_RATIO_OF_Y = 0.25
# Far beyond any network, and far below what counting its layers could not bear.
_MAX_BLOCKS = 10_000
_MAX_NUMBER = 2**20
_DIGITS_SHOWN = 20


def _check_number(name, value, *, above, integer=False, most=_MAX_NUMBER):
    """Raises unless `value` is a finite number, an integer where required."""
    kind = numbers.Integral if integer else numbers.Real
    is_number = isinstance(value, kind) and not isinstance(value, bool)
    # NaN is not above anything.
    if not is_number or not value > above or value == math.inf:
        what = "an integer" if integer else "a finite number"
        raise ValueError(
            f"`{name}` must be {what} above {above}. Received: {name}={value!r}"
        )
    if value > most:
        raise ValueError(
            f"`{name}` must be at most {most}. "
            f"Received: {name}={str(value)[:_DIGITS_SHOWN]}"
        )


def _check_ratio(name, value):
    _check_number(name, value, above=0, most=math.inf)
    if not 1 / 64 <= value <= 64:
        raise ValueError(
            f"`{name}` must be within 1/64 and 64. Received: {name}={value!r}"
        )


def _plain(value):
    """Returns Python numbers and tuples in place of NumPy's and lists."""
    if isinstance(value, list | tuple) or getattr(value, "ndim", False):
        return tuple(_plain(item) for item in value)
    return value.item() if hasattr(value, "item") else value


def _check_name(name, value, allowed):
    if not isinstance(value, str) or value not in allowed:
        raise errors.unknown_value(name, value, allowed)


def _check_activation(name, value):
    if not isinstance(value, str) or not value:
        raise ValueError(
            f"`{name}` must be the name of a Keras activation. "
            f"Received: {name}={value!r}"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkTemplate:
    """The parameters that all blocks of a network share.

    Args:
      block: "x" is the bottleneck with a grouped 3x3 convolution; "y" is "x"
        with squeeze-and-excitation and "r" is "x" without groups (both are
        stored as "x"); "v" is one 3x3 convolution and "vr" the same with a
        residual; "z" is the linear inverted bottleneck; "pre" is "x" with
        norm and activation before each convolution and behind none, after a
        stem without them; "basic" is the residual block of two 3x3
        convolutions.
      se_ratio: squeeze width / width of the block's input; 0 for none.
      se_from: "input" as above; with "inner" the ratio is to the width of
        the 3x3 convolution, and the squeeze width a multiple of 8.
      se_activation: activation between the two convolutions of
        squeeze-and-excitation; None for `activation`.
      expand_from: the width that the bottleneck ratio refers to: that of the
        block's "output", or of its "input" (they differ in a stage's first).
      projection: the shortcut where the shape changes: "conv" is a
        strided 1x1 convolution; with "pool" an average pool has the stride.
      stem: "simple" is 3x3 with stride 2, "cifar" is 3x3 with stride 1,
        "resnet" is 7x7 with stride 2 and a 3x3 max-pool with stride 2;
        "tiered" is three 3x3 of growing width with strides 2, 1 and 2, and
        "deep" the same of one width.
      stem_width: channels of the stem's output.
      head_width: channels of a 1x1 convolution before the pool; 0 for none.
      activation: name of a Keras activation.
      norm: "batch"; "group" is group norm (arXiv 1803.08494), which computes
        with each image alone; so does "evonorm_s0a" (arXiv 2004.02967), which
        stands for the activation behind it as well, and where there is none
        divides by the deviation of the groups all the same.
      norm_group_width: channels in a group of a norm of single images. Where
        it does not divide a layer's channels, their greatest common divisor.
      padding: "symmetric" pads strided convolutions by the same number of
        pixels on every side, as PyTorch does; "same" is TensorFlow's rule.

    Raises:
      ValueError: if a value is not one of those allowed.
    """

    block: str = "x"
    se_ratio: float = 0.0
    se_from: str = "input"
    se_activation: str | None = None
    expand_from: str = "output"
    projection: str = "conv"
    stem: str = "simple"
    stem_width: int = 32
    head_width: int = 0
    activation: str = "relu"
    padding: str = "symmetric"
    norm: str = "batch"
    norm_group_width: int = _NORM_GROUP_WIDTH

    def _validate_template(
        self,
        group_widths: Sequence[int | None],
        bottleneck_ratios: Sequence[float],
    ) -> None:
        _check_name("block", self.block, BLOCKS)
        _check_name("stem", self.stem, STEMS)
        _check_name("padding", self.padding, PADDINGS)
        _check_name("projection", self.projection, PROJECTIONS)
        _check_name("expand_from", self.expand_from, EXPANSIONS)
        _check_name("se_from", self.se_from, SQUEEZES)
        _check_number("stem_width", self.stem_width, above=0, integer=True)
        _check_number("head_width", self.head_width, above=-1, integer=True)
        if self.se_ratio:
            _check_ratio("se_ratio", self.se_ratio)
        _check_activation("activation", self.activation)
        if self.se_activation is not None:
            _check_activation("se_activation", self.se_activation)
        self._validate_norm()
        self._validate_block(group_widths, bottleneck_ratios)

    def _validate_norm(self) -> None:
        _check_name("norm", self.norm, NORMS)
        width = self.norm_group_width
        _check_number("norm_group_width", width, above=0, integer=True)
        if self.norm == "batch" and width != _NORM_GROUP_WIDTH:
            raise ValueError(
                f"`norm_group_width` must be {_NORM_GROUP_WIDTH} with "
                "norm='batch', which has no groups. "
                f"Received: norm_group_width={width}"
            )

    def _validate_block(
        self,
        group_widths: Sequence[int | None],
        bottleneck_ratios: Sequence[float],
    ) -> None:
        """Refuses what the block does not have."""
        if self.block in _UNPROJECTED_BLOCKS and self.projection != "conv":
            raise ValueError(
                f"`projection` must be 'conv' with block={self.block!r}, which "
                f"has none. Received: projection={self.projection!r}"
            )
        if self.block in PLAIN_BLOCKS and self.expand_from != "output":
            raise ValueError(
                f"`expand_from` must be 'output' with block={self.block!r}. "
                f"Received: expand_from={self.expand_from!r}"
            )
        grouped = any(width is not None for width in group_widths)
        if self.block in (*PLAIN_BLOCKS, "r") and grouped:
            raise ValueError(
                f"`group_width` must be None with block={self.block!r}, which "
                f"has no groups. Received: group_width={group_widths}"
            )
        if self.block in PLAIN_BLOCKS and set(bottleneck_ratios) != {1.0}:
            raise ValueError(
                f"`bottleneck_ratio` must be 1 with block={self.block!r}. "
                f"Received: bottleneck_ratio={bottleneck_ratios}"
            )
        if self.block in PLAIN_BLOCKS and self.se_ratio:
            raise ValueError(
                f"`se_ratio` must be 0 with block={self.block!r}. "
                f"Received: se_ratio={self.se_ratio}"
            )

    def _store_one_spelling(self) -> None:
        """Makes configurations of equal networks equal."""
        if self.se_activation == self.activation:
            self._set(se_activation=None)
        if self.block == "y":
            self._set(block="x", se_ratio=self.se_ratio or _SE_RATIO_OF_Y)
        elif self.block == "r":
            self._set(block="x")

    def _set(self, **values: Any) -> None:
        # A frozen dataclass offers no other way to normalize its own fields.
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _store_plain_values(self) -> None:
        """Makes equal configurations equal in JSON too."""
        for name, value in vars(self).items():
            if type(value) not in _PLAIN_TYPES:
                self._set(**{name: _plain(value)})

    def to_json(self) -> str:
        """Returns the configuration as one line of JSON.

        Returns:
          JSON that `from_json` turns back into an equal configuration.
        """
        values = {"type": type(self).__name__, **dataclasses.asdict(self)}
        if self.norm == "batch":
            for name in _LATER_FIELDS:
                del values[name]
        return json.dumps(values)


@dataclasses.dataclass(frozen=True)
class RegNetConfig(NetworkTemplate):
    """A RegNet: stages from a quantized linear function (paper, section 3.3).

    Block j is `w_0 + w_a * j` channels wide before quantization to
    `w_0 * w_m ** integer`. Any number of stages may come out of it.

    Args:
      depth: number of blocks d in the body.
      w_0: initial width in channels, above 0.
      w_a: slope in channels per block, 0 or above.
      w_m: width multiplier between quantized levels, above 1.
      group_width: channels per group g of the 3x3 convolutions; None for
        convolutions without groups.
      bottleneck_ratio: b = width / inner width, above 0.
      strides: stride of each stage's first block; one number for all stages
        or one number per stage.
      width_rounding: how a width is made a multiple of its group width:
        "pycls" rounds to the nearest, halves to even; "torchvision" rounds
        halves up and adds a group where the result is under 0.9 of the width.

    Raises:
      ValueError: if a value is not one of those allowed.

    Example:
    >>> RegNetConfig(depth=13, w_0=24, w_a=36.44, w_m=2.49, group_width=8).w_m
    2.49
    """

    depth: int
    w_0: float
    w_a: float
    w_m: float
    group_width: int | None = None
    bottleneck_ratio: float = 1.0
    strides: int | tuple[int, ...] = 2
    width_rounding: str = "pycls"

    def __post_init__(self) -> None:
        self._store_plain_values()
        _check_number(
            "depth", self.depth, above=0, integer=True, most=_MAX_BLOCKS
        )
        _check_number("w_0", self.w_0, above=0)
        if self.w_a != 0:
            _check_number("w_a", self.w_a, above=0)
        _check_number("w_m", self.w_m, above=1)
        _check_ratio("bottleneck_ratio", self.bottleneck_ratio)
        if self.group_width is not None:
            _check_number(
                "group_width", self.group_width, above=0, integer=True
            )
        strides = self.strides
        for stride in strides if isinstance(strides, tuple) else (strides,):
            _check_number("strides", stride, above=0, integer=True)
        _check_name("width_rounding", self.width_rounding, WIDTH_ROUNDINGS)
        self._validate_template([self.group_width], [self.bottleneck_ratio])
        self._store_one_spelling()


def _check_group_width(stage, width, ratio, group_width):
    inner = inner_width(width, ratio)
    if inner % group_width:
        raise ValueError(
            "`group_widths` must divide the inner width (width / "
            f"bottleneck ratio) of their stage. Received: stage "
            f"{stage} with width={width}, bottleneck_ratio={ratio}, "
            f"inner width={inner}, group_width={group_width}"
        )


def _for_all_stages(value: Any) -> Any:
    """Returns a default that `_per_stage` repeats."""
    return value


def _per_stage(name, value, stages):
    """Returns `value` as one entry per stage; a single value serves all."""
    if not isinstance(value, tuple):
        return (value,) * stages
    if len(value) != stages:
        raise ValueError(
            f"`{name}` must have one value per stage, as `depths` has "
            f"{stages}. Received: {name}={value}"
        )
    return value


@dataclasses.dataclass(frozen=True)
class AnyNetConfig(NetworkTemplate):
    """A network given stage by stage (paper, section 3.2).

    Args:
      depths: blocks in each stage.
      widths: channels of each stage.
      strides: stride of each stage's first block; one number serves all.
      bottleneck_ratios: b = width / inner width of each stage; one number
        serves all.
      group_widths: channels per group of each stage's 3x3 convolutions; one
        number serves all; None for convolutions without groups.

    Raises:
      ValueError: if a value is not allowed, or a group width does not divide
        its stage's inner width.

    Example:
    >>> config = AnyNetConfig((1, 2), (32, 64), group_widths=16)
    >>> config.strides, config.group_widths
    ((2, 2), (16, 16))
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    strides: tuple[int, ...] = _for_all_stages(2)
    bottleneck_ratios: tuple[float, ...] = _for_all_stages(1.0)
    group_widths: tuple[int | None, ...] = _for_all_stages(None)

    if TYPE_CHECKING:
        # It takes more than it stores.
        def __init__(
            self,
            depths: Sequence[int],
            widths: Sequence[int],
            strides: int | Sequence[int] = 2,
            bottleneck_ratios: float | Sequence[float] = 1.0,
            group_widths: int | Sequence[int | None] | None = None,
            **template: Any,
        ) -> None: ...

    def __post_init__(self) -> None:
        self._store_plain_values()
        if not isinstance(self.depths, tuple) or not self.depths:
            raise ValueError(
                "`depths` must be a sequence with at least one stage. "
                f"Received: depths={self.depths!r}"
            )
        stages = len(self.depths)
        _check_number("the number of stages", stages, above=0, most=_MAX_BLOCKS)
        for name in ("widths", "strides", "bottleneck_ratios", "group_widths"):
            self._set(**{name: _per_stage(name, getattr(self, name), stages)})
        for name in ("depths", "widths", "strides"):
            for value in getattr(self, name):
                _check_number(name, value, above=0, integer=True)
        _check_number(
            "the sum of depths",
            sum(self.depths),
            above=0,
            integer=True,
            most=_MAX_BLOCKS,
        )
        for ratio in self.bottleneck_ratios:
            _check_ratio("bottleneck_ratios", ratio)
        self._validate_template(self.group_widths, self.bottleneck_ratios)
        self._check_group_widths()
        self._store_one_spelling()

    def _check_group_widths(self) -> None:
        stages = zip(
            (self.stem_width, *self.widths),
            self.widths,
            self.bottleneck_ratios,
            self.group_widths,
            strict=False,  # The last width is not the input of a stage.
        )
        for stage, (before, width, ratio, group) in enumerate(stages, start=1):
            if group is None:
                continue
            _check_number("group_widths", group, above=0, integer=True)
            expanded = {width}
            if self.expand_from == "input":
                expanded.add(before)
            for expanded_width in sorted(expanded):
                _check_group_width(stage, expanded_width, ratio, group)


_TYPES = {cls.__name__: cls for cls in (RegNetConfig, AnyNetConfig)}


def from_dict(values: Mapping[str, Any]) -> RegNetConfig | AnyNetConfig:
    """Returns the configuration that a parsed JSON object describes.

    Args:
      values: the fields, and under "type" the name of the class.

    Returns:
      A `RegNetConfig` or an `AnyNetConfig`.

    Raises:
      ValueError: if the type or a field is unknown, or a value is not allowed.
    """
    values = dict(values)
    type_name = values.pop("type", None)
    _check_name("type", type_name, _TYPES)
    cls = _TYPES[type_name]
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for name in values:
        _check_name("field", name, fields)
    missing = [
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and name not in values
    ]
    if missing:
        raise ValueError(
            f"`{type_name}` needs the fields {missing}. "
            f"Received: {sorted(values)}"
        )
    return cls(**values)


def from_json(text: str) -> RegNetConfig | AnyNetConfig:
    """Returns the configuration that `to_json` wrote.

    Args:
      text: JSON of one object.

    Returns:
      A `RegNetConfig` or an `AnyNetConfig`, equal to the one written.

    Raises:
      ValueError: if the text is not a JSON object or not a valid configuration.

    Example:
    >>> config = AnyNetConfig((1, 2), (32, 64))
    >>> from_json(config.to_json()) == config
    True
    """
    try:
        values = safe_files.parse_json(text, "it")
    except ValueError as error:
        raise ValueError(
            f"A configuration must be a JSON object ({error}). "
            f"Received: {text[:80]!r}"
        ) from error
    if not isinstance(values, dict):
        raise ValueError(
            f"A configuration must be a JSON object. Received: {text[:80]!r}"
        )
    return from_dict(values)
