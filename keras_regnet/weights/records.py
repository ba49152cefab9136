"""The published sets of weights, one typed record for each.

The table is `keras_regnet/data/weights.csv`. URLs, hashes, licenses, sizes
and accuracies are as their publishers give them; none was checked here, where
no published file can be downloaded. No Keras here.
"""

import csv
import dataclasses
import functools
import importlib.resources
import itertools
import numbers

from keras_regnet import errors
from keras_regnet import variants
from keras_regnet.center_crop import CenterCrop

# Sources that evaluate with OpenCV, not with Pillow: on floating-point numbers,
# and without smoothing where an image shrinks.
_OPENCV_SOURCES = ("pycls",)
# How who crops rounds half a pixel, if not as PyTorch: to the even number.
_CROP_ROUNDING = {"pycls": "up", "transformers": "down"}
NON_COMMERCIAL_LICENSES = ("cc-by-nc-4.0", "seer-license")

# Of RGB images in 0..255, over the training set of ImageNet-1k.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)

_MD5_DIGITS = 32

# The tag that weights="imagenet" stands for: the paper's own networks.
IMAGENET = "imagenet"
IMAGENET_TAG = "pycls_in1k"
# Stands for the best set, see `default_record`.
DEFAULT = "default"
_IMAGENET_CLASSES = 1000
# Licenses that allow commercial use, as an argument.
_PERMISSIVE = "permissive"
# Files that are read without PyTorch.
_PLAIN_SUFFIXES = (".safetensors", ".h5", ".keras")


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightRecord:
    """One published file of weights, and what a network needs to use it.

    Args:
      variant: the network, as `keras_regnet.list_variants()` prints it.
      tag: the set of weights, in timm's spelling, such as "pycls_in1k". The
        same set may be published by several sources, in other forms.
      source: who publishes this file: "timm", "torchvision", "pycls",
        "transformers", "swag", "vissl", "keras_applications", "kimm" or
        "kecam".
      format: how the file names its tensors, see
        `keras_regnet.weights.formats`.
      hub_id: repository on the Hugging Face hub, "" if it is not there.
      file: name of the file.
      url: where the file lies, "" if it is on the hub.
      sha256: the published digest or its published beginning, "" for none.
      md5: the published digest where it is this one, "" for none.
      notop_url: a second file without the classifier, "" for none.
      notop_sha256: its digest.
      licence: the license in small letters, as SPDX or the publisher spells it.
      classes: outputs of the classifier, 0 if the file has none.
      train_size: height and width of the images trained on.
      train_resize: short side from which `train_size` is cropped.
      test_size: height and width of the images evaluated.
      resize: short side to which an image is resized before the center of
        `test_size` is cropped.
      interpolation: of that resizing, "bilinear" or "bicubic".
      mean: of each channel, red first, of pixels in 0..255.
      std: standard deviation, likewise.
      channel_order: the order of the stem's input channels in the file,
        "RGB" or "BGR"; the model built takes RGB in any case.
      padding: of strided convolutions, see `keras_regnet.config`.
      width_rounding: see `keras_regnet.RegNetConfig`.
      top1_at_train_size: percent, as published; None if unknown.
      top1: percent at `test_size`, as published; None if unknown.
      top5: percent at `test_size`, as published; None if unknown.
    """

    variant: str
    tag: str
    source: str
    format: str
    hub_id: str
    file: str
    url: str
    sha256: str
    md5: str
    notop_url: str
    notop_sha256: str
    licence: str
    classes: int
    train_size: int
    train_resize: int
    test_size: int
    resize: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_order: str
    padding: str
    width_rounding: str
    top1_at_train_size: float | None
    top1: float | None
    top5: float | None

    @property
    def commercial(self) -> bool:
        """Whether the license allows commercial use."""
        return self.licence not in NON_COMMERCIAL_LICENSES

    @property
    def is_default(self) -> bool:
        """Whether `weights="default"` stands for it, see `default_record`."""
        return default_record(self.variant) == self

    @property
    def needs_torch(self) -> bool:
        """Whether the file is a pickle, which PyTorch reads."""
        return not self.file.endswith(_PLAIN_SUFFIXES)

    @property
    def full_tag(self) -> str:
        """The tag with its source, which names this file alone."""
        return f"{self.tag}@{self.source}"

    def digests(self, digits: int) -> tuple[str, ...]:
        """Published digests, or beginnings, of such as have so many digits."""
        if digits == _MD5_DIGITS:
            return (self.md5,)
        return (self.sha256, self.notop_sha256)

    @property
    def antialias(self) -> bool:
        """Whether evaluation averages over pixels where images shrink."""
        return self.source not in _OPENCV_SOURCES

    @property
    def crop(self) -> float:
        """The fraction of the resized short side that evaluation keeps."""
        return self.test_size / self.resize

    @property
    def center_crop(self) -> CenterCrop:
        """How evaluation scales and crops an image to `test_size`."""
        return CenterCrop(
            self.crop,
            self.interpolation,
            self.antialias,
            _CROP_ROUNDING.get(self.source, "even"),
            # All but OpenCV resize images of 8 bits, which stay of 8 bits.
            to_integers=self.antialias,
        )


_INTEGERS = ("classes", "train_size", "train_resize", "test_size", "resize")
_FLOATS = ("top1_at_train_size", "top1", "top5")
_TRIPLES = ("mean", "std")


def _parse(row):
    values = dict(row)
    for name in _INTEGERS:
        values[name] = int(row[name])
    for name in _FLOATS:
        values[name] = float(row[name]) if row[name] else None
    for name in _TRIPLES:
        values[name] = tuple(map(float, row[name].split()))
    return WeightRecord(**values)


@functools.cache
def all_records() -> tuple[WeightRecord, ...]:
    """Returns every record, in the order of the table.

    Within a variant "pycls_in1k" comes first; within a tag, the source that
    needs neither PyTorch nor a pickle.
    """
    table = importlib.resources.files("keras_regnet") / "data" / "weights.csv"
    with table.open(encoding="utf-8") as file:
        return tuple(map(_parse, csv.DictReader(file)))


@functools.cache
def default_record(variant: str) -> WeightRecord | None:
    """Returns the record of the set that "default" stands for, or None.

    Only sets whose license allows commercial use are compared. First come
    those that classify the 1000 classes of ImageNet-1k, and only if there are
    none those without a classifier; then files that are read without PyTorch;
    then the highest published top-1 at the set's own test size, an unknown
    one last; then the first of the table.
    """
    candidates = [
        record
        for record in all_records()
        if record.variant == variant
        and record.commercial
        and record.classes in (_IMAGENET_CLASSES, 0)
    ]
    return max(
        candidates,
        key=lambda record: (
            record.classes,
            not record.needs_torch,
            record.top1 or 0.0,
        ),
        default=None,
    )


def list_weights(
    variant: str | None = None,
    source: str | None = None,
    *,
    licence: str | None = None,
    classes: int | None = None,
) -> tuple[WeightRecord, ...]:
    """Returns the records of the published weights.

    Args:
      variant: a network in any common spelling; a family or a pattern of
        names, such as `"RegNetY-*"`, see `keras_regnet.list_variants`; None
        for all.
      source: who publishes them, see `WeightRecord`; None for all.
      licence: such as "mit"; "permissive" for those that allow commercial
        use; None for all.
      classes: outputs of the classifier, 0 for sets without one; None for all.

    Returns:
      Records, network by network. The first of a network is the one that
      `weights="default"` stands for, if it has one and it is not filtered out:
      its `is_default` is true. `record.tag` is what `weights=` takes. Filters
      may leave nothing.

    Raises:
      ValueError: if there is no such network, source or license, or `classes`
        is not an integer.

    Example:
    >>> [record.tag for record in list_weights("RegNetX-4GF", "timm")]
    ['pycls_in1k']
    >>> for record in list_weights("RegNetV-*", licence="permissive"):
    ...     print(record.variant, record.tag, record.top1, record.is_default)
    RegNetV-4.0GF ra3_in1k 83.204 True
    RegNetV-6.4GF ra3_in1k 83.746 True
    """
    found = _in_order_of_preference()
    if source is not None:
        source = _known("source", source)
        found = tuple(record for record in found if record.source == source)
    if licence is not None:
        licence = _known("licence", licence, _PERMISSIVE)
        found = tuple(
            record
            for record in found
            if record.licence == licence
            or (licence == _PERMISSIVE and record.commercial)
        )
    if classes is not None:
        if not isinstance(classes, numbers.Integral):
            raise ValueError(
                "`classes` must be an integer, or None. "
                f"Received: classes={classes!r}"
            )
        found = tuple(record for record in found if record.classes == classes)
    if variant is not None:
        names = variants.matching(variant, "variant")
        found = tuple(record for record in found if record.variant in names)
    return found


@functools.cache
def _in_order_of_preference():
    """Returns every record, of each network the default first."""
    networks: dict[str, list[WeightRecord]] = {}
    for record in all_records():
        of_network = networks.setdefault(record.variant, [])
        of_network.insert(0 if record.is_default else len(of_network), record)
    return tuple(itertools.chain.from_iterable(networks.values()))


def _known(field, value, *others):
    """Returns a value of a field in small letters; raises if no record has it.

    The `others` are allowed, too.
    """
    known = (*others, *dict.fromkeys(getattr(r, field) for r in all_records()))
    if str(value).lower() not in known:
        raise errors.unknown_value(field, value, known)
    return str(value).lower()


def find(variant: str, tag: str) -> WeightRecord:
    """Returns the record of one set of weights.

    Args:
      variant: a network in any common spelling.
      tag: "default" for the best set, see `list_weights`; "imagenet" for the
        paper's weights; a tag such as "tv2_in1k", for the source that needs
        neither PyTorch nor a pickle if there is one; with "@" and a source,
        such as "tv2_in1k@torchvision", for that file.

    Returns:
      The record.

    Raises:
      ValueError: if the variant has no such weights; it lists those it has.

    Example:
    >>> find("regnety_032", "imagenet").hub_id
    'timm/regnety_032.pycls_in1k'
    >>> find("RegNetY-3.2GF", "tv2_in1k@torchvision").file
    'regnet_y_3_2gf-9180c971.pth'
    """
    name = variants.variant_name(variant)
    found = [record for record in all_records() if record.variant == name]
    if not found:
        raise ValueError(
            f"`weights` must be None or a path for {name}, of which no "
            f"weights were published. Received: weights={tag!r}"
        )
    if tag == DEFAULT:
        return _default(name, found)
    full = IMAGENET_TAG if tag == IMAGENET else tag
    for record in found:
        if full in (record.tag, record.full_tag):
            return record
    tags = list(dict.fromkeys(record.tag for record in found))
    if IMAGENET_TAG in tags:
        tags.insert(0, IMAGENET)
    if default_record(name):
        tags.insert(0, DEFAULT)
    if "@" in full:
        tags = [record.full_tag for record in found]
    error = errors.unknown_value("weights", tag, tags)
    raise ValueError(f"{name} has no such weights. {error}")


def _default(name, found):
    record = default_record(name)
    if record is None:
        sets = dict.fromkeys(f"{r.tag!r} ({r.licence})" for r in found)
        raise ValueError(
            f"{name} has no default weights: no license of its sets allows "
            f"commercial use. Name one to use it: {', '.join(sets)}. "
            f"Received: weights={DEFAULT!r}"
        )
    return record


def by_digest(digest: str) -> tuple[WeightRecord, ...]:
    """Returns the records whose file, whole or without top, has a digest.

    Example:
    >>> [record.full_tag for record in by_digest("9180c971" + "0" * 56)]
    ['tv2_in1k@torchvision']
    """
    return tuple(
        record
        for record in all_records()
        if any(
            published and digest.startswith(published)
            for published in record.digests(len(digest))
        )
    )


def of_format(
    file_format: str, variant: str | None
) -> tuple[WeightRecord, ...]:
    """Returns the records of a network in one format."""
    return tuple(
        record
        for record in all_records()
        if record.format == file_format and record.variant == variant
    )


def typical(file_format: str, variant: str | None) -> WeightRecord:
    """Returns the record whose rules serve for an unknown file of a format."""
    of_network = of_format(file_format, variant)
    if of_network:
        return of_network[0]
    return next(r for r in all_records() if r.format == file_format)
