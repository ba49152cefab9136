"""What a model knows of itself beside its network, as data; no Keras."""

import dataclasses
import json
import math
import numbers
import warnings
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from keras_regnet import class_names as names_lib
from keras_regnet import safe_files
from keras_regnet.center_crop import CenterCrop
from keras_regnet.weights import records
from keras_regnet.weights.records import WeightRecord


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """Where a model comes from, what its outputs mean, how it sees images.

    Args:
      weights: the published set of weights that the model started from, with
        its license; None for random weights or a file that is not known. It
        is an origin: training keeps it, so that what it says of accuracy is
        true of the published weights, and of this model only while nobody has
        trained or changed it.
      class_names: name of each output; None if they are not known.
      image_size: (height, width) of the images it is evaluated on, None if
        that is not known.
      crop: how images are scaled and cropped to that size.
      mean: of red, green and blue (of all channels of a model of others), of
        pixels in 0..255, which is subtracted.
      std: standard deviation by which they are divided then.
      normalizes: whether the model does that itself.
      threshold: of a model whose classes do not exclude each other (a sigmoid
        for each), the probability from which one counts as predicted; None
        for one class an image, or where that is not known.

    Raises:
      ValueError: if a value is not allowed.

    Example:
    >>> record = ModelRecord(class_names=("ant", "bee"), image_size=(64, 96))
    >>> ModelRecord.from_json(record.to_json()) == record
    True
    """

    weights: WeightRecord | None = None
    class_names: tuple[str, ...] | None = None
    image_size: tuple[int, int] | None = None
    crop: CenterCrop = dataclasses.field(default_factory=CenterCrop)
    mean: tuple[float, ...] = records.IMAGENET_MEAN
    std: tuple[float, ...] = records.IMAGENET_STD
    normalizes: bool = True
    threshold: float | None = None

    def __post_init__(self) -> None:
        """Checks what a caller or a file may have wrong."""
        if self.class_names is not None:
            # Frozen: a list must not be shared.
            names = names_lib.checked(self.class_names)
            object.__setattr__(self, "class_names", names)
        size: Any = self.image_size
        if size is not None:
            if len(size) != 2 or not all(_is_positive(side) for side in size):
                raise ValueError(
                    "`image_size` must be (height, width) in pixels, or None. "
                    f"Received: image_size={size!r}"
                )
            object.__setattr__(self, "image_size", tuple(size))
        for name in ("mean", "std"):
            values = getattr(self, name)
            if not values or not all(map(_is_number, values)):
                raise ValueError(
                    f"`{name}` must be numbers, one for each channel. "
                    f"Received: {name}={values!r}"
                )
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(
                "`threshold` must be within 0 and 1, or None. "
                f"Received: threshold={self.threshold!r}"
            )

    def to_json(self, indent: int | None = None) -> str:
        """Returns the record as JSON, which `from_json` reads.

        Args:
          indent: as of `json.dumps`.
        """
        return json.dumps(dataclasses.asdict(self), indent=indent)

    @classmethod
    def from_json(cls, text: str) -> "ModelRecord":
        """Returns the record that `to_json` wrote; what it lacks is unknown.

        Args:
          text: JSON of one object.

        Raises:
          ValueError: if it is not the JSON of a record.
        """
        try:
            return cls._from_values(safe_files.parse_json(text, "it"))
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(
                f"The record of a model must be such as `to_json` writes "
                f"({error}). Received: {str(text)[:80]!r}"
            ) from error

    @classmethod
    def _from_values(cls, values):
        if not isinstance(values, dict):
            raise TypeError("not an object")
        fields = {
            field.name: values[field.name]
            for field in dataclasses.fields(cls)
            if field.name in values
        }
        if fields.get("weights") is not None:
            fields["weights"] = _weight_record(fields["weights"])
        if "crop" in fields:
            fields["crop"] = CenterCrop(**fields["crop"])
        for name in ("image_size", "mean", "std"):
            if fields.get(name) is not None:
                fields[name] = tuple(fields[name])
        return cls(**fields)


def _weight_record(values: Mapping[str, Any]) -> WeightRecord | None:
    """Returns a stored record; of another version's, what this one knows."""
    published = next(
        (
            record
            for record in records.all_records()
            if (record.variant, record.tag, record.source)
            == tuple(values.get(k) for k in ("variant", "tag", "source"))
        ),
        None,
    )
    known = {} if published is None else dataclasses.asdict(published)
    names = [field.name for field in dataclasses.fields(WeightRecord)]
    fields = {
        name: values.get(name, known.get(name))
        for name in names
        if name in values or name in known
    }
    if len(fields) < len(names):
        warnings.warn(
            "Another version of keras_regnet wrote the record of the weights "
            f"{values.get('tag')!r}, which this one does not know: it is left "
            "out.",
            stacklevel=2,
        )
        return None
    for name in ("mean", "std"):
        fields[name] = tuple(fields[name])
    return WeightRecord(**fields)


def of_model(
    model: Any, class_names: Sequence[str] | None = None
) -> ModelRecord:
    """Returns the record of any Keras model, under other class names if given.

    Args:
      model: one of ours, or a model of the caller's, which has none.
      class_names: name of each output; None for those that the model knows.

    Raises:
      ValueError: if the names are not one for each output.
    """
    record = getattr(model, "record", None)
    if not isinstance(record, ModelRecord):
        record = ModelRecord()
    if class_names is None:
        return record
    names = names_lib.checked(class_names, model.outputs[0].shape[-1])
    return dataclasses.replace(record, class_names=names)


def _is_number(value):
    return isinstance(value, numbers.Real) and math.isfinite(value)


def _is_positive(value):
    return isinstance(value, int) and value is not True and value > 0
