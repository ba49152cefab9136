"""What a file of weights is, and whether its numbers look trained.

Published files cannot always be compared with a published hash. What then
tells a whole file from a fresh network, or from one whose tensors were mixed
up, are plain statistics of each stage. No model is built.
"""

import collections
import dataclasses
import math
import os
import re
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_regnet.config import AnyNetConfig
from keras_regnet.config import RegNetConfig
from keras_regnet.weights import detect
from keras_regnet.weights import fetch
from keras_regnet.weights import formats
from keras_regnet.weights import hub_config
from keras_regnet.weights import mapping
from keras_regnet.weights import readers
from keras_regnet.weights import records
from keras_regnet.weights import transforms
from keras_regnet.weights import values
from keras_regnet.weights.detect import DetectedCheckpoint
from keras_regnet.weights.readers import keras3_file
from keras_regnet.weights.records import WeightRecord

# How far the standard deviation of n normal numbers may be from that of
# their distribution, in standard errors (which are 1 / sqrt(2 n)).
_MAX_STANDARD_ERRORS = 5
_HEAD_STDDEV = 0.01
_TENSORS_SHOWN = 3
_INITIAL_KERNELS = "all kernels have the standard deviation of an initializer"
# As many numbers of a part have no such deviation by chance.
_MANY = 2**17


@dataclasses.dataclass(frozen=True)
class Statistics:
    """The numbers of one part of a network.

    Args:
      part: "stem", "stage 1" ..., or "head".
      parameters: how many numbers its tensors have.
      kernel_ratio: standard deviation of its kernels, relative to that of
        the paper's initializer (head: 0.01); the median over the layers.
      gamma_mean: of batch norm's scales; NaN if it has none.
      gamma_std: their standard deviation.
      variance_range: the smallest and the largest running variance.
      not_finite: how many numbers are NaN or infinite.
      wrong: names of tensors that no trained network has, by the reason.
      looks_initial: what is as in a network that was not trained.
    """

    part: str
    parameters: int
    kernel_ratio: float
    gamma_mean: float
    gamma_std: float
    variance_range: tuple[float, float]
    not_finite: int
    wrong: Mapping[str, Sequence[str]]
    looks_initial: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What was found in a file.

    Args:
      path: of the file.
      sha256: its digest.
      checkpoint: format, tensors and shapes.
      variant: the published network that it is.
      records: the published sets that have this digest.
      missing: tensors that the network needs and the file does not have.
      left_over: tensors that the network does not have.
      misfits: tensors of another shape, each with both shapes.
      statistics: of each part of the network.
    """

    path: str
    sha256: str
    checkpoint: DetectedCheckpoint
    variant: str
    records: tuple[WeightRecord, ...]
    missing: tuple[str, ...]
    left_over: tuple[str, ...]
    misfits: tuple[str, ...]
    statistics: tuple[Statistics, ...]

    def problems(self) -> list[str]:
        """Returns what speaks against using the file, in sentences."""
        problems = []
        for what, tensors in (
            ("missing", self.missing),
            ("left over", self.left_over),
            ("of other shapes", self.misfits),
        ):
            if tensors:
                shown = ", ".join(tensors[:_TENSORS_SHOWN])
                problems.append(f"{len(tensors)} tensors {what}: {shown}.")
        signs = collections.defaultdict(list)
        wrong: dict[str, list[str]] = collections.defaultdict(list)
        for row in self.statistics:
            for reason, names in row.wrong.items():
                wrong[reason] += names
            if row.not_finite:
                problems.append(
                    f"{row.not_finite} numbers of {row.part} are not finite."
                )
            for sign in row.looks_initial:
                signs[sign].append(row.part)
        for sign, parts in signs.items():
            if sign == _INITIAL_KERNELS:
                parts = self._surely(parts)
            if not parts:
                continue
            problems.append(f"Untrained ({', '.join(parts)}): {sign}.")
        for reason, names in wrong.items():
            shown = ", ".join(names[:_TENSORS_SHOWN])
            problems.append(f"What {reason}: {len(names)} tensors: {shown}.")
        return problems

    def _surely(self, parts):
        """Returns the parts that are not what they are by chance.

        Few kernels may have an initializer's deviation after training, too.
        """
        if len(parts) == len(self.statistics):
            return parts
        numbers = {row.part: row.parameters for row in self.statistics}
        return [part for part in parts if numbers[part] >= _MANY]


def network(
    checkpoint: DetectedCheckpoint,
) -> tuple[str, RegNetConfig | AnyNetConfig]:
    """Returns the variant, and its configuration in the file's rounding."""
    closest = checkpoint.closest()
    if closest is None:
        raise ValueError(
            f"It holds {checkpoint.describe()}, which is not a published "
            "network."
        )
    return closest


def published_as(
    path: str | os.PathLike, candidates: Sequence[WeightRecord]
) -> tuple[WeightRecord, ...]:
    """Returns the published sets whose digest a file has."""
    digests = []
    if any(r.sha256 or r.notop_sha256 for r in candidates):
        digests.append(fetch.sha256(path))
    if any(r.md5 for r in candidates):
        digests.append(fetch.md5(path))
    variants_of_these = {r.variant for r in candidates}
    return tuple(
        record
        for digest in digests
        for record in records.by_digest(digest)
        if record.variant in variants_of_these
    )


def inspect(path: str | os.PathLike) -> Inspection:
    """Returns what a file holds.

    Args:
      path: of a file that `weights=` takes.

    Returns:
      The inspection; each tensor was read once.

    Raises:
      ImportError: if the file needs PyTorch, which is not installed.
      OSError: if there is no such file.
      ValueError: if the file is damaged, or of no published network.
    """
    checkpoint, config = identify(path)
    include_top = bool(checkpoint.classes)
    if checkpoint.format == detect.OUR_FORMAT:
        known: tuple[WeightRecord, ...] = ()
        variant = detect.name_of(config)
        sources = mapping.of_layout(config, formats.OURS, include_top)
    else:
        variant = detect.name_of(config)
        of_network = [r for r in records.all_records() if r.variant == variant]
        known = published_as(path, of_network)
        order = known[0].channel_order if known else None
        sources = mapping.of_format(
            config, checkpoint.format, include_top, order
        )
    expected = {source.name for source in sources.values()}
    present = set(checkpoint.tensors) - set(_dropped(checkpoint))
    misfits = checkpoint.misfits(config, include_top)
    return Inspection(
        path=os.fspath(path),
        sha256=fetch.sha256(path),
        checkpoint=checkpoint,
        variant=variant,
        records=known,
        missing=tuple(sorted(expected - present)),
        left_over=tuple(sorted(present - expected)),
        misfits=tuple(
            f"{name} {theirs} for {ours}"
            for name, (_, theirs, ours) in misfits.items()
        ),
        statistics=tuple(_statistics(checkpoint, config, sources, misfits)),
    )


def identify(
    path: str | os.PathLike,
) -> tuple[DetectedCheckpoint, RegNetConfig | AnyNetConfig]:
    """Returns what a file holds, whoever wrote it."""
    path = Path(path)
    if readers.is_ours(path):
        return _identify_ours(path)
    checkpoint = detect.detect(readers.read(path))
    described = hub_config.read(path)
    if described is not None and described.network is not None:
        return checkpoint, described.network
    _, config = network(checkpoint)
    return checkpoint, config


def _identify_ours(path):
    try:
        rules = keras3_file.saved_rules(path)
        tensors = keras3_file.read(path)
        if rules:
            config = rules.network
            return detect.detect_ours(tensors, config), config
        checkpoint = detect.detect_ours(tensors)
        _, config = network(checkpoint)
        return checkpoint, config
    except ValueError as error:
        raise ValueError(
            f"{str(path)!r} does not say what it is: {error} A `.keras` file "
            "of one of our models does."
        ) from error


def _dropped(checkpoint):
    pattern = re.compile(checkpoint.layouts[0].dropped)
    return filter(pattern.search, checkpoint.tensors)


def _statistics(
    checkpoint: DetectedCheckpoint,
    config: RegNetConfig | AnyNetConfig,
    sources: Mapping[str, mapping.Source],
    left_out: Collection[str],
) -> Iterator[Statistics]:
    parts = collections.defaultdict(list)
    for layer in mapping.layers(config, bool(checkpoint.classes)):
        part = f"stage {layer.stage}" if layer.stage else _end(layer)
        parts[part].append(layer)
    for part, layers in parts.items():
        arrays = _arrays(layers, checkpoint.tensors, sources, left_out)
        # Numbers that are not finite, or hardly so, are what is looked for.
        with np.errstate(all="ignore"):
            yield _of_part(part, list(arrays))


def _end(layer):
    return "stem" if layer.name.startswith("stem") else "head"


def _arrays(layers, tensors, sources, left_out):
    """Yields name, kind of variable and array of each tensor of some layers."""
    prefixes = {layer.name for layer in layers}
    for path, source in sources.items():
        layer, _, kind = path.rpartition("/")
        read = source.name in tensors and source.name not in left_out
        if layer in prefixes and read:
            array = np.asarray(tensors[source.name])
            yield (
                source.name,
                kind,
                transforms.to_keras(source.transform, array),
            )


def _of_part(part, arrays):
    wrong = collections.defaultdict(list)
    by_kind = collections.defaultdict(list)
    for name, kind, array in arrays:
        reason = values.unfit(array, kind) or values.odd(array, kind)
        if reason:
            wrong[reason].append(name)
        by_kind[kind].append(np.asarray(array, "float32"))
    kernels = by_kind["kernel"]
    ratios = [_kernel_ratios(kernel)[0] for kernel in kernels]
    gamma = _joined(by_kind["gamma"])
    variance = _joined(by_kind["moving_variance"])
    return Statistics(
        part=part,
        parameters=sum(array.size for _, _, array in arrays),
        kernel_ratio=float(np.median(ratios or [math.nan])),
        gamma_mean=_or_nan(np.mean, gamma),
        gamma_std=_or_nan(np.std, gamma),
        variance_range=(_or_nan(np.min, variance), _or_nan(np.max, variance)),
        not_finite=sum(int((~np.isfinite(a)).sum()) for *_, a in arrays),
        wrong=wrong,
        looks_initial=tuple(_initial_signs(kernels, gamma, variance)),
    )


def _joined(arrays):
    flat = [array.ravel() for array in arrays] or [[]]
    return np.concatenate(flat).astype("float64")


def _or_nan(function, values):
    return float(function(values)) if values.size else math.nan


def _kernel_ratios(kernel):
    """Returns a kernel's deviation relative to each initializer's.

    The paper's comes first (normal, fan-out; a fixed one for the classifier),
    then that of keras.applications (He's, fan-in; Glorot's).
    """
    deviation = float(kernel.std(dtype="float64"))
    *window, inputs, outputs = kernel.shape
    if kernel.ndim == 2:
        usual = [_HEAD_STDDEV, math.sqrt(2 / (inputs + outputs))]
    else:
        size = math.prod(window)
        usual = [math.sqrt(2 / (size * fan)) for fan in (outputs, inputs)]
    return tuple(deviation / initial for initial in usual)


def _initial_signs(
    kernels: list[np.ndarray], gamma: np.ndarray, variance: np.ndarray
) -> Iterator[str]:
    """Yields what is still as an initializer left it."""
    if variance.size and np.all(variance == variance[0]):
        yield f"all running variances are {variance[0]:g}"
    if gamma.size and np.all(gamma == gamma[0]):
        yield f"all gammas are {gamma[0]:g}"
    for ratios in zip(*map(_kernel_ratios, kernels), strict=True):
        sizes = [kernel.size for kernel in kernels]
        if all(map(_is_chance, ratios, sizes)):
            yield _INITIAL_KERNELS


def _is_chance(ratio, size):
    return abs(ratio - 1) < _MAX_STANDARD_ERRORS / math.sqrt(2 * size)
