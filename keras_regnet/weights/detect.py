"""Which format and which network a file is, from names and shapes alone."""

import dataclasses
import functools
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_regnet import config as config_lib
from keras_regnet import plan
from keras_regnet import variants
from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.weights import mapping
from keras_regnet.weights import transforms
from keras_regnet.weights.formats import FORMATS
from keras_regnet.weights.formats import Layout
from keras_regnet.weights.formats import OURS
from keras_regnet.weights.readers.tensors import Tensors

# transformers leaves this out where it saves a body without classifier.
_TRANSFORMERS_PREFIX = "regnet."
_TRANSFORMERS_BODY = ("embedder.", "encoder.")
# Stands for the name of a format where a file is our own.
OUR_FORMAT = "keras_regnet"
_STEMS = ("stem_conv", "stem_conv1")
# In VISSL's largest checkpoints, between stage and block: how it cut stages.
_CUT = re.compile(r"\.block\d-part\d(?=\.)")
_HEAD = "head_fc/"
# The axis of a stem's kernel for the channels of the image.
_CHANNELS = 2
# One tensor of another shape is damage; more are another network.
_MAX_MISFITS = 1
# As many numbers may always be missing.
_MAX_MISSING = 2**20
_FIELD = re.compile(r"\\\{(\w+?)(_\d)?\\\}")


class StageShape(NamedTuple):
    """What the tensors of one stage tell; 0 where they do not.

    Args:
      depth: blocks.
      width: channels of their outputs.
      group_width: channels per group of their 3x3 convolutions.
    """

    depth: int
    width: int
    group_width: int


@dataclasses.dataclass(frozen=True)
class DetectedCheckpoint:
    """What a file holds.

    Args:
      format: a key of `keras_regnet.weights.formats.FORMATS`, or
        `OUR_FORMAT`.
      layouts: those of the format that its names can be of.
      tensors: under the names that the format's map expects.
      stages: the stages' shapes.
      has_se: whether blocks have squeeze-and-excitation.
      has_head_conv: whether a convolution comes before the pool.
      norm: as a configuration's, told by the variables that each has.
      classes: outputs of the classifier, 0 if there is none.
    """

    format: str
    layouts: tuple[Layout, ...]
    tensors: Tensors
    stages: tuple[StageShape, ...]
    has_se: bool
    has_head_conv: bool
    norm: str
    classes: int

    def fits(self, config: RegNetConfig | AnyNetConfig) -> bool:
        """Whether the tensors are those of a configuration.

        Some may be missing or left over; none has another shape.
        """
        return self._has_stages(config) and not self.misfits(config)

    def misfits(
        self, config: RegNetConfig | AnyNetConfig, include_top: bool = False
    ) -> dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]]:
        """Returns the tensors that have another shape.

        By the name in the file: our name, the shape in Keras's order of axes,
        and that of the configuration. The image may have other channels.
        """
        first = mapping.first_kernel(config)
        found = {}
        for path, name, transform, expected in self._expected(config):
            of_head = path.startswith(_HEAD) and not include_top
            if name not in self.tensors or of_head:
                continue
            shape = _keras_shape_or_own(transform, self.tensors.shapes[name])
            if shape == expected:
                continue
            if path != first or _one_channel(shape) != _one_channel(expected):
                found[name] = (path, shape, expected)
        return found

    def _expected(self, config):
        """Yields path, name, transform and shape of what a network needs."""
        layout = OURS
        if self.format != OUR_FORMAT:
            layout = mapping.layout_of(config, self.format)
        sources = mapping.of_layout(config, layout, bool(self.classes))
        for path, shape in mapping.shapes(config, self.classes).items():
            yield path, *sources[path], shape

    def has_any(self, config: RegNetConfig | AnyNetConfig) -> bool:
        """Whether there is any tensor that a network has."""
        return any(
            name in self.tensors for _, name, _, _ in self._expected(config)
        )

    def check_size(self, config: RegNetConfig | AnyNetConfig) -> None:
        """Raises if a network is far larger than what the file holds of it.

        It would be built before anybody notices which tensors are missing.
        """
        present = missing = 0
        for _, name, _, shape in self._expected(config):
            if math.prod(self.tensors.shapes.get(name, ())) == math.prod(shape):
                present += math.prod(shape)
            else:
                missing += math.prod(shape)
        if missing > _MAX_MISSING and missing > present:
            raise ValueError(
                f"it holds {present:,} of the {present + missing:,} numbers "
                f"that {name_of(config)} has."
            )

    def _has_stages(self, config):
        expected = stage_shapes(config)
        return (
            bool(config.se_ratio) == self.has_se
            and bool(config.head_width) == self.has_head_conv
            and config.norm == self.norm
            and len(expected) == len(self.stages)
            and all(map(_agree, self.stages, expected))
            and self._has_layout(config)
        )

    def _has_layout(self, config):
        if self.format == OUR_FORMAT:
            return True
        try:
            return mapping.layout_of(config, self.format) in self.layouts
        except ValueError:
            return False

    def variant(self) -> str | None:
        """The published network that this is, None if there is none.

        Torchvision's widths count as those of the same network.
        """
        closest = self.closest()
        return closest[0] if closest else None

    def closest(
        self,
    ) -> tuple[str, RegNetConfig | AnyNetConfig] | None:
        """Returns the published network of these stages that is most alike.

        Returns:
          Its variant and its configuration in the file's rounding, None if
          none has such stages.

        Raises:
          ValueError: if two networks have the same tensors, naming both.
        """
        differences = {}
        for name in variants.list_variants():
            for config in with_each_rounding(variants.get_config(name)):
                if not self._has_stages(config):
                    continue
                misfits = len(self.misfits(config))
                if misfits <= _MAX_MISFITS:
                    others = self._count_others(config)
                    differences[name, config] = misfits + others
        fewest = min(differences.values(), default=None)
        found = [pair for pair, n in differences.items() if n == fewest]
        names = list(dict.fromkeys(name for name, _ in found))
        if len(names) > 1:
            raise ValueError(
                f"its tensors are as much those of {' as of '.join(names)}: "
                "the network must be named too."
            )
        return found[0] if found else None

    def _count_others(self, config):
        """Returns how many tensors are missing or left over."""
        expected = {name for _, name, _, _ in self._expected(config)}
        return len(set(self.tensors) ^ expected)

    def describe(self) -> str:
        """What the file holds, in words for an error."""
        if not self.stages:
            first = ", ".join(map(repr, sorted(self.tensors)[:3]))
            return (
                "layers that are not named as those of our bottleneck blocks, "
                f"the first of them {first}"
            )
        network = self.variant() or describe_stages(self.stages)
        return f"{network} in the names of {self.format!r}"


# Of every published network, for each file.
@functools.lru_cache(256)
def with_each_rounding(
    config: RegNetConfig | AnyNetConfig,
) -> tuple[RegNetConfig | AnyNetConfig, ...]:
    """Returns a configuration in each rounding of its widths, its own first.

    An `AnyNetConfig` has no rounding.
    """
    if not isinstance(config, RegNetConfig):
        return (config,)
    others = set(config_lib.WIDTH_ROUNDINGS) - {config.width_rounding}
    return (
        config,
        *(
            dataclasses.replace(config, width_rounding=rounding)
            for rounding in sorted(others)
        ),
    )


def detect(tensors: Tensors) -> DetectedCheckpoint:
    """Returns the format of a file's tensors and the shape of its network."""
    if any(name.startswith(_TRANSFORMERS_BODY) for name in tensors):
        tensors = tensors.renamed(_complete_transformers_name)
    if any(map(_CUT.search, tensors)):
        tensors = tensors.renamed(lambda name: _CUT.sub("", name))
    for file_format, layouts in FORMATS.items():
        fitting = tuple(
            layout for layout in layouts if _is_named_so(layout, tensors)
        )
        if fitting:
            return _detected(file_format, fitting, tensors)
    shown = ", ".join(map(repr, sorted(tensors)[:3])) or "none"
    raise ValueError(
        f"its tensors are not named as a RegNet's are in any of the formats "
        f"{', '.join(FORMATS)}; the first are {shown}."
    )


def detect_ours(
    tensors: Tensors, config: RegNetConfig | AnyNetConfig | None = None
) -> DetectedCheckpoint:
    """Returns the shape of the network that one of our models saved.

    There are no stages if the file does not tell the configuration and the
    layers are not named as those of our bottleneck blocks.
    """
    checkpoint = _detected(OUR_FORMAT, (OURS,), tensors)
    if config is not None:
        return dataclasses.replace(checkpoint, stages=stage_shapes(config))
    if not _is_named_so(OURS, tensors):
        return dataclasses.replace(checkpoint, stages=())
    return checkpoint


def _detected(file_format, layouts, tensors):
    layout = layouts[0]
    return DetectedCheckpoint(
        file_format,
        layouts,
        tensors,
        _stages(layout, tensors.shapes),
        has_se=_has_part(layout, "se_reduce", tensors),
        has_head_conv=_has_end(layout, "head_conv", tensors),
        norm=_norm(layouts, tensors),
        classes=_classes(layout, tensors.shapes),
    )


def _complete_transformers_name(name):
    if name.startswith(_TRANSFORMERS_BODY):
        return _TRANSFORMERS_PREFIX + name
    return name


def _kernel_name(layout, module):
    theirs, _ = layout.variables["conv"]["kernel"]
    return f"{module}{layout.separator}{theirs}"


def _has_end(layout, part, tensors):
    module = layout.ends.get(part)
    return module is not None and _kernel_name(layout, module) in tensors


def _norm(layouts, tensors):
    """Returns the norm that has the variables of the file."""

    def has(layout, kind, variable):
        theirs, _ = layout.variables[kind][variable]
        ending = f"{layout.separator}{theirs}"
        return any(name.endswith(ending) for name in tensors)

    if any(has(layout, "norm", "moving_variance") for layout in layouts):
        return "batch"
    if any(has(layout, "evonorm_act", "v") for layout in layouts):
        return "evonorm_s0a"
    return "group"


def _is_named_so(layout, tensors):
    has_stem = any(_has_end(layout, stem, tensors) for stem in _STEMS)
    return has_stem and bool(_stages(layout, tensors.shapes))


def _block_pattern(layout):
    """Matches a name within a block; its groups are numbered from 1.

    Returns the pattern and what is to be taken from each number.
    """
    offsets = {}

    def group(match):
        field, offset = match[1], match[2]
        if field not in ("stage", "block"):
            return r"\w"
        if field in offsets:
            return r"\d+"
        # {stage_0} counts from 0, {stage} from 1, {stage_2} from 2.
        offsets[field] = int(offset[1:]) - 1 if offset else 0
        return rf"(?P<{field}>\d+)"

    pattern = _FIELD.sub(group, re.escape(layout.block))
    return re.compile(f"{pattern}(?P<part>.+)"), offsets


def _blocks(layout, shapes):
    """Yields stage, block, the name within the block and the shape."""
    pattern, offsets = _block_pattern(layout)
    for name, shape in shapes.items():
        if match := pattern.fullmatch(name):
            yield (
                int(match["stage"]) - offsets["stage"],
                int(match["block"]) - offsets["block"],
                match["part"],
                shape,
            )


def _part_names(layout, part):
    """Returns what the kernel of a part may be called within a block."""
    modules = {layout.parts.get(part), layout.parts_with_se.get(part)} - {None}
    return {_kernel_name(layout, module) for module in modules}


def _has_part(layout, part, tensors):
    expected = _part_names(layout, part)
    return any(
        name in expected for _, _, name, _ in _blocks(layout, tensors.shapes)
    )


def _stages(layout, shapes):
    """Returns the stages, or () if the names are not of this format."""
    depths: dict[int, int] = {}
    outputs: dict[int, int] = {}
    groups: dict[int, int] = {}
    grouped, last = (_part_names(layout, part) for part in ("conv2", "conv3"))
    for stage, block, part, shape in _blocks(layout, shapes):
        depths[stage] = max(block, depths.get(stage, 0))
        if len(shape) != 4:
            continue
        kernel = _kernel_shape(layout, shape)
        if part in grouped:
            groups[stage] = kernel[2]
        elif part in last:
            outputs[stage] = kernel[3]
    if not (outputs and groups):
        return ()
    return tuple(
        StageShape(depths[stage], outputs.get(stage, 0), groups.get(stage, 0))
        for stage in sorted(depths)
    )


def _kernel_shape(layout, shape):
    """Returns the shape that a convolution's kernel has in Keras."""
    _, transform = layout.variables["conv"]["kernel"]
    return _keras_shape(transform, shape)


def _keras_shape_or_own(transform, shape):
    """Returns the same, or the shape itself if it has other axes."""
    try:
        return _keras_shape(transform, shape)
    except ValueError:
        return tuple(shape)


def _one_channel(shape):
    """Returns the shape of the same kernel for images of one channel."""
    return tuple(1 if i == _CHANNELS else n for i, n in enumerate(shape))


def _keras_shape(transform, shape):
    # Of one number, spread over the shape: no memory is taken.
    spread = np.broadcast_to(np.float32(0), shape)
    return transforms.to_keras(transform, spread).shape


def _classes(layout, shapes):
    """Returns the classifier's outputs, told by either of its tensors."""
    for theirs, transform in layout.variables["dense"].values():
        name = f"{layout.ends['head_fc']}{layout.separator}{theirs}"
        shape = shapes.get(name, ())
        if 1 <= len(shape) <= 2:
            return _keras_shape(transform, shape)[-1]
    return 0


@functools.lru_cache(256)
def stage_shapes(
    config: RegNetConfig | AnyNetConfig,
) -> tuple[StageShape, ...]:
    """Returns the shapes of a configuration's stages."""
    return tuple(
        StageShape(stage.depth, stage.width, stage.group_width)
        for stage in plan.stages(config)
    )


def _agree(actual, expected):
    """A single tensor that is missing does not make another network."""
    return all(a in (0, e) for a, e in zip(actual, expected, strict=True))


def describe_stages(stages: Sequence[StageShape]) -> str:
    """Describes a network, as "a network of depths 1-2 and widths 16-32"."""
    depths = "-".join(str(stage.depth) for stage in stages)
    widths = "-".join(str(stage.width) for stage in stages)
    return f"a network of depths {depths} and widths {widths}"


def name_of(config: RegNetConfig | AnyNetConfig) -> str:
    """Returns the name of a network's variant, or describes its stages."""
    return variants.find_name(config) or describe_stages(stage_shapes(config))
