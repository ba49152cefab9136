"""What the caller is told of weights: their license and their classes."""

import warnings

from keras_regnet.weights import records
from keras_regnet.weights.detect import DetectedCheckpoint
from keras_regnet.weights.records import WeightRecord


def check_has_head(classes_of_weights: int, name: str) -> None:
    """Raises if weights have no classifier."""
    if not classes_of_weights:
        raise ValueError(
            f"{name!r} has no classifier: these weights come from training "
            "without labels, without the top, or with other layers in its "
            "place. Pass `include_top=False`; "
            'with `pooling="avg"`, `keras_regnet.replace_head` adds a '
            "classifier to train."
        )


def warn_of_other_classes(
    classes_of_weights: int, classes: int | None, name: str
) -> None:
    """Warns if the model classifies other classes than the weights."""
    if classes not in (None, classes_of_weights):
        warnings.warn(
            f"{name!r} classifies {classes_of_weights} classes and the model "
            f"{classes}: everything but the classifier is loaded, which "
            "starts at random.",
            stacklevel=2,
        )


def warn_of_license(record: WeightRecord | None) -> None:
    """Warns of published weights that allow no commercial use."""
    if record is not None and not record.commercial:
        warnings.warn(
            f"The weights {record.tag!r} of {record.variant} are under the "
            f"license {record.licence!r}, which allows no commercial use.",
            stacklevel=2,
        )


def warn_of_unknown_license(checkpoint: DetectedCheckpoint) -> None:
    """Warns of an unknown file if only non-commercial sets are named so."""
    known = records.of_format(checkpoint.format, checkpoint.variant())
    if known and not any(record.commercial for record in known):
        warnings.warn(
            f"The file holds {checkpoint.describe()}. Such weights were "
            f"published under the license {known[0].licence!r} alone, which "
            "allows no commercial use.",
            stacklevel=2,
        )
