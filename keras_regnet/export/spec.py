"""The options of an export, checked in one place."""

import dataclasses
import numbers
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from keras_regnet import errors

FORMATS = ("litert", "saved_model", "onnx")
QUANTIZATIONS = ("none", "float16", "dynamic", "int8")
# Type of the pixels of a file -> its dtype.
PIXEL_DTYPES = {"uint8": "uint8", "float": "float32", "int8": "int8"}
TARGETS = ("x86", "arm", "auto")
# Of ONNX: those that tf2onnx is tested with.
OPSETS = range(14, 19)
DYNAMIC = "dynamic"
RANDOM = "random"

Size = int | tuple[int, int] | str | None


def _only_for(*formats: str, default: Any) -> Any:
    """Returns a field that the other formats would ignore."""
    return dataclasses.field(default=default, metadata={"formats": formats})


@dataclasses.dataclass(frozen=True)
class Choice:
    """How a LiteRT file is made for its target.

    Args:
      target: one of `TARGETS`.
      group_width: see `ExportSpec`.
      float_stages: int8: stages that stay in float32, from the first on: 1 is
        the stem; of any network, what is computed at a size of its own.
      milliseconds: (form, median of a call) of what was measured; empty for a
        rule.
      processor: instruction set and threads of the measurement.
      reason: of "auto": why nothing was measured.

    Raises:
      ValueError: if what is chosen is not allowed.
    """

    target: str
    group_width: int | None = None
    float_stages: int = 0
    milliseconds: tuple[tuple[str, float], ...] = ()
    processor: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        """Checks what is chosen."""
        if self.target not in TARGETS:
            raise errors.unknown_value("target", self.target, TARGETS)
        _check_group_width(self.group_width)
        is_zero = self.float_stages == 0
        if not is_zero and not _is_positive(self.float_stages):
            raise ValueError(
                "`float_stages` must be an integer of 0 or more. "
                f"Received: float_stages={self.float_stages!r}"
            )

    def form(self) -> str:
        """Returns what was chosen, in words.

        Example:
        >>> Choice("auto", 64, 1).form()
        'groups up to 64, stem in float32'
        """
        groups = "groups as they are"
        if self.group_width is not None:
            groups = f"groups up to {self.group_width}"
        if self.float_stages == 0:
            return groups
        more = self.float_stages - 1
        stages = {0: "stem", 1: "stem and 1 stage"}.get(
            more, f"stem and {more} stages"
        )
        return f"{groups}, {stages} in float32"

    def record(self) -> dict[str, Any]:
        """Returns what the record beside the file keeps, as JSON has it."""
        return {
            **dataclasses.asdict(self),
            "milliseconds": dict(self.milliseconds),
        }

    def line(self) -> str:
        """Returns a line for the terminal: what was chosen, and why."""
        times = ", ".join(f"{form} {ms:.2f}" for form, ms in self.milliseconds)
        if times:
            why = f" (ms of noise on {self.processor}: {times})"
        elif self.reason:
            why = f" (by rule, not measured: {self.reason})"
        else:
            why = " (by rule)"
        return f"target {self.target}: {self.form()}{why}"


@dataclasses.dataclass(frozen=True, eq=False)
class ExportSpec:
    """What an exported file computes, and the shapes it takes.

    Args:
      format: "litert", "saved_model" or "onnx".
      quantize: LiteRT: "none" for float32; "float16" for weights in half
        precision; "dynamic" for int8 weights and activations quantized as
        they come; "int8" for int8 weights, per channel, and int8 activations.
      representative: int8: uint8 images (n, height, width, channels), as the
        model will see them, from which the ranges of the activations are
        taken, or "random" for noise, which is good for timing alone.
      input: LiteRT and ONNX: type of the pixels, "uint8" (0..255), "int8"
        (-128..127: 128 less) or "float" (0..255).
      batch: LiteRT and ONNX: images in a batch, or "dynamic".
      image_size: side of the images in pixels, (height, width), "dynamic", or
        None for the model's own.
      keep_float: int8: names of the layers that stay in float32; None to
        choose them by their errors, see `quantization`.
      group_width: LiteRT: grouped convolutions get groups of up to this many
        channels, with zeros between what were groups; None to leave them, or
        to let the target decide. The results are the same; 64 makes int8
        faster on x86 processors with AMX, and slower on others.
      target: LiteRT: processors that the file is to be fast on: "x86" or
        "arm", by rules; "auto" for those like this machine's, by measuring
        here, so that the bytes may differ from run to run; a `Choice` that
        was made before; None for no choice.
      opset: ONNX: version of its operators, 14 to 18; None for tf2onnx's own.
      fold_batch_norm: SavedModel: whether batch norm becomes a part of the
        convolutions, as it always does in the other formats.
      bfloat16: SavedModel: whether to compute in bfloat16; normalization and
        probabilities stay in float32.

    Raises:
      ValueError: if a value is not allowed, or the format or the quantization
        would ignore it.

    Example:
    >>> ExportSpec(batch="dynamic", image_size=32).batch_shape((64, 64, 3))
    (None, 32, 32, 3)
    """

    format: str = "litert"
    quantize: str = _only_for("litert", default="none")
    representative: Any = None
    input: str = _only_for("litert", "onnx", default="uint8")
    batch: int | str = _only_for("litert", "onnx", default=1)
    image_size: Size = None
    keep_float: Iterable[str] | None = None
    group_width: int | None = _only_for("litert", default=None)
    target: str | Choice | None = dataclasses.field(
        default=None, metadata={"formats": ("litert",)}
    )
    opset: int | None = _only_for("onnx", default=None)
    fold_batch_norm: bool = False
    bfloat16: bool = _only_for("saved_model", default=False)

    def __post_init__(self) -> None:
        """Checks each value, then what goes together."""
        for name, allowed in (
            ("format", FORMATS),
            ("quantize", QUANTIZATIONS),
            ("input", tuple(PIXEL_DTYPES)),
        ):
            if getattr(self, name) not in allowed:
                raise errors.unknown_value(name, getattr(self, name), allowed)
        if self.batch != DYNAMIC and not _is_positive(self.batch):
            raise ValueError(
                "`batch` must be an integer above 0 or 'dynamic'. "
                f"Received: batch={self.batch!r}"
            )
        if self.opset is not None and self.opset not in OPSETS:
            raise ValueError(
                f"`opset` must be {OPSETS[0]} to {OPSETS[-1]}, or None. "
                f"Received: opset={self.opset!r}"
            )
        _check_group_width(self.group_width)
        if isinstance(self.target, Choice):
            self._check_choice(self.target)
        elif self.target is not None and self.target not in TARGETS:
            raise errors.unknown_value("target", self.target, TARGETS)
        self._check_image_size()
        self._check_format()
        self._check_int8()

    def _check_choice(self, choice: Choice) -> None:
        """A choice made for another file must not replace what is asked for."""
        if self.group_width not in (None, choice.group_width):
            raise ValueError(
                "`group_width` must be that of the choice, or None. Received: "
                f"group_width={self.group_width!r}, target={choice!r}"
            )
        if choice.float_stages and self.quantize != "int8":
            raise ValueError(
                "`target` has stages in float32, which is for quantize=int8 "
                f"alone. Received: quantize={self.quantize!r}, "
                f"target={choice!r}"
            )

    def _check_image_size(self) -> None:
        size = self.image_size
        if size is None or size == DYNAMIC:
            return
        sides = size if isinstance(size, tuple | list) else [size]
        if len(sides) not in (1, 2) or not all(map(_is_positive, sides)):
            raise ValueError(
                "`image_size` must be an integer above 0, a pair of them, or "
                f"'dynamic'. Received: image_size={size!r}"
            )

    def _check_format(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            formats = field.metadata.get("formats", FORMATS)
            if self.format not in formats and value != field.default:
                raise ValueError(
                    f"`{field.name}` is for format={' or '.join(formats)}. "
                    f"Received: {field.name}={value!r}, format={self.format!r}"
                )

    def _check_int8(self) -> None:
        if self.quantize == "int8" and self.representative is None:
            raise ValueError(
                "`representative` must be given for quantize=int8: images as "
                "the model will see them (for the command a folder or a set), "
                "or 'random' for noise, which is good for timing alone. "
                "Received: representative=None"
            )
        for name in ("representative", "keep_float"):
            if self.quantize != "int8" and getattr(self, name) is not None:
                raise ValueError(
                    f"`{name}` is for quantize=int8 alone. "
                    f"Received: quantize={self.quantize!r}"
                )

    @property
    def precision(self) -> str:
        """What the values of the file are rounded to, see `Tolerance.of`."""
        return "bfloat16" if self.bfloat16 else self.quantize

    def batch_shape(self, own: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns the shape of a batch of the file's images.

        Args:
          own: (height, width, channels) of the model's images, None for any.
        """
        *sides, channels = own
        batch = None if self.batch == DYNAMIC else int(self.batch)
        size = self.image_size
        if size == DYNAMIC:
            sides = [None, None]
        elif size is not None:
            pair = size if isinstance(size, tuple | list) else (size, size)
            sides = [int(side) for side in (pair[0], pair[-1])]
        return (batch, *sides, channels)


def spec_of(
    format: str,
    spec: ExportSpec | None,
    options: dict[str, Any],
) -> ExportSpec:
    """Returns the spec that a function of a format was given.

    Args:
      format: of the file that the function writes.
      spec: what the caller gave, or None.
      options: fields of `ExportSpec` by keyword, which replace those of `spec`.
    """
    if not isinstance(spec, ExportSpec | None):
        raise ValueError(
            "`spec` must be an `ExportSpec`; single options are given by "
            f"keyword, such as quantize='int8'. Received: spec={spec!r}"
        )
    spec = dataclasses.replace(spec or ExportSpec(format=format), **options)
    if spec.format != format:
        raise ValueError(
            f"`format` must be {format!r} here. "
            f"Received: format={spec.format!r}"
        )
    return spec


def _check_group_width(group_width: Any) -> None:
    if group_width is not None and not _is_positive(group_width):
        raise ValueError(
            "`group_width` must be an integer above 0 or None. "
            f"Received: group_width={group_width!r}"
        )


def _is_positive(value: Any) -> bool:
    is_whole = isinstance(value, numbers.Integral) and value is not True
    return is_whole and value > 0
