"""How good predictions are: pure functions of NumPy arrays."""

import dataclasses

import numpy as np

_BINS = 15
_SMALLEST = 1e-12


@dataclasses.dataclass(frozen=True)
class Metrics:
    """Metrics of predictions; accuracies in percent.

    Args:
      images: how many.
      top1: whose label has the largest probability.
      top5: whose label is among the five largest.
      loss: mean of -log(probability of the label).
      calibration_error: expected calibration error.
      class_top1: float array (classes,), NaN for classes without images.
      class_images: int array (classes,).
      confusion: int array (classes, classes), label by prediction.
    """

    images: int
    top1: float
    top5: float
    loss: float
    calibration_error: float
    class_top1: np.ndarray
    class_images: np.ndarray
    confusion: np.ndarray


def compute(probabilities: np.ndarray, labels: np.ndarray) -> Metrics:
    """Returns the metrics of predictions.

    Of equal probabilities the label's counts as the larger: the
    metrics of an untrained network do not depend on the order of the classes.

    Args:
      probabilities: float array (images, classes).
      labels: int array (images,).
    """
    count, classes = probabilities.shape
    own = probabilities[np.arange(count), labels]
    rank = (probabilities > own[:, None]).sum(axis=1)
    predicted = np.where(rank == 0, labels, probabilities.argmax(axis=1))
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    class_images = confusion.sum(axis=1)
    hits = np.diagonal(confusion)
    class_top1 = np.full(classes, np.nan)
    np.divide(
        100.0 * hits, class_images, out=class_top1, where=class_images > 0
    )
    return Metrics(
        images=count,
        top1=100 * float((rank < 1).mean()),
        top5=100 * float((rank < 5).mean()),
        loss=float(-np.log(np.maximum(own, _SMALLEST)).mean()),
        calibration_error=100
        * calibration_error(probabilities.max(axis=1), rank == 0),
        class_top1=class_top1,
        class_images=class_images,
        confusion=confusion,
    )


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Returns the expected calibration error, over 15 bins of equal width.

    Args:
      confidence: float array (images,), probability of the prediction.
      correct: bool array (images,), whether it is right.

    Returns:
      Mean over images of |accuracy - mean confidence| of their bin, in 0..1.

    Source:
      arXiv 1706.04599.
    """
    bins = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
    gaps = np.bincount(bins, confidence, _BINS) - np.bincount(
        bins, correct, _BINS
    )
    return float(np.abs(gaps).sum() / len(confidence))
